"""Models that travel: pushed, pulled, started from; and those that come with the package."""

import json
import sys
from pathlib import Path

import pytest
import torch
from sqlalchemy import delete

from synthbank.catalogue import queries
from synthbank.catalogue.tables import ModelOriginal
from synthbank.data import IngestOptions
from synthbank.errors import IntegrityError, OptionError, SetupError, SourceError, StateError, UnknownNameError
from synthbank.models import load_tensors
from synthbank.records import Split
from synthbank.settings import Settings
from synthbank.storage import layout
from synthbank.workflows.bank import open_bank
from synthbank.workflows.data.ingest import ingest
from synthbank.workflows.evaluation.evaluate import evaluate
from synthbank.workflows.evaluation.requests import EvaluateRequest
from synthbank.workflows.generation.generate import GenerateRequest, generate
from synthbank.workflows.models.transfer import import_model, initial_weights, push, read_package
from synthbank.workflows.models.zoo import missing_zoo_names, zoo_folders, zoo_names
from synthbank.workflows.training.configure import configure
from synthbank.workflows.training.requests import TrainRequest
from synthbank.workflows.training.train import train

from .conftest import DATASET, MODEL, small_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pushed(trained, tmp_path):
    folder = tmp_path / "pushed"
    push(trained, MODEL, str(folder))
    return folder


def test_a_pushed_model_makes_the_same_images_in_another_bank(trained, pushed, tmp_path):
    assert sorted(p.name for p in pushed.iterdir()) == [
        "discriminator.safetensors",
        "generator.safetensors",
        "model.json",
        "screen.safetensors",
    ]
    with open_bank(Settings(home=tmp_path / "other")) as other:
        row = import_model(other, str(pushed))
        assert (row.id, row.source) == (MODEL, str(pushed))
        assert row.dataset_id is None  # this bank does not hold the originals
        job = generate(other, GenerateRequest(MODEL, 3)).job
        with other.catalogue.session() as session:
            theirs = {r.pixel_sha256 for r in queries.images(job_id=job.id, session=session)}
    with trained.catalogue.session() as session:
        ours = {r.pixel_sha256 for r in queries.images(limit=1000, session=session)}
    assert theirs <= ours


def test_where_the_originals_are_a_pulled_model_can_be_evaluated(trained, pushed):
    row = import_model(trained, str(pushed), name="again")
    assert row.dataset_id is not None
    job = generate(trained, GenerateRequest("again", 8, seed=3)).job
    assert evaluate(trained, EvaluateRequest(job.id, n_resamples=10)).scores


def test_pulling_twice_changes_nothing(trained, pushed):
    assert import_model(trained, str(pushed), name="again") == import_model(trained, str(pushed), name="again")


def test_pulling_under_a_name_that_is_taken_leaves_the_model_there_as_it_is(trained, pushed):
    before = trained.store.get(layout.model_key(MODEL, "generator.safetensors"))
    with pytest.raises(StateError, match="taken by other weights"):
        import_model(trained, "zoo:ihc-64", name=MODEL)
    assert trained.store.get(layout.model_key(MODEL, "generator.safetensors")) == before
    assert generate(trained, GenerateRequest(MODEL, 2, seed=4)).job


@pytest.mark.parametrize("form", ["pushed", "folder of the bank"])
def test_an_imported_model_goes_with_any_original_that_shaped_it(trained, pushed, tmp_path, form):
    """Those of its gate, and those that chose its snapshot; a container is given the folder of the bank."""
    source = str(pushed) if form == "pushed" else trained.store.url(layout.model_prefix(MODEL))
    with trained.catalogue.session() as session:
        shaped = queries.model_originals(MODEL, session=session)
    screened = read_package(source).gate.hashes
    other = next(h for h in shaped if h not in screened)
    for original in (screened[0], other):
        with open_bank(Settings(home=tmp_path / original[:8])) as elsewhere:
            row = import_model(elsewhere, source)
            assert elsewhere.store.exists(layout.model_key(row.id, "discriminator.safetensors"))
            assert "originals" not in row.card
            with elsewhere.catalogue.session() as session:
                assert queries.model_originals(row.id, session=session) == shaped
                assert list(queries.withdraw_original(original, session=session).models) == [MODEL]
                assert queries.get_model(MODEL, session=session).status == "withdrawn"
            with pytest.raises(StateError, match="withdrawn"):
                import_model(elsewhere, source)


def test_importing_again_records_the_originals_that_an_earlier_version_did_not(trained, pushed, tmp_path):
    with open_bank(Settings(home=tmp_path / "elsewhere")) as elsewhere:
        row = import_model(elsewhere, str(pushed))
        with elsewhere.catalogue.session() as session:
            session.execute(delete(ModelOriginal))
        assert import_model(elsewhere, str(pushed)) == row
        with elsewhere.catalogue.session() as session, trained.catalogue.session() as ours:
            shaped = queries.model_originals(MODEL, session=ours)
            assert queries.model_originals(row.id, session=session) == shaped


def test_an_exchanged_file_is_refused(trained, pushed):
    data = bytearray((pushed / "generator.safetensors").read_bytes())
    data[-1] ^= 1
    (pushed / "generator.safetensors").write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match="hash"):
        import_model(trained, str(pushed), name="again")
    with trained.catalogue.session() as session, pytest.raises(UnknownNameError):
        queries.get_model("again", session=session)


def test_a_folder_without_a_model_and_an_unknown_zoo_name_say_what_to_do(trained, tmp_path):
    with pytest.raises(SourceError, match="models push"):
        import_model(trained, str(tmp_path))
    with pytest.raises(UnknownNameError, match="zoo"):
        import_model(trained, "zoo:nothing-like-this")


def test_a_folder_whose_card_records_no_gate_is_no_whole_model(pushed):
    card = json.loads((pushed / "model.json").read_text())
    del card["screen_sha256"]
    (pushed / "model.json").write_text(json.dumps(card))
    with pytest.raises(SourceError, match="no whole model"):
        read_package(str(pushed))


def test_training_starts_from_a_model_of_the_bank_a_folder_or_the_zoo(trained, pushed):
    cold = train(trained, TrainRequest(DATASET, config=small_config(steps=4, seed=9), device="cpu"))
    warm = train(trained, TrainRequest(DATASET, config=small_config(steps=4, seed=9, init=MODEL), device="cpu"))
    same = train(trained, TrainRequest(DATASET, config=small_config(steps=4, seed=9, init=str(pushed)), device="cpu"))
    assert warm.run_id != cold.run_id
    assert warm.model.sha256 != cold.model.sha256
    assert warm.model.sha256 == same.model.sha256
    assert warm.model.card["training"]["init"] == MODEL
    source = json.loads((pushed / "model.json").read_text())
    assert same.model.card["start"] == {
        "from": str(pushed),
        "weights_sha256": source["weights_sha256"],
        "dataset": source["dataset"],
        "data": None,
        "licence": None,
    }
    assert "start" not in cold.model.card


def test_start_weights_of_another_architecture_are_refused(trained):
    with pytest.raises(OptionError, match="another architecture"):
        train(trained, TrainRequest(DATASET, config=small_config(architecture="sagan", init=MODEL), device="cpu"))
    with trained.catalogue.session() as session:
        assert [r.architecture for r in queries.list_runs(session=session)] == ["projected"]  # none was begun


def test_an_original_takes_the_models_that_started_from_its_model_with_it(trained, pushed):
    """What shaped the start weights shaped the model, whether they came from the bank or from elsewhere."""
    ingest(trained, "sample:ihc", name="other", options=IngestOptions(size=64))
    for name, init in (("child", MODEL), ("guest", str(pushed)), ("stranger", "none")):
        train(
            trained,
            TrainRequest(
                "other", config=small_config(steps=2, snapshot_every=2, init=init), device="cpu", model_name=name
            ),
        )
    with trained.catalogue.session() as session:
        shaped = queries.model_originals(MODEL, session=session)
        assert set(shaped) <= set(queries.model_originals("child", session=session))
        trained_on = {o.sha256 for o in _originals(DATASET, session) if o.split == Split.TRAIN}
        assert not trained_on & {o.sha256 for o in _originals("other", session)}
        report = queries.withdraw_original(min(trained_on), session=session)
        assert set(report.models) == {"child", "guest", MODEL}
    with pytest.raises(StateError, match="withdrawn"):
        initial_weights(trained, MODEL)


def _originals(name, session):
    return queries.originals(queries.get_dataset(name, session=session).id, session=session)


def test_none_means_random_weights(trained):
    assert initial_weights(trained, "none") is None


@pytest.mark.parametrize("name", zoo_names())
def test_every_packaged_model_is_whole_small_and_has_a_card(name, trained):
    package = read_package(f"zoo:{name}")
    assert all(len(data) < 16 * 2**20 for data in package.files.values())
    for key in ("licence", "data", "not_for", "trained", "scores"):
        assert package.card.to_json()[key], key
    assert json.dumps(package.card.to_json())
    row = import_model(trained, f"zoo:{name}")
    report = generate(trained, GenerateRequest(row.id, 2, screen=False))
    assert set(report.accepted.values()) == {2}


@pytest.fixture
def without_the_zoo_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "synthbank_zoo", None)


def test_the_package_of_models_holds_what_the_other_lacks():
    names = {path.parent.name for path in (ROOT / "zoo" / "synthbank_zoo").glob("*/model.json")}
    assert zoo_names() == sorted(names)
    assert missing_zoo_names() == []


@pytest.mark.usefixtures("without_the_zoo_package")
def test_a_name_of_the_package_that_is_not_installed_says_how_to_install_it(trained):
    assert zoo_names() == ["ihc-64"]
    assert missing_zoo_names() == ["cytology3-128", "cytology3-64", "histology128"]
    with pytest.raises(SetupError, match=r"pip install synthbank-zoo, or in a checkout: pip install \./zoo"):
        import_model(trained, "zoo:cytology3-64")
    with pytest.raises(UnknownNameError, match="cytology3-64"):
        zoo_folders("cytology3-46")
    row = import_model(trained, "zoo:ihc-64")
    assert set(generate(trained, GenerateRequest(row.id, 2)).accepted.values()) == {2}


@pytest.mark.usefixtures("without_the_zoo_package")
def test_auto_starts_from_scratch_where_the_package_of_models_is_not_installed(trained):
    found = configure(trained, TrainRequest(DATASET))
    assert found.config.init == "none"
    (reason,) = [r for r in found.reasons if r.startswith("start")]
    assert "the package synthbank-zoo is not installed" in reason


def test_training_starts_from_the_generator_alone_where_its_discriminator_is_not_installed(monkeypatch, trained):
    both = initial_weights(trained, "zoo:ihc-64")
    monkeypatch.setitem(sys.modules, "synthbank_zoo", None)
    alone = initial_weights(trained, "zoo:ihc-64")
    assert set(both.networks) == {"generator", "discriminator"}
    assert set(alone.networks) == {"generator"}
    assert all(torch.equal(both.networks["generator"][k], v) for k, v in alone.networks["generator"].items())
    assert both.originals == alone.originals
    stored = load_tensors(read_bytes("discriminator.safetensors"))
    assert {t.dtype for t in stored.values() if t.is_floating_point()} == {torch.float16}
    assert {t.dtype for t in both.networks["discriminator"].values() if t.is_floating_point()} == {torch.float32}


def read_bytes(name):
    return (ROOT / "zoo" / "synthbank_zoo" / "ihc-64" / name).read_bytes()
