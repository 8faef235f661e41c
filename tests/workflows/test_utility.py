import pytest

from synthbank.catalogue import queries
from synthbank.errors import OptionError, StateError
from synthbank.metrics.utility import UtilityPlan
from synthbank.records import Split
from synthbank.workflows.data.datasets import load_split, require_dataset
from synthbank.workflows.evaluation.cross_validation import cross_utility, fold_datasets
from synthbank.workflows.evaluation.folds import UtilityLimits, load_fold
from synthbank.workflows.evaluation.requests import UtilityRequest, fold_count
from synthbank.workflows.evaluation.utility import regime_table, split_utility, utility, utility_plan
from synthbank.workflows.generation.generate import GenerateRequest, generate, newest_job

from .conftest import DATASET, MODEL

PROBE = UtilityPlan(classifiers=("probe",), n_seeds=2)
FEW = UtilityLimits(n_resamples=50)


@pytest.fixture
def thumbnails(monkeypatch):
    """Eight-pixel thumbnails as features: real images and a real classifier, without minutes of embedding."""

    def embed(images):
        n, channels, side, _ = images.shape
        return images.reshape(n, channels, 8, side // 8, 8, side // 8).mean(axis=(3, 5)).reshape(n, -1)

    monkeypatch.setattr("synthbank.workflows.evaluation.folds.Embedder", lambda network, cache: embed)


def test_utility_becomes_rows_with_groups_details_and_a_verdict(trained):
    report = utility(trained, UtilityRequest(newest_job(trained), seeds=1, classifiers=("probe",), n_resamples=50))
    with trained.catalogue.session() as session:
        rows = queries.scores(subject_kind="job", subject_id=report.job.id, session=session)
    found = {r.metric: r for r in rows if r.metric.startswith("gain-macro-f1-") and r.class_name is None}
    assert set(found) == {f"gain-macro-f1-probe-{c}" for c in ("real", "synthetic", "both", "only")}
    row = found["gain-macro-f1-probe-both"]
    assert row.details["seeds"] == 1
    assert row.details["verdict"] in report.sentences[0]
    assert row.reference_fingerprint == report.dataset.split_fingerprints["test"]
    assert row.score() in report.scores
    table = regime_table(report.scores)
    assert [line[1] for line in table][:2] == ["originals only", "originals, affine augmentation"]
    assert table[1][4] == ""  # the control has no gain over itself


def test_test_originals_stay_out_of_training(trained):
    dataset = require_dataset(trained, DATASET)
    fold, names = load_fold(trained, dataset, [newest_job(trained)])
    test = load_split(trained, dataset, Split.TEST)
    assert set(fold.test.ids) == set(test.images.ids)
    assert not set(fold.train.ids) & set(fold.test.ids)
    assert len(fold.train) == sum(len(load_split(trained, dataset, s).rows) for s in (Split.TRAIN, Split.VALIDATION))
    assert {names[g] for g in fold.test_groups} == {r.group_id or r.name for r in test.rows}


def test_folds_are_data_sets_of_the_same_files_and_made_once(trained):
    dataset = require_dataset(trained, DATASET)
    parts = fold_datasets(trained, dataset, 2, seed=0)
    assert [p.name for p in fold_datasets(trained, dataset, 2, seed=0)] == [p.name for p in parts]
    assert [p.version for p in fold_datasets(trained, dataset, 2, seed=0)] == [1, 1]
    tested = [set(load_split(trained, p, Split.TEST).images.ids) for p in parts]
    everything = {i for s in Split for i in load_split(trained, dataset, s).images.ids}
    assert tested[0] | tested[1] == everything
    assert not tested[0] & tested[1]
    learned = load_split(trained, parts[0], Split.TRAIN)
    assert not set(learned.images.ids) & tested[0]


def test_cross_validation_asks_for_a_generator_of_each_fold(trained, thumbnails):
    asked = []

    def job_of_fold(part):
        asked.append(part.name)
        return generate(trained, GenerateRequest(MODEL, 6, seed=30 + len(asked))).job.id

    report = cross_utility(trained, DATASET, job_of_fold, n_folds=2, plan=PROBE, limits=FEW)
    assert asked == list(report.folds)
    assert len(set(report.jobs)) == 2
    dataset = require_dataset(trained, DATASET)
    with trained.catalogue.session() as session:
        rows = queries.scores(subject_kind="dataset", subject_id=str(dataset.id), session=session)
    gain = next(r for r in rows if r.metric == "gain-macro-f1-probe-both")
    assert gain.details["folds"] == 2
    assert gain.n_real == sum(len(load_split(trained, dataset, s).rows) for s in Split)


def test_finished_classifiers_are_found_again(trained, thumbnails):
    job = newest_job(trained)
    first = split_utility(trained, job, PROBE, limits=FEW)
    kept = sorted((trained.runs_dir / "utility").iterdir())
    assert len(kept) == 2 * 5  # seeds, regimes
    kept[0].write_bytes(b"cut off")
    again = split_utility(trained, job, PROBE, limits=FEW)
    assert [(s.metric, s.value, s.low) for s in again.scores] == [(s.metric, s.value, s.low) for s in first.scores]
    assert kept[0].read_bytes() != b"cut off"
    assert len(sorted((trained.runs_dir / "utility").iterdir())) == 10


def test_nothing_to_try_is_said_plainly(trained, publish):
    publish("blank", lambda g: [p.zero_() for p in g.to_pixels.parameters()])
    job = generate(trained, GenerateRequest("blank", 2, max_attempts=1)).job
    with pytest.raises(StateError, match="not in this bank"):
        utility(trained, UtilityRequest(job.id))
    with pytest.raises(OptionError, match="no number of folds"):
        UtilityRequest("j1", folds="one")
    assert fold_count("groups") is None


def test_a_request_becomes_a_plan():
    plan = utility_plan(UtilityRequest("j1", seeds=3, select=0.5, curves=True, shifts=True, seed=7))
    assert (plan.n_seeds, plan.select, plan.seed) == (3, 0.5, 7)
    assert plan.real_shares == (0.1, 0.25, 0.5, 1.0)
    assert plan.ratios == (0.5, 1.0, 2.0, 4.0)
    assert {"blur", "jpeg"} <= set(plan.shifts)
    usual = utility_plan(UtilityRequest("j1"))
    assert usual == UtilityPlan()
    assert utility_plan(UtilityRequest("j1", classifiers=("probe",))).classifiers == ("probe",)
