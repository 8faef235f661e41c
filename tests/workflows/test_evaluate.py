import pytest

from synthbank.catalogue import queries
from synthbank.errors import StateError
from synthbank.records import Split
from synthbank.workflows.evaluate import evaluate, load_synthetic
from synthbank.workflows.generate import GenerateRequest, generate, newest_job
from synthbank.workflows.ingest import load_split, require_dataset

from .conftest import DATASET, MODEL


def scores_of(bank, job_id):
    with bank.catalogue.session() as session:
        return queries.scores(subject_kind="job", subject_id=job_id, session=session)


def test_scores_are_rows_with_their_reference_and_both_networks(trained):
    rows = scores_of(trained, newest_job(trained))
    dataset = require_dataset(trained, DATASET)
    assert {r.reference_fingerprint for r in rows} == {dataset.split_fingerprints["test"]}
    overall = {r.metric: r for r in rows if r.class_name is None}
    assert {"kid-lite0-128", "fd-lite1-128", "coverage-lite1-128"} <= set(overall)
    kid = overall["kid-lite1-128"]
    assert kid.low < kid.value < kid.high
    assert abs(kid.floor) < kid.value  # a model of eight steps is far from real
    assert kid.n_real == len(load_split(trained, dataset, Split.TEST).images)
    assert kid.n_fake == 24


def test_inception_scores_are_never_replaced_by_another_network(trained):
    rows = [r for r in scores_of(trained, newest_job(trained)) if "inception" in r.metric]
    assert len(rows) == 2
    for row in rows:
        assert row.value is None
        assert "weights missing" in row.note


def test_a_closer_set_scores_better(trained):
    """Real training tiles, entered as if they were synthetic, beat the model by far."""
    from synthbank.metrics import kernel_distance
    from synthbank.models import batched, load_feature_network

    dataset = require_dataset(trained, DATASET)
    network = load_feature_network("lite1")
    embed = lambda images: network.embed(batched(images), input_size=128)  # noqa: E731
    test, train = (embed(load_split(trained, dataset, s).images.images) for s in (Split.TEST, Split.TRAIN))
    fake = embed(load_synthetic(trained, newest_job(trained), dataset.class_names, max_images=24).images)
    assert kernel_distance(real=test, fake=train) < 0.5 * kernel_distance(real=test, fake=fake)


def test_the_same_number_of_each_class_is_looked_at(trained):
    job = generate(trained, GenerateRequest(MODEL, 30, class_name="dab_positive", seed=11)).job
    generate(trained, GenerateRequest(MODEL, 5, class_name="dab_negative", seed=11))
    synthetic = load_synthetic(trained, job.id, ("dab_negative", "dab_positive"), max_images=20)
    assert (synthetic.labels == 1).sum() == 10
    assert (synthetic.labels == 0).sum() == 5


def test_a_job_without_accepted_images_cannot_be_scored(trained, publish):
    publish("blank", lambda g: [p.zero_() for p in g.to_pixels.parameters()])
    job = generate(trained, GenerateRequest("blank", 2, max_attempts=1)).job
    with pytest.raises(StateError, match=r"data set is not in this bank|no accepted"):
        evaluate(trained, job.id)


def test_the_same_seed_gives_the_same_scores(trained):
    job = newest_job(trained)
    a = evaluate(trained, job, n_resamples=2, seed=3)
    b = evaluate(trained, job, n_resamples=2, seed=3)
    assert [(s.metric, s.value, s.low, s.high) for s in a.scores] == [
        (s.metric, s.value, s.low, s.high) for s in b.scores
    ]
