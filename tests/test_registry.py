"""The registry: names once, nearest name on a typing error, files imported on the first look-up and not before."""

import subprocess
import sys
import textwrap

import pytest

from synthbank.errors import UnknownNameError
from synthbank.registry import Registry


@pytest.fixture
def plugin_package(tmp_path, monkeypatch):
    """A folder of plug-ins `NAME` whose modules register themselves in `NAME._base.things`."""
    name = f"plugins_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_base.py").write_text(
        f"from synthbank.registry import Registry\nthings = Registry('thing', package='{name}')\n"
    )
    for word in ("beta", "alpha"):
        body = (
            f"from {name}._base import things\n@things.register('{word}', size=3)\ndef make():\n    return '{word}'\n"
        )
        (folder / f"{word}.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for module in [m for m in sys.modules if m.split(".")[0] == name]:
        del sys.modules[module]


def _things(folder):
    module = __import__(f"{folder.name}._base", fromlist=["things"])
    return module.things


def test_what_was_registered_is_found_with_its_facts():
    registry = Registry("thing")
    item = registry.register("one", size=1)(object())
    assert registry.get("one") is item
    assert registry.facts("one") == {"size": 1}
    assert list(registry) == registry.names() == ["one"]
    assert "one" in registry
    assert "two" not in registry


def test_a_name_used_twice_is_an_error_and_changes_nothing():
    registry = Registry("thing")
    registry.register("one")("first")
    with pytest.raises(ValueError, match="thing 'one' is registered twice"):
        registry.register("one")("second")
    assert registry.get("one") == "first"


@pytest.mark.parametrize("ask", ["get", "facts"])
def test_an_unknown_name_suggests_the_nearest(ask):
    registry = Registry("thing")
    registry.register("projected")(1)
    registry.register("sagan")(2)
    with pytest.raises(UnknownNameError, match="Unknown thing") as caught:
        getattr(registry, ask)("sagann")
    assert "did you mean 'sagan'?" in caught.value.message
    assert "projected, sagan" in caught.value.message


def test_files_are_imported_on_the_first_look_up_only(plugin_package):
    things = _things(plugin_package)
    assert f"{plugin_package.name}.alpha" not in sys.modules
    assert things.names() == ["alpha", "beta"]
    assert f"{plugin_package.name}.alpha" in sys.modules
    assert things.get("beta")() == "beta"


@pytest.mark.parametrize("look", [lambda r: r.get("alpha"), lambda r: list(r), lambda r: "alpha" in r])
def test_every_kind_of_look_up_loads(plugin_package, look):
    things = _things(plugin_package)
    look(things)
    assert f"{plugin_package.name}.beta" in sys.modules


def test_a_new_file_is_found_without_any_other_edit(plugin_package):
    body = f"from {plugin_package.name}._base import things\nthings.register('gamma')(3)\n"
    (plugin_package / "gamma.py").write_text(body)
    assert _things(plugin_package).names() == ["alpha", "beta", "gamma"]


def test_files_with_an_underscore_are_not_plug_ins(plugin_package):
    (plugin_package / "_draft.py").write_text("raise RuntimeError('imported')\n")
    assert _things(plugin_package).names() == ["alpha", "beta"]


def test_two_files_with_one_name_fail(plugin_package):
    body = f"from {plugin_package.name}._base import things\nthings.register('alpha')(3)\n"
    (plugin_package / "gamma.py").write_text(body)
    with pytest.raises(ValueError, match="'alpha' is registered twice"):
        _things(plugin_package).names()


def test_a_plug_in_that_cannot_be_imported_is_not_forgotten_on_the_second_look_up(plugin_package):
    (plugin_package / "gamma.py").write_text("raise ImportError('no such library')\n")
    things = _things(plugin_package)
    for _ in range(2):
        with pytest.raises(ImportError, match="no such library"):
            things.names()


def test_entry_points_of_outside_packages_are_loaded(tmp_path, monkeypatch):
    (tmp_path / "outside_thing.py").write_text(
        "from importlib import import_module\nimport_module('outside_base').things.register('outside')(7)\nitem = 7\n"
    )
    (tmp_path / "outside_base.py").write_text(
        "from synthbank.registry import Registry\nthings = Registry('thing', entry_point_group='test.things')\n"
    )
    info = tmp_path / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[test.things]\noutside = outside_thing:item\n")
    code = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import outside_base
        assert "outside_thing" not in sys.modules
        assert outside_base.things.names() == ["outside"], outside_base.things.names()
        assert outside_base.things.get("outside") == 7
        print("fine")
    """
    out = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert out.stdout.strip() == "fine", out.stderr
