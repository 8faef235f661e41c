"""What a run checks before anything takes long, and what a plan leaves alone."""

import numpy as np
import pytest
from PIL import Image

from synthbank.data import IngestOptions
from synthbank.errors import OptionError, StateError
from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank
from synthbank.workflows.data.ingest import ingest
from synthbank.workflows.run import RunRequest, plan, run
from synthbank.workflows.training.requests import TrainRequest

TRAINING = TrainRequest("set", steps=1, init="none")
OPTIONS = {"ingest_options": IngestOptions(size=32)}


@pytest.fixture
def folder(tmp_path):
    """Two classes of ten noise images."""
    rng = np.random.default_rng(0)
    for name in ("a", "z"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path / "images"


@pytest.mark.parametrize("n", [0, -5])
def test_a_run_of_no_images_is_refused_at_once(folder, n):
    with pytest.raises(OptionError, match="at least one image"):
        RunRequest(str(folder), n, TRAINING)


def test_a_run_without_test_originals_ends_after_the_ingest(folder, tmp_path):
    request = RunRequest(str(folder), 2, TRAINING, shares=(0.9, 0.1, 0.0), **OPTIONS)
    stages, reports = [], []
    with open_bank(Settings(home=tmp_path / "bank")) as bank, pytest.raises(StateError, match="no test originals"):
        run(bank, request, on_stage=stages.append, on_ingested=reports.append)
    assert stages == ["ingest"]
    assert reports[0].counts["a"]["test"] == 0
    with pytest.raises(StateError, match="no test originals"):
        plan(request)


def test_a_plan_writes_nothing_where_the_environment_points(folder, tmp_path, monkeypatch):
    for name, part in (
        ("DATABASE_URL", f"sqlite:///{tmp_path / 'real.db'}"),
        ("STORAGE_URL", (tmp_path / "real").as_uri()),
    ):
        monkeypatch.setenv(f"SYNTHBANK_{name}", part)
    monkeypatch.setenv("SYNTHBANK_RUNS", str(tmp_path / "runs"))
    planned = plan(RunRequest(str(folder), 2, TRAINING, **OPTIONS))
    assert planned.ingested.counts["a"]["test"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_bank_inside_the_folder_is_no_class_of_it(folder):
    with open_bank(Settings(home=folder / "bank")) as bank:
        first = ingest(bank, folder, name="set", options=IngestOptions(size=32))
        again = ingest(bank, folder, name="set", options=IngestOptions(size=32))
    assert (first.is_new, again.is_new) == (True, False)
    assert again.dataset.class_names == ("a", "z")
    assert "left out: bank, a bank of SynthBank" in again.notes
