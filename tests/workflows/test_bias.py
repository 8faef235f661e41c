from synthbank.catalogue import queries
from synthbank.reports.scores import metric_spec
from synthbank.workflows.evaluation.bias import bias
from synthbank.workflows.evaluation.requests import BiasRequest
from synthbank.workflows.generation.generate import newest_job


def test_bias_becomes_rows_with_floors(trained):
    report = bias(trained, BiasRequest(newest_job(trained)))
    found = {(s.metric, s.class_name): s for s in report.scores if s.group_name is None}
    assert {m for m, _ in found} == {
        "rare-coverage-lite1-128",
        "common-coverage-lite1-128",
        "label-agreement-lite1-128",
    }
    assert all(s.higher_is_better == metric_spec(s.metric).higher_is_better for s in report.scores)
    agreement = found["label-agreement-lite1-128", None]
    assert agreement.n_fake == 24
    assert agreement.low <= agreement.value <= agreement.high
    assert agreement.floor > 0.5
    with trained.catalogue.session() as session:
        rows = queries.scores(subject_kind="job", subject_id=report.job.id, session=session)
    assert {r.score() for r in rows if r.metric.startswith("label-")} == {
        s for s in report.scores if s.metric.startswith("label-")
    }
