"""The front door in Python: README's example, light import, typed methods that print nothing."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import synthbank
from synthbank import api

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = [member for name, member in inspect.getmembers(api.Bank, inspect.isfunction) if not name.startswith("_")]


def _python_blocks(document: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_ten_lines_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = _python_blocks("README.md")[0]
    assert len([line for line in lines.splitlines() if line.strip()]) <= 10
    names = {}
    exec(compile(lines, "README.md", "exec"), names)
    assert capsys.readouterr().out == ""  # results are returned, not printed
    assert names["model"].class_names == ("dab_negative", "dab_positive")
    assert names["job"].n_accepted == 40
    assert any(score.metric.startswith("kid-") for score in names["scores"])
    assert (tmp_path / "report.html").read_text().lower().startswith("<!doctype html>")
    assert (tmp_path / "images.zip").stat().st_size > 10_000
    image, label = names["images"][0]
    assert (len(names["images"]), image.shape, str(image.dtype), label) == (40, (3, 64, 64), "torch.uint8", 0)


_LIGHT = """
import sys, time
start = time.perf_counter()
import synthbank
seconds = time.perf_counter() - start
heavy = {"torch", "sqlalchemy", "fastapi", "numpy", "pydantic", "skimage", "sklearn", "matplotlib", "fsspec"}
print(sorted(heavy & set(sys.modules)))
print(set(synthbank.__all__) <= set(dir(synthbank)))
synthbank.open_bank, synthbank.TrainRequest, synthbank.EvaluateRequest, synthbank.ExportRequest
print("torch" in sys.modules)
"""


def test_importing_the_package_loads_nothing_heavy_and_its_names_no_torch():
    out = subprocess.run([sys.executable, "-c", _LIGHT], capture_output=True, text=True, check=True).stdout
    assert out.split("\n")[:3] == ["[]", "True", "False"]


def test_every_public_name_is_there():
    for name in synthbank.__all__:
        assert getattr(synthbank, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'open_bnak'"):
        synthbank.open_bnak  # noqa: B018


@pytest.mark.parametrize("method", PUBLIC, ids=lambda m: m.__name__)
def test_a_method_is_typed_documented_and_short(method):
    signature = inspect.signature(method)
    parameters = [p for name, p in signature.parameters.items() if name != "self"]
    assert len(parameters) <= 8
    assert all(p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation not in (inspect.Parameter.empty, "object", "dict", "Any") for p in parameters)
    assert inspect.getdoc(method)
    for parameter in parameters:
        assert re.search(rf"^ *{parameter.name}: |`{parameter.name}`", method.__doc__, re.MULTILINE), parameter.name


def test_the_library_neither_prints_nor_ends_the_process():
    for path in (ROOT / "src" / "synthbank").rglob("*.py"):
        room = path.relative_to(ROOT / "src" / "synthbank").parts[0]
        if room in ("cli", "service", "__main__.py"):  # the service starts processes that answer on stdout
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.id if isinstance(node, ast.Name) else None
            assert name not in ("print", "exit", "quit", "SystemExit"), f"{path}:{node.lineno}: {name}"


def test_the_page_on_python_lists_every_method():
    text = (ROOT / "docs" / "python.md").read_text()
    missing = [m.__name__ for m in PUBLIC if m.__name__ != "close" and f"`{m.__name__}(" not in text]
    assert not missing


def test_a_request_and_a_name_mean_the_same(tmp_path):
    with synthbank.open_bank(tmp_path / "bank") as bank:
        bank.import_model("zoo:ihc-64")
        by_name = bank.generate("ihc-64", n=3, class_name="dab_positive", seed=5)
        again = bank.generate(synthbank.GenerateRequest("ihc-64", 3, class_name="dab_positive", seed=5))
        assert (again.job.id, again.n_new) == (by_name.job.id, 0)
        assert [row.class_name for row in bank.images(job=by_name.job.id)] == ["dab_positive"] * 3
        first, second = bank.images(limit=2)
        assert bank.images(limit=1, after=first.id) == [second]
        assert bank.pixels(first).shape == bank.pixels(first.id).shape == (3, 64, 64)
        assert [job.id for job in bank.jobs()] == [by_name.job.id]
        with pytest.raises(synthbank.SynthBankError, match="not in this bank"):
            bank.dataset(by_name.job.id, part="train")
        with pytest.raises(synthbank.SynthBankError, match="part of a data set"):
            bank.dataset(by_name.job.id, part="synthetics")
        with pytest.raises(synthbank.SynthBankError, match="number of images is missing"):
            bank.generate("ihc-64")
        with pytest.raises(synthbank.SynthBankError, match="no target"):
            bank.export(by_name.job.id)
        assert bank.verify().sound
        assert bank.regenerate(first.id).equal


def test_progress_goes_to_callbacks_and_a_run_can_be_stopped(tmp_path, capsys):
    events, counts = [], []
    with synthbank.open_bank(tmp_path / "bank") as bank:
        bank.ingest("sample:ihc", name="tissue", options=synthbank.IngestOptions(size=32))
        request = synthbank.TrainRequest(
            "tissue", architecture="dcgan", preset="quick", steps=4, overrides={"model_options": {"base": 4}}
        )
        stopped = bank.train(request, on_event=events.append, should_stop=lambda: bool(events) or True)
        assert (stopped.finished, stopped.model) == (False, None)
        report = bank.train(request, on_event=events.append, model_name="small")
        assert report.finished
        assert report.run_id == stopped.run_id
        assert events
        made = bank.generate("small", n=2, on_progress=lambda *count: counts.append(count))
        assert counts
        assert made.job.id in {job.id for job in bank.jobs()}
        assert [m.id for m in bank.models()] == ["small"]
        assert [d.name for d in bank.datasets()] == ["tissue"]
    assert capsys.readouterr().out == ""


def test_a_bank_that_is_not_there_is_an_error_where_none_shall_be_made(tmp_path):
    with pytest.raises(synthbank.SynthBankError, match="no bank here"):
        synthbank.open_bank(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
