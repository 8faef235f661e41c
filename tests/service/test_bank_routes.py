"""Looking into the bank through the API."""

import io
import zipfile

import numpy as np
from PIL import Image

from synthbank.storage import decode_png

from .conftest import CLASSES, DATASET, MODEL


def test_models_and_data_sets(client):
    (model,) = client.get("/v1/models").json()
    assert (model["name"], model["classes"], model["status"]) == (MODEL, list(CLASSES), "published")
    assert client.get(f"/v1/models/{MODEL}").json() == model
    (dataset,) = client.get("/v1/datasets").json()
    assert client.get(f"/v1/datasets/{DATASET}").json() == dataset
    assert set(dataset["counts"]) == set(CLASSES)
    assert min(n for of_class in dataset["counts"].values() for n in of_class.values()) > 0
    assert client.get("/v1/datasets/none").status_code == 404


def test_images_are_found_by_every_filter(client):
    every = client.get("/v1/images", params={"limit": 500}).json()["items"]
    assert len(every) >= 16
    some = client.get("/v1/images", params={"class": CLASSES[0], "verdict": "accepted", "model": MODEL}).json()["items"]
    assert {image["class"] for image in some} == {CLASSES[0]}
    near = client.get("/v1/images", params={"order": "nearest", "limit": 500}).json()["items"]
    distances = [image["nearest_distance"] for image in near]
    assert distances == sorted(distances)
    middle = distances[len(distances) // 2]
    close = client.get("/v1/images", params={"max_distance": middle, "limit": 500}).json()["items"]
    assert 0 < len(close) < len(every)
    assert client.get("/v1/images", params={"since": "2199-01-01T00:00:00Z"}).json()["items"] == []
    assert client.get("/v1/images", params={"until": "1980-01-01T00:00:00+02:00"}).json()["items"] == []
    page = client.get("/v1/images", params={"limit": 5}).json()
    rest = client.get("/v1/images", params={"after": page["next"], "limit": 500}).json()
    assert [i["id"] for i in page["items"] + rest["items"]] == [i["id"] for i in every]


def test_thumbnails_are_small_pngs(client):
    image = client.get("/v1/images").json()["items"][0]
    path = f"/v1/images/{image['id']}"
    whole = client.get(f"{path}/file")
    assert whole.headers["etag"] == f'"{image["sha256"]}"'
    assert decode_png(whole.content).shape == (3, 32, 32)
    small = client.get(f"{path}/thumbnail", params={"side": 16})
    assert np.array(Image.open(io.BytesIO(small.content))).shape == (16, 16, 3)
    assert client.get(f"{path}/thumbnail", params={"side": 512}).content == whole.content
    assert client.get(f"{path}/thumbnail", params={"side": 99999}).status_code == 422


def test_an_image_is_made_again_from_its_record(client):
    image = client.get("/v1/images", params={"verdict": "accepted"}).json()["items"][0]
    answer = client.post(f"/v1/images/{image['id']}/regenerate").json()
    assert answer["equal"] is True
    assert client.post("/v1/images/none/regenerate").status_code == 404


def test_scores_and_exports(client):
    job = client.get("/v1/jobs").json()["items"][-1]
    (score,) = client.get("/v1/evaluations", params={"subject": job["id"]}).json()
    assert (score["metric"], score["value"], score["floor"]) == ("kid-lite1-64", 30.0, 1.0)
    made = client.post("/v1/exports", json={"job": job["id"], "limit": 2})
    assert made.status_code == 201
    assert made.json()["counts"] == dict.fromkeys(CLASSES, 2)
    packed = client.get(made.json()["url"])
    assert packed.headers["content-disposition"].startswith("attachment")
    names = zipfile.ZipFile(io.BytesIO(packed.content)).namelist()
    assert sum(name.endswith(".png") for name in names) == 4
    arrays = client.post("/v1/exports", json={"model": MODEL, "format": "npz"}).json()
    assert client.get(arrays["url"]).status_code == 200
    assert [row["id"] for row in client.get("/v1/exports").json()] == [arrays["id"], made.json()["id"]]
    for wrong in ({}, {"job": job["id"], "model": MODEL}, {"model": MODEL, "format": "../x"}):
        assert client.post("/v1/exports", json=wrong).status_code == 422
    assert client.post("/v1/exports", json={"model": MODEL, "format": "none"}).status_code == 404
    assert client.get("/v1/exports/999/file").status_code == 404


def test_paths_and_sql_from_outside_reach_nothing(client):
    for path in (
        "/v1/images/..%2F..%2Fcatalogue.db/file",
        "/v1/images/%00/file",
        "/v1/models/..%2F..%2Fetc",
        "/v1/images/x'%20OR%20'1'='1",
        "/v1/originals/..%2Fcatalogue.db/file",
        "/v1/jobs/%F0%9F%92%A9",
        "/v1/exports/../../catalogue.db/file",
        f"/v1/images/{'a' * 5000}",
        "/static/../app.py",
        "/static/..%2Fapp.py",
    ):
        assert client.get(path).status_code in (404, 422), path
    for query in (
        {"class": "x' OR '1'='1"},
        {"job": "no;DROP-TABLE"},
        {"limit": 10**9},
        {"after": "' UNION SELECT 1"},
        {"since": "yesterday"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"max_distance": "inf"},
        {"order": "random()"},
    ):
        answer = client.get("/v1/images", params=query)
        assert answer.status_code in (200, 422), query
        assert answer.status_code == 422 or answer.json()["items"] == []
    assert client.get("/v1/images", params={"after": "none"}).status_code == 404


def test_health_and_metrics(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ok", "problems": []}
    text = client.get("/metrics").text
    assert "synthbank_workers 1.0" in text
    assert 'synthbank_jobs{status="done"}' in text
    assert 'route="/v1/images/{image_id}/file"' in text


def test_the_document_of_the_api_has_examples_and_every_route(client):
    document = client.get("/v1/openapi.json").json()
    assert {"/v1/generate", "/v1/jobs/{job_id}/events", "/v1/images", "/health", "/metrics"} <= set(document["paths"])
    bodies = ("GenerateBody", "ExportBody", "WithdrawBody", "KeyBody", "PredictBody")
    assert all(document["components"]["schemas"][name]["examples"] for name in bodies)
    assert all(op.get("summary") for path in document["paths"].values() for op in path.values())
