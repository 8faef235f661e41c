import pytest

from synthbank.catalogue import queries
from synthbank.errors import OptionError, StateError
from synthbank.records import Verdict
from synthbank.workflows.generate import GenerateRequest, generate
from synthbank.workflows.inspect import regenerate

from .conftest import MODEL


def test_selection_is_recorded_on_job_and_rows_and_resumes(trained):
    request = GenerateRequest(MODEL, 8, seed=50, select=0.4)
    report = generate(trained, request)
    assert report.accepted == {"dab_negative": 8, "dab_positive": 8}
    recorded = report.job.request["select"]
    assert recorded["share"] == 0.4
    assert len(recorded["least_confidence"]) == 2
    with trained.catalogue.session() as session:
        rows = queries.images(job_id=report.job.id, limit=1000, session=session)
    left_out = [r for r in rows if r.verdict == Verdict.REJECTED.value]
    assert {r.reason for r in left_out} & {"low_confidence", "far_from_class"}
    assert all(0 <= r.scores["confidence"] <= 1 and r.scores["centroid_distance"] > 0 for r in rows)
    accepted = min(r.scores["confidence"] for r in rows if r.verdict == Verdict.ACCEPTED.value)
    assert accepted >= min(recorded["least_confidence"])
    assert regenerate(trained, rows[0].id).equal
    more = generate(trained, GenerateRequest(MODEL, 10, seed=50, select=0.4))
    assert more.job.id == report.job.id
    assert more.n_new == 4
    assert more.job.request["select"] == recorded


def test_another_share_is_another_job_and_none_is_the_old_one():
    assert GenerateRequest(MODEL, 5).job_id() != GenerateRequest(MODEL, 5, select=0.5).job_id()
    assert GenerateRequest(MODEL, 5, select=0.4).job_id() != GenerateRequest(MODEL, 5, select=0.5).job_id()


def test_selection_without_originals_or_without_the_gate_is_refused(publish, trained):
    publish("elsewhere", lambda g: None)
    with pytest.raises(StateError, match="needs the training originals"):
        generate(trained, GenerateRequest("elsewhere", 2, select=0.5))
    with pytest.raises(OptionError, match="screened"):
        GenerateRequest(MODEL, 2, screen=False, select=0.5)
    with pytest.raises(OptionError, match="share"):
        GenerateRequest(MODEL, 2, select=1.0)
