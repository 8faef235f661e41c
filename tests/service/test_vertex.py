"""The service as Vertex AI calls it."""

import base64
import json
import shutil

import httpx
import pytest

from synthbank.catalogue import queries
from synthbank.errors import IntegrityError
from synthbank.fingerprint import bytes_sha256
from synthbank.generation import load_gate
from synthbank.service import create_app
from synthbank.service.settings import resolve
from synthbank.settings import Settings
from synthbank.storage import layout, local_path_of
from synthbank.workflows.bank import open_bank
from synthbank.workflows.models.transfer import import_model

from .conftest import CLASSES, FAST, MODEL, running

ROUTES = {
    "AIP_HTTP_PORT": "8080",
    "AIP_HEALTH_ROUTE": "/v1/endpoints/1/health",
    "AIP_PREDICT_ROUTE": "/v1/endpoints/1:predict",
}


@pytest.fixture
def artifacts(service_home, tmp_path):
    """The folder of model files that the platform would mount."""
    return shutil.copytree(service_home / "objects" / "models" / MODEL, tmp_path / "artifacts")


@pytest.fixture
def container(artifacts, monkeypatch, tmp_path):
    """A container that knows nothing but what `AIP_*` says."""
    for name, value in (ROUTES | {"AIP_STORAGE_URI": artifacts.as_uri()}).items():
        monkeypatch.setenv(name, value)
    settings = resolve(home=tmp_path / "empty").model_copy(update=FAST)
    assert (settings.host, settings.port, settings.keys_required) == ("0.0.0.0", 8080, True)
    with running(create_app(settings)) as client:
        yield client


def test_predictions(container):
    assert container.get(ROUTES["AIP_HEALTH_ROUTE"]).status_code == 200
    body = {
        "instances": [{"class": CLASSES[0], "count": 2, "seed": 5}, {"class": CLASSES[1], "seed": 5}],
        "parameters": {"truncation": 0.7},
    }
    answer = container.post(ROUTES["AIP_PREDICT_ROUTE"], json=body)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"predictions"}
    two, one = answer.json()["predictions"]
    assert [len(prediction["images"]) for prediction in (two, one)] == [2, 1]
    bank = container.app.state.service.bank
    for image in two["images"] + one["images"]:
        assert bytes_sha256(base64.b64decode(image["png"])) == image["sha256"]
        with bank.catalogue.session() as session:
            row = queries.get_image(image["id"], session=session)
        assert (row.class_name, row.truncation, row.sha256) == (image["class"], 0.7, image["sha256"])
    with bank.catalogue.session() as session:
        events = queries.audit_events(session=session)
    assert {(event.actor, event.details["how"]) for event in events} == {("vertex", "predict")}
    again = container.post(ROUTES["AIP_PREDICT_ROUTE"], json=body).json()
    assert again == answer.json()


def test_the_model_of_a_container_goes_with_any_of_its_originals(container):
    bank = container.app.state.service.bank
    gate = load_gate(bank.store.get(layout.model_key(MODEL, "screen.safetensors")))
    with bank.catalogue.session() as session:
        assert queries.get_model(MODEL, session=session).status == "published"
        report = queries.withdraw_original(gate.hashes[0], session=session)
        assert list(report.models) == [MODEL]
        assert queries.get_model(MODEL, session=session).status == "withdrawn"


def test_large_answers_name_stored_files(container, monkeypatch):
    service = container.app.state.service
    small = service.settings.model_copy(update={"max_answer_bytes": 3000})
    monkeypatch.setattr(container.app.state, "service", type(service)(**{**vars(service), "settings": small}))
    body = {"instances": [{"class": CLASSES[0], "count": 8, "seed": 6}]}
    (prediction,) = container.post(ROUTES["AIP_PREDICT_ROUTE"], json=body).json()["predictions"]
    for image in prediction["images"]:
        assert "png" not in image
        assert bytes_sha256(local_path_of(image["url"]).read_bytes()) == image["sha256"]


def test_links_are_for_buckets(container):
    body = {"instances": [{"class": CLASSES[0], "count": 1, "seed": 6}], "parameters": {"format": "link"}}
    refused = container.post(ROUTES["AIP_PREDICT_ROUTE"], json=body)
    assert refused.status_code == 422, refused.text
    assert "bucket" in refused.text


def test_a_bank_in_a_bucket_answers_with_links(artifacts, s3_bucket, monkeypatch, tmp_path):
    for name, value in (ROUTES | {"AIP_STORAGE_URI": artifacts.as_uri()}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SYNTHBANK_STORAGE_URL", f"{s3_bucket}/bank")
    body = {"instances": [{"class": CLASSES[0], "count": 2, "seed": 6}], "parameters": {"format": "link"}}
    with running(create_app(resolve(home=tmp_path / "empty").model_copy(update=FAST))) as client:
        (prediction,) = client.post(ROUTES["AIP_PREDICT_ROUTE"], json=body).json()["predictions"]
    assert len(prediction["images"]) == 2
    for image in prediction["images"]:
        assert (image["url"].startswith(f"{s3_bucket}/bank/images/"), image["seconds"]) == (True, 3600)
        assert bytes_sha256(httpx.get(image["link"]).content) == image["sha256"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"instances": []},
        {"instances": [{}] * 65},
        {"instances": [{"count": 17}]},
        {"instances": [{"count": 10}, {"count": 10}]},
        {"instances": [{"cuont": 1}]},
        {"instances": ["dab_positive"]},
        {"instances": [{}], "parameters": {"format": "tiff"}},
        {"instances": [{"towards": 1, "count": 1}]},
    ],
)
def test_bad_predictions_are_refused(container, body):
    assert container.post(ROUTES["AIP_PREDICT_ROUTE"], json=body).status_code == 422


def test_everything_else_still_needs_a_key(container):
    assert container.get("/v1/images").status_code == 401
    assert container.post("/v1/generate", json={"model": MODEL}).status_code == 401


def test_damaged_and_foreign_models_are_refused(artifacts, tmp_path):
    with open_bank(Settings(home=tmp_path / "bank")) as bank:
        for name, text in (("generator.safetensors", b"x"), ("model.json", b"{}"), ("model.json", b"[1]")):
            whole = (artifacts / name).read_bytes()
            (artifacts / name).write_bytes(text)
            with pytest.raises(IntegrityError):
                import_model(bank, artifacts.as_uri())
            (artifacts / name).write_bytes(whole)
        row = import_model(bank, str(artifacts))
        assert import_model(bank, str(artifacts)) == row
        assert row.sha256 == json.loads((artifacts / "model.json").read_text())["weights_sha256"]
