"""Evaluations over HTTP, and the map that they leave."""

import time

import pytest

from synthbank.errors import BusyError
from synthbank.service.evaluations import EvaluationQueue
from synthbank.service.settings import ServiceSettings

from .conftest import CLASSES, served


def follow(client, job):
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        found = client.get("/v1/evaluations/progress", params={"job": job}).json()
        if found["state"] in ("done", "failed"):
            return found
        time.sleep(0.2)
    raise AssertionError("the evaluation did not end")


@pytest.mark.slow
def test_a_job_is_evaluated_in_a_process_of_its_own(client):
    job = client.get("/v1/jobs").json()["items"][0]["id"]
    before = client.get("/v1/evaluations", params={"subject": job}).json()
    assert client.get("/v1/evaluations/progress", params={"job": job}).json()["state"] == "none"
    asked = client.post("/v1/evaluations", json={"job": job})
    assert asked.status_code == 202
    assert client.post("/v1/evaluations", json={"job": job}).json()["state"] in ("queued", "running")
    assert follow(client, job)["state"] == "done"
    after = client.get("/v1/evaluations", params={"subject": job}).json()
    assert {score["metric"].split("-")[0] for score in after} >= {"kid", "fd", "recall", "coverage"}
    assert len(after) > len(before)
    page = client.get("/evidence", params={"job": job}, headers={"Accept": "text/html"}).text
    assert page.count('<circle class="made') == 16
    image = client.get("/v1/images", params={"job": job, "class": CLASSES[0]}).json()["items"][0]["id"]
    assert f'href="/images/{image}"' in page
    assert "Measure again" in page


@pytest.mark.slow
def test_an_evaluation_survives_a_restart(home):
    with served(home, workers=0) as client:
        job = client.get("/v1/jobs").json()["items"][0]["id"]
        assert client.post("/v1/evaluations", json={"job": job}).json()["state"] in ("queued", "running")
    with served(home, workers=0) as client:
        assert client.get("/v1/evaluations/progress", params={"job": job}).json()["state"] in ("queued", "running")
        assert follow(client, job)["state"] == "done"
    with served(home, workers=0) as client:
        assert client.get("/v1/evaluations/progress", params={"job": job}).json()["state"] == "none"


def test_what_cannot_be_evaluated_says_why(client):
    assert client.post("/v1/evaluations", json={"job": "none"}).status_code == 404
    client.app.state.service.evaluations.submit("jnot-there")
    failed = follow(client, "jnot-there")
    assert failed["state"] == "failed"
    assert "jnot-there" in failed["message"]


def test_only_so_many_wait(tmp_path):
    queue = EvaluationQueue(ServiceSettings(home=tmp_path))  # never started: all of them wait
    for number in range(16):
        assert queue.submit(f"j{number}").state == "queued"
    assert queue.submit("j3").state == "queued"
    with pytest.raises(BusyError):
        queue.submit("j16")
