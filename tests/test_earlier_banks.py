"""Banks that earlier commits made still open, and what was unfinished in them goes on to the same result."""

import json
import tarfile
from pathlib import Path

import pytest
import torch

from synthbank.api import open_bank
from synthbank.catalogue import Catalogue, queries
from synthbank.models import load_tensors
from synthbank.storage import layout
from synthbank.workflows.generation.requests import GenerateRequest
from synthbank.workflows.training.requests import TrainRequest

BANKS = Path(__file__).parent / "banks"


@pytest.fixture
def earlier(tmp_path):
    """The bank of 4e65e33 in a folder of this test, and what that commit recorded."""
    with tarfile.open(BANKS / "bank-4e65e33.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    home = tmp_path / "bank"
    return home, json.loads((home / "expected.json").read_text())


def test_it_is_migrated_after_a_copy_was_made(earlier):
    home, _ = earlier
    catalogue = Catalogue(f"sqlite:///{home / 'catalogue.db'}")
    assert catalogue.schema_version() == "0003"
    catalogue.close()
    with open_bank(home, create=False) as bank:
        assert bank.verify().sound
        assert [(m.id, m.status, m.source) for m in bank.models()] == [("m1", "published", None)]
    (copy,) = home.glob("catalogue-0003-*.db")
    before = Catalogue(f"sqlite:///{copy}")
    assert before.schema_version() == "0003"
    before.close()


def test_models_jobs_scores_and_cards_are_read(earlier):
    home, expected = earlier
    with open_bank(home, create=False) as bank:
        done = next(job for job in bank.jobs() if job.id == expected["job"])
        assert bank.generate(GenerateRequest("m1", 3, seed=9, screen=False)).n_new == 0
        assert done.n_accepted == 6
        assert bank.regenerate(bank.images(job=done.id)[0].id).equal
        assert len(bank.dataset(done.id, part="mixed")) > 6
        report = bank.report(done.id)
        assert "kid-lite1" in report.read_text() or "KID" in report.read_text()


def test_a_job_that_was_stopped_is_the_same_job_and_resumes(earlier):
    home, expected = earlier
    before = expected["stopped_job"]
    with open_bank(home, create=False) as bank:
        request = GenerateRequest("m1", 80, seed=4, class_name="wide", screen=False, truncation=0.5)
        report = bank.generate(request)
        assert report.job.id == before["id"]
        assert (report.n_new, report.job.n_accepted) == (80 - before["n"], 80)
        assert bank.verify().sound


def test_an_unfinished_run_is_the_same_run_and_ends_with_the_same_weights(earlier):
    home, expected = earlier
    wanted = expected["resumed"]
    options = json.loads((home / "runs" / wanted["run"] / "config.json").read_text())
    assert "lr_floor" in options  # a name that is read, and not used any more
    del options["preset"], options["architecture"]
    with open_bank(home, create=False) as bank:
        request = TrainRequest("shapes", architecture="dcgan", preset="quick", device="cpu", overrides=options)
        report = bank.train(request, model_name="m2")
        assert (report.run_id, report.steps) == (wanted["run"], 6)
        model = next(m for m in bank.models() if m.id == "m2")
        store = bank._bank.store
        weights = load_tensors(store.get(layout.model_key("m2", "discriminator.safetensors")))
        assert not any("judge" in name for name in weights)
        if (torch.__version__, torch.backends.cpu.get_cpu_capability()) == (
            expected["torch"],
            expected["cpu_capability"],
        ):
            assert model.sha256 == wanted["sha256"]


def test_a_withdrawal_reaches_what_it_made(earlier):
    home, _ = earlier
    with open_bank(home, create=False) as bank:
        with bank._bank.catalogue.session() as session:
            original = queries.model_originals("m1", session=session)[0]
        report = bank.withdraw(original)
        assert report.models == ("m1",)
        assert bank.models()[0].status == "withdrawn"
        assert bank.images() == []
