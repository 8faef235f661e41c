import pytest
import torch

from synthbank.catalogue import queries
from synthbank.errors import OptionError, StateError
from synthbank.records import INSIDE_DISCRIMINATOR, Split
from synthbank.reports.scores import leading_network, meaning_of, metric_spec, order_scores, parts_of
from synthbank.workflows.data.datasets import load_split, require_dataset
from synthbank.workflows.evaluation.evaluate import evaluate
from synthbank.workflows.evaluation.requests import BiasRequest, EvaluateRequest, UtilityRequest
from synthbank.workflows.evaluation.sets import load_synthetic
from synthbank.workflows.generation.generate import GenerateRequest, generate, newest_job

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


def test_a_job_of_one_class_is_held_against_that_class_alone(trained):
    job = generate(trained, GenerateRequest(MODEL, 6, class_name="dab_positive", seed=12)).job
    report = evaluate(trained, EvaluateRequest(job.id, n_resamples=2))
    test = load_split(trained, report.dataset, Split.TEST).images
    n = int((test.labels == test.class_names.index("dab_positive")).sum())
    assert 2 <= n < len(test)
    assert report.n_real == n
    kid = [s for s in report.scores if s.metric == "kid-lite1-128"]
    assert {(s.n_real, s.n_fake) for s in kid} == {(n, 6)}
    assert {s.class_name for s in report.scores} <= {None, "dab_positive"}
    assert list(report.scores) == order_scores(report.scores, test.class_names)
    assert report.scores[0].metric == "kid-lite1-128"


def test_a_job_without_accepted_images_cannot_be_scored(trained, publish):
    publish("blank", lambda g: [p.zero_() for p in g.to_pixels.parameters()])
    job = generate(trained, GenerateRequest("blank", 2, max_attempts=1)).job
    with pytest.raises(StateError, match=r"data set is not in this bank|no accepted"):
        evaluate(trained, EvaluateRequest(job.id))


def test_the_same_seed_gives_the_same_scores(trained):
    job = newest_job(trained)
    a = evaluate(trained, EvaluateRequest(job, n_resamples=2, seed=3))
    b = evaluate(trained, EvaluateRequest(job, n_resamples=2, seed=3))
    assert [(s.metric, s.value, s.low, s.high) for s in a.scores] == [
        (s.metric, s.value, s.low, s.high) for s in b.scores
    ]


def test_the_space_of_the_discriminator_is_marked_and_does_not_lead(trained):
    rows = scores_of(trained, newest_job(trained))
    scores = [r.score() for r in rows]
    inside = [s for s in scores if (s.note or "").startswith(INSIDE_DISCRIMINATOR)]
    assert {parts_of(s.metric)[1] for s in inside} == {"lite0"}
    assert len(inside) == sum(parts_of(s.metric)[1] == "lite0" for s in scores)
    assert leading_network(scores) == "lite1"


def test_pixels_and_privacy_are_scored_and_every_score_has_the_label_and_direction_of_its_spec(trained):
    scores = [r.score() for r in scores_of(trained, newest_job(trained))]
    overall = {s.metric: s for s in scores if s.class_name is None}
    assert {"stain-pixels-32", "spectrum-pixels-32", "ms-ssim-pixels-32", "closest-record-lite1-128"} <= set(overall)
    assert overall["spectrum-pixels-32"].value > overall["spectrum-pixels-32"].floor  # eight steps of training
    for score in scores:
        assert meaning_of(score.metric), score.metric
        assert score.higher_is_better == metric_spec(score.metric).higher_is_better, score.metric


def test_every_scored_image_knows_how_new_it_is(trained):
    rows = list(scored_images(trained))
    assert len(rows) == 24
    assert all(0.0 <= row.scores["novelty"] <= 1.0 for row in rows)


def scored_images(bank):
    with bank.catalogue.session(read_only=True) as session:
        yield from queries.accepted_images(job_id=newest_job(bank), session=session)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_users_encoder_is_one_more_space(trained, tmp_path):
    class Channels(torch.nn.Module):
        def forward(self, x):
            return torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3))], dim=1)

    torch.jit.trace(Channels(), torch.zeros(2, 3, 32, 32)).save(str(tmp_path / "own.pt"))
    (tmp_path / "own.json").write_text('{"size": 32}')
    report = evaluate(trained, EvaluateRequest(newest_job(trained), n_resamples=2, encoder=tmp_path / "own.pt"))
    own = [s for s in report.scores if parts_of(s.metric)[1].startswith("enc")]
    assert {parts_of(s.metric)[2] for s in own} == {"32"}
    assert any(s.value is not None and parts_of(s.metric)[0] == "kid" for s in own)
    assert leading_network(report.scores) == "lite1"


@pytest.mark.parametrize(
    "build",
    [
        lambda: EvaluateRequest("j1", max_images=0),
        lambda: EvaluateRequest("j1", n_resamples=1),
        lambda: UtilityRequest("j1", seeds=0),
        lambda: UtilityRequest("j1", folds=1),
        lambda: BiasRequest("j1", max_images=0),
    ],
)
def test_a_request_outside_its_bounds_is_refused_before_any_work(build):
    with pytest.raises(OptionError, match="Allowed"):
        build()
