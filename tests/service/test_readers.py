"""Reader tests over HTTP: blinded, answered one by one, kept, scored."""

import io

import pytest
from PIL import Image

from synthbank.catalogue import queries
from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank

from .conftest import served


@pytest.fixture
def open_client(home):
    with served(home, workers=0, show_originals=True) as client:
        yield client


def first_job(client):
    return client.get("/v1/jobs").json()["items"][0]["id"]


def truths(home, study):
    with open_bank(Settings(home=home), create=False) as bank, bank.catalogue.session(read_only=True) as session:
        return {item.token: item.truth for item in queries.study_items(study, session=session)}


def test_a_test_is_made_taken_interrupted_and_scored(open_client, home):
    body = {"job": first_job(open_client), "count": 8}
    study = open_client.post("/v1/reader-studies", json=body).json()
    assert study["count"] == 8
    assert open_client.post("/v1/reader-studies", json=body).json()["id"] == study["id"]
    path = f"/v1/reader-studies/{study['id']}"
    tokens = open_client.get(f"{path}/open", params={"reader": " Ann "}).json()
    assert tokens["reader"] == "Ann"
    known = truths(home, study["id"])
    assert set(tokens["open"]) == set(known)
    for place, token in enumerate(tokens["open"]):
        picture = open_client.get(f"{path}/images/{token}")
        assert picture.headers["cache-control"] == "no-store"
        with Image.open(io.BytesIO(picture.content)) as image:
            assert not image.text  # synthetic images carry their provenance; here it would give them away
        word = known[token] if place < 6 else "real"
        answer = {"reader": "Ann", "token": token, "answer": word, "milliseconds": 900}
        assert open_client.post(f"{path}/answers", json=answer).status_code == 204
        assert open_client.post(f"{path}/answers", json=answer).status_code == 204  # a repeated click
        assert len(open_client.get(f"{path}/open", params={"reader": "Ann"}).json()["open"]) == 7 - place
        if place < 7:
            assert open_client.get(f"{path}/results").json() == []
    results = open_client.get(f"{path}/results").json()
    right = sum(known[token] == (known[token] if place < 6 else "real") for place, token in enumerate(tokens["open"]))
    assert [result["reader"] for result in results] == [None, "Ann"]
    assert results[1]["accuracy"] == pytest.approx(right / 8)
    assert results[1]["low"] < results[1]["accuracy"] <= results[1]["high"]
    scores = open_client.get("/v1/evaluations", params={"subject": body["job"]}).json()
    assert any(score["metric"] == f"reader-accuracy-all-{study['id']}" for score in scores)
    page = open_client.get("/readers", headers={"Accept": "text/html"}).text
    assert "Ann" in page
    assert f"{round(100 * right / 8)}%" in page


def test_what_a_test_refuses(open_client):
    job = first_job(open_client)
    study = open_client.post("/v1/reader-studies", json={"job": job, "count": 8, "seed": 3}).json()
    path = f"/v1/reader-studies/{study['id']}"
    token = open_client.get(f"{path}/open", params={"reader": "Bo"}).json()["open"][0]
    good = {"reader": "Bo", "token": token, "answer": "real", "milliseconds": 5}
    assert open_client.post(f"{path}/answers", json=good).status_code == 204
    changed = open_client.post(f"{path}/answers", json={**good, "answer": "synthetic"})
    assert changed.status_code == 422
    assert "differently before" in changed.json()["error"]["what"]
    for body in (
        {**good, "token": "0" * 12},
        {**good, "token": "../x"},
        {**good, "reader": "  "},
        {**good, "truth": 1},
    ):
        assert 400 <= open_client.post(f"{path}/answers", json=body).status_code < 500, body
    assert open_client.get(f"{path}/images/{'0' * 12}").status_code == 404
    assert open_client.get("/v1/reader-studies/none/results").status_code == 404
    assert open_client.post("/v1/reader-studies", json={"job": "none"}).status_code == 404
    assert open_client.post("/v1/reader-studies", json={"job": job, "count": 2}).status_code in (400, 422)


def test_originals_stay_closed_unless_switched_on(client):
    answer = client.post("/v1/reader-studies", json={"job": first_job(client), "count": 8})
    assert answer.status_code == 403
    assert "--show-originals" in answer.json()["error"]["next"]
