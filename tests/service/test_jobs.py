"""Making images through the API, as a client sees it."""

import base64
import json

import pytest

from synthbank.fingerprint import bytes_sha256
from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank
from synthbank.workflows.generation.generate import GenerateRequest, generate
from synthbank.workflows.maintenance.verify import verify

from .conftest import CLASSES, MODEL


def ask(client, **body):
    return client.post("/v1/generate", json={"model": MODEL, **body})


def test_a_small_request_answers_with_its_images(client):
    answer = ask(client, count=2, seed=100).json()
    assert answer["job"]["status"] == "done"
    assert [image["class"] for image in answer["images"]] == [CLASSES[0]] * 2 + [CLASSES[1]] * 2
    for image in answer["images"]:
        data = base64.b64decode(image["png"])
        assert data.startswith(b"\x89PNG")
        assert bytes_sha256(data) == image["sha256"]
        assert client.get(image["url"]).content == data
        assert client.get(f"/v1/images/{image['id']}").json()["job"] == answer["job"]["id"]


def test_the_same_seed_gives_the_same_images_and_more_of_them_extends(client, home):
    few = ask(client, count=2, seed=101, **{"class": CLASSES[1]}).json()["images"]
    again = ask(client, count=2, seed=101, **{"class": CLASSES[1]}).json()["images"]
    more = ask(client, count=5, seed=101, **{"class": CLASSES[1]}).json()["images"]
    assert [i["sha256"] for i in few] == [i["sha256"] for i in again] == [i["sha256"] for i in more[:2]]
    with open_bank(Settings(home=home)) as bank:  # the command line makes the same ones, bit for bit
        job = generate(bank, GenerateRequest(MODEL, 5, class_name=CLASSES[1], seed=101)).job
        assert job.id == client.get(f"/v1/images/{few[0]['id']}").json()["job"]
        stored = [bytes_sha256(bank.store.get(key)) for key in bank.store.list(f"images/{job.id}")]
    assert {i["sha256"] for i in more} <= set(stored)


def test_without_a_seed_every_request_gets_other_images(client):
    a, b = (ask(client, count=1).json() for _ in range(2))
    assert a["job"]["seed"] != b["job"]["seed"]
    assert not {i["sha256"] for i in a["images"]} & {i["sha256"] for i in b["images"]}


def test_an_interpolation_begins_and_ends_at_the_first_images_of_its_seeds(client):
    one = {"class": CLASSES[0], "count": 1}
    interpolation = ask(client, seed=102, towards=103, count=6, **{"class": CLASSES[0]}).json()
    assert interpolation["job"]["towards"] == 103
    numbers = [image["index"] for image in interpolation["images"]]
    assert numbers == sorted(set(numbers))
    ends = [ask(client, seed=seed, **one).json()["images"][0] for seed in (102, 103)]
    pixels = {image["index"]: image["png"] for image in interpolation["images"]}
    for index, end in zip((0, 5), ends, strict=True):
        if index in pixels and end["index"] == 0:  # unless the gate kept one of them out
            assert _same_pixels(pixels[index], end["png"])


def _same_pixels(a, b):
    from synthbank.storage import decode_png

    return (decode_png(base64.b64decode(a)) == decode_png(base64.b64decode(b))).all()


def test_images_can_come_as_links_alone(client):
    images = ask(client, count=1, seed=104, format="url").json()["images"]
    assert {image["png"] for image in images} == {None}
    assert all(client.get(image["url"]).headers["content-type"] == "image/png" for image in images)


def test_a_large_request_is_a_job_that_can_be_followed(client):
    answer = ask(client, count=60, seed=105)
    assert answer.status_code == 202
    path = answer.json()["job"]["links"]["self"]
    assert answer.headers["location"] == path
    with client.stream("GET", f"{path}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    progress = [event["progress"] for event in events]
    assert progress == sorted(progress)
    assert (events[-1]["status"], progress[-1], events[-1]["accepted"]) == ("done", 1.0, 120)
    found, after = [], {}
    while after is not None:
        query = {"job": events[-1]["id"], "verdict": "accepted", "limit": 50, **after}
        page = client.get("/v1/images", params=query).json()
        found += page["items"]
        after = {"after": page["next"]} if page["next"] else None
    assert len({image["id"] for image in found}) == len(found) == 120


def test_a_waiting_job_can_be_cancelled_and_asked_for_again(quiet):
    job = quiet.post("/v1/jobs", json={"model": MODEL, "count": 50, "seed": 1}).json()
    assert (job["status"], job["progress"]) == ("queued", 0.0)
    assert quiet.post(f"/v1/jobs/{job['id']}/cancel").json()["status"] == "cancelled"
    assert quiet.post("/v1/jobs", json={"model": MODEL, "count": 50, "seed": 1}).json()["status"] == "queued"
    listed = quiet.get("/v1/jobs", params={"status": "queued", "model": MODEL}).json()["items"]
    assert [row["id"] for row in listed] == [job["id"]]


def test_a_running_job_stops_when_cancelled(client):
    job = client.post("/v1/jobs", json={"model": MODEL, "count": 2000, "seed": 106}).json()
    with client.stream("GET", job["links"]["events"]) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                seen = json.loads(line[6:])
                if seen["accepted"] and seen["status"] == "running":
                    client.post(f"/v1/jobs/{job['id']}/cancel")
    assert seen["status"] == "cancelled"
    assert 0 < seen["accepted"] < 4000


def test_a_request_that_waits_too_long_gets_its_job(quiet):
    answer = ask(quiet, count=1, seed=2)
    assert answer.status_code == 202
    assert answer.json()["job"]["status"] == "queued"


def test_a_full_queue_says_when_to_come_back(home):
    from .conftest import served

    with served(home, workers=0, max_queued=2, wait_sec=0.05) as client:
        answers = [client.post("/v1/jobs", json={"model": MODEL, "count": 1, "seed": n}) for n in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert "full" in answers[-1].json()["error"]["what"]


def test_unknown_models_and_classes_name_the_nearest(client):
    answer = client.post("/v1/generate", json={"model": "smal", "count": 1})
    assert (answer.status_code, answer.json()["error"]["next"]) == (404, "did you mean 'small'?")
    assert "dab_positive" in ask(client, count=1, **{"class": "dab_positve"}).json()["error"]["next"]


@pytest.mark.parametrize(
    "body",
    [
        {"count": 0},
        {"count": -1},
        {"count": 10**30},
        {"count": 100_000},
        {"count": "many"},
        {"count": 1.5},
        {"seed": 2**63},
        {"seed": -1},
        {"truncation": 2},
        {"truncation": "nan"},
        {"class": "a\x00b"},
        {"model": "../../etc/passwd"},
        {"model": "small'; DROP TABLE image; --"},
        {"format": "exe"},
        {"towards": 3, "count": 1},
        {"unknown": 1},
    ],
)
def test_hostile_bodies_are_refused(client, body):
    answer = client.post("/v1/generate", json={"model": MODEL, **body})
    assert answer.status_code == 422, answer.text
    assert set(answer.json()["error"]) == {"type", "what", "got", "allowed", "next"}


def test_everything_made_here_is_sound(client):
    """Runs last in this file: every row has its file and every file its row."""
    assert verify(client.app.state.service.bank).sound
