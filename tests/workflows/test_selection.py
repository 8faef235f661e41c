import numpy as np
import pytest

from synthbank.catalogue import queries
from synthbank.errors import OptionError, StateError
from synthbank.records import Verdict
from synthbank.workflows.generation.generate import GenerateRequest, generate
from synthbank.workflows.maintenance.verify import regenerate
from synthbank.workflows.training.requests import TrainRequest
from synthbank.workflows.training.train import train

from .conftest import DATASET, MODEL, small_config


def made(bank, **choices):
    """Eight images of each class: the job's report, what it recorded of the rule, and all its rows."""
    report = generate(bank, GenerateRequest(MODEL, 8, **choices))
    assert report.accepted == {"dab_negative": 8, "dab_positive": 8}
    with bank.catalogue.session() as session:
        rows = queries.images(job_id=report.job.id, limit=1000, session=session)
    (recorded,) = (report.job.request[option] for option in ("select", "match") if option in choices)
    return report, recorded, rows


def test_selection_is_recorded_on_job_and_rows_and_resumes(trained):
    report, recorded, rows = made(trained, seed=50, select=0.4)
    assert recorded["share"] == 0.4
    assert len(recorded["least_confidence"]) == 2
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


@pytest.mark.slow
def test_matching_is_recorded_on_job_and_rows_and_resumes(trained):
    report, recorded, rows = made(trained, seed=51, match=0.4)
    assert recorded["share"] == 0.4
    assert len(recorded["always_kept_from"]) == 2
    assert "over_represented" in {r.reason for r in rows}
    for r in rows:
        limit = recorded["always_kept_from"][("dab_negative", "dab_positive").index(r.class_name)]
        assert r.scores["chance"] == pytest.approx(min(np.exp(r.scores["log_density_ratio"] - limit), 1.0))
        assert r.scores["chance"] < 1 or r.reason != "over_represented"
    more = generate(trained, GenerateRequest(MODEL, 10, seed=51, match=0.4))
    assert (more.job.id, more.n_new, more.job.request["match"]) == (report.job.id, 4, recorded)


def test_a_model_of_one_class_can_be_matched(trained):
    config = small_config(steps=2)
    model = train(trained, TrainRequest(DATASET, config=config, model_name="one", only_class="dab_positive")).model
    report = generate(trained, GenerateRequest(model.id, 4, match=0.5))
    assert report.accepted == {"dab_positive": 4}


def test_another_share_is_another_job_and_none_is_the_old_one():
    assert GenerateRequest(MODEL, 5).job_id() != GenerateRequest(MODEL, 5, select=0.5).job_id()
    assert GenerateRequest(MODEL, 5, select=0.4).job_id() != GenerateRequest(MODEL, 5, select=0.5).job_id()
    assert GenerateRequest(MODEL, 5, match=0.5).job_id() != GenerateRequest(MODEL, 5, select=0.5).job_id()


def test_selection_without_originals_or_without_the_gate_is_refused(publish, trained):
    publish("elsewhere", lambda g: None)
    for share in ({"select": 0.5}, {"match": 0.5}):
        with pytest.raises(StateError, match="needs the training originals"):
            generate(trained, GenerateRequest("elsewhere", 2, **share))
    with pytest.raises(OptionError, match="screened"):
        GenerateRequest(MODEL, 2, screen=False, select=0.5)
    for share in ({"select": 1.0}, {"match": 0.0}):
        with pytest.raises(OptionError, match="share"):
            GenerateRequest(MODEL, 2, **share)
    with pytest.raises(OptionError, match="in one way"):
        GenerateRequest(MODEL, 2, select=0.5, match=0.5)
