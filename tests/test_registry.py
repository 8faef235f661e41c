"""The registry: names once, checked facts, nearest name on a typing error, files imported on the first look-up."""

import subprocess
import sys
import textwrap
from dataclasses import FrozenInstanceError, dataclass

import pytest

from synthbank.data.quality import checks
from synthbank.data.sources import sources
from synthbank.errors import OptionError, UnknownNameError
from synthbank.export import exporters
from synthbank.metrics import metrics
from synthbank.metrics.utility import classifiers, shifts
from synthbank.models import architectures, feature_networks
from synthbank.registry import NoFacts, Registry, check_fact
from synthbank.training import trainers
from synthbank.training.losses import losses

COMPLETE = {
    "metric": (
        metrics,
        {"kind": "two-sample", "order": 999, "title": "Gap", "meaning": "gap of two means", "citation": "Student 1908"},
    ),
    "architecture": (architectures, {"citation": "arXiv 1406.2661", "truncation": False, "trainer": "denoising"}),
    "quality check": (checks, {"stage": "fitted", "severity": "warn", "limit": 3.0}),
    "source": (sources, {"reads": "file", "suffixes": (".tif",), "description": "a stack"}),
    "export format": (exporters, {"description": "one table", "single_file": True}),
    "classifier": (classifiers, {"citation": "Fisher 1936"}),
    "feature network": (feature_networks, {"citation": "arXiv 2104.14294"}),
    "shift": (shifts, {"description": "half of the light"}),
}
REQUIRED = [(kind, fact) for kind, (_, facts) in COMPLETE.items() for fact in facts]
OPTIONAL = {"truncation", "trainer", "suffixes", "single_file"}


@dataclass(frozen=True)
class Size:
    """Facts of a thing."""

    size: int = 0
    colour: str = "red"

    def __post_init__(self):
        check_fact("colour", self.colour, ("red", "blue"))


@pytest.fixture
def plugin_package(tmp_path, monkeypatch):
    """A folder of plug-ins `NAME` whose modules register themselves in `NAME._base.things`."""
    name = f"plugins_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_base.py").write_text(
        "from dataclasses import make_dataclass\nfrom synthbank.registry import Registry\n"
        f"things = Registry('thing', make_dataclass('Size', [('size', int, 0)]), package='{name}')\n"
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
    registry = Registry("thing", Size)
    item = registry.register("one", size=1)(object())
    assert registry.get("one") is item
    assert registry.spec("one") == Size(size=1)
    assert list(registry) == registry.names() == ["one"]
    assert "one" in registry
    assert "two" not in registry


def test_a_name_used_twice_is_an_error_and_changes_nothing():
    registry = Registry("thing", Size)
    registry.register("one")("first")
    with pytest.raises(ValueError, match="thing 'one' is registered twice"):
        registry.register("one")("second")
    assert registry.get("one") == "first"


def test_a_kind_without_facts_takes_none():
    registry = Registry("thing", NoFacts)
    registry.register("one")(1)
    assert registry.spec("one") == NoFacts()
    with pytest.raises(UnknownNameError, match="Unknown fact of thing 'two'"):
        registry.register("two", size=1)


def test_a_wrong_fact_fails_before_anything_is_registered():
    registry = Registry("thing", Size)
    with pytest.raises(UnknownNameError, match="did you mean 'size'") as caught:
        registry.register("one", sizes=1)
    assert "fact of thing 'one'" in caught.value.message
    with pytest.raises(OptionError, match="'colour' cannot have this value"):
        registry.register("one", colour="green")
    assert "one" not in registry


@pytest.mark.parametrize("kind", COMPLETE)
def test_the_facts_of_every_kind_are_checked_at_registration(kind):
    registry, facts = COMPLETE[kind]
    assert registry.kind == kind
    registry.register("mine", **facts)  # the decorator is not applied: nothing is stored
    assert "mine" not in registry


@pytest.mark.parametrize(("kind", "fact"), REQUIRED)
def test_a_misspelt_fact_of_any_kind_fails_with_the_nearest_name(kind, fact):
    registry, facts = COMPLETE[kind]
    misspelt = {(name[:-2] + name[-1] if name == fact else name): value for name, value in facts.items()}
    with pytest.raises(UnknownNameError, match=f"did you mean '{fact}'") as caught:
        registry.register("mine", **misspelt)
    assert f"fact of {kind} 'mine'" in caught.value.message


@pytest.mark.parametrize(("kind", "fact"), [case for case in REQUIRED if case[1] not in OPTIONAL])
def test_a_missing_fact_of_any_kind_fails_and_is_named(kind, fact):
    registry, facts = COMPLETE[kind]
    with pytest.raises(OptionError, match=f"declare {fact}"):
        registry.register("mine", **{name: value for name, value in facts.items() if name != fact})


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("metric", {"kind": "three"}),
        ("metric", {"direction": "up"}),
        ("metric", {"against": "validation"}),
        ("metric", {"looks_at": "real"}),
        ("metric", {"proportion_of": "train"}),
        ("metric", {"title": ""}),
        ("metric", {"minimum_fake": 0}),
        ("metric", {"symmetric": True, "minimum_real": 4}),
        ("metric", {"bounds": (1.0, 0.0)}),
        ("metric", {"proportion_of": "fake"}),
        ("metric", {"kind": "pixels", "resampled": len}),
        ("architecture", {"trainer": "adversarail"}),
        ("architecture", {"minibatch_group": 0}),
        ("architecture", {"options": {"base": [32]}}),
        ("quality check", {"stage": "final"}),
        ("quality check", {"severity": ""}),
        ("source", {"reads": "files"}),
        ("source", {"suffixes": ("tif",)}),
        ("source", {"suffixes": ()}),
        ("source", {"licence": "CC0"}),
        ("source", {"reads": "folder"}),
        ("source", {"description": ""}),
        ("export format", {"description": ""}),
        ("classifier", {"citation": ""}),
        ("feature network", {"citation": ""}),
    ],
)
def test_a_fact_outside_what_its_kind_allows_fails_at_registration(kind, change):
    registry, facts = COMPLETE[kind]
    with pytest.raises(OptionError):
        registry.register("mine", **(facts | change))


@pytest.mark.parametrize(
    "registry", [trainers, losses, *(registry for registry, _ in COMPLETE.values())], ids=lambda r: r.kind
)
def test_specs_are_frozen(registry):
    name = registry.names()[0]
    spec = registry.spec(name)
    with pytest.raises((FrozenInstanceError, TypeError)):
        spec.citation = "nobody"
    assert registry.spec(name) is spec


def test_a_folder_in_the_folder_is_no_plug_in(plugin_package):
    (plugin_package / "drafts").mkdir()
    (plugin_package / "drafts" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    assert _things(plugin_package).names() == ["alpha", "beta"]


def test_the_facts_of_metrics_are_read_without_torch_and_sklearn():
    code = (
        "import sys; from synthbank.metrics import metrics; assert metrics.spec('kid').order == 0; "
        "print({'torch', 'sklearn', 'skimage'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize("ask", ["get", "spec"])
def test_an_unknown_name_suggests_the_nearest(ask):
    registry = Registry("thing", Size)
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
        "from synthbank.registry import NoFacts, Registry\n"
        "things = Registry('thing', NoFacts, entry_point_group='test.things')\n"
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
