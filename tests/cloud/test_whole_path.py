"""The whole way through the command line against the stand-in, with a real PostgreSQL: train to undeploy."""

import json
import sys
import uuid

import pytest

from synthbank.catalogue import queries
from synthbank.cli import main
from synthbank.cloud.settings import CloudSettings, dump_settings
from synthbank.data import IngestOptions
from synthbank.fingerprint import bytes_sha256
from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank
from synthbank.workflows.data.ingest import ingest

pytest.importorskip("google.cloud.aiplatform_v1", reason="needs synthbank[vertex]")

from .standin import StandIn

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

SMALL = ["--steps", "8", "--seed", "3", "--set", "batch_size=4", "--set", "snapshot_images=16"]
SMALL += ["--set", "snapshot_every=4", "--set", "model_options={width: 0.25, mixing: 16}"]
CPU = ["--machine", "e2-standard-4", "--accelerator", "none", "--yes", "--wait", "--poll", "0.1"]


@pytest.fixture
def cloud(tmp_path, postgres_server, postgres_template):
    """The stand-in, the bank in its bucket and database, and a call of the command line beside a cloud.yaml."""
    name = f"t{uuid.uuid4().hex[:12]}"
    url = postgres_server.create(name, template=postgres_template)
    settings = CloudSettings(project="my-project", bucket="my-bucket")
    server = StandIn(tmp_path / "google", url, settings.parent)
    bank = Settings(
        home=tmp_path / "laptop", database_url=url, storage_url=(server.folder / "my-bucket" / "bank").as_uri()
    )
    with open_bank(bank) as found:
        ingest(found, "sample:ihc", name="ihc", options=IngestOptions(size=32))
    (tmp_path / "cloud.yaml").write_text(dump_settings(settings.model_copy(update={"api": server.address})))
    yield server, bank
    server.stop()
    postgres_server.drop(name)


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """`call("status")` -> the JSON that `synthbank cloud status --json` prints."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["synthbank", "cloud", *map(str, words), "--json"])
        capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            if end.code:
                pytest.fail(capsys.readouterr().err)
        return json.loads(capsys.readouterr().out)

    return run


def test_train_upload_deploy_predict_rows_undeploy(cloud, call, tmp_path):
    server, bank = cloud

    server.preempt_when = "my-bucket/bank-work/*/state.safetensors"
    job = call("train", "ihc", "--model-name", "small", *SMALL, *CPU)
    assert job["state"] == "JOB_STATE_SUCCEEDED"
    assert server.attempts == {"1000": 2}, "the spot machine was not taken away"
    (history,) = (server.folder / "my-bucket" / "bank-work").glob("*/history.jsonl")
    kinds = [json.loads(line) for line in history.read_text().splitlines()]
    assert max(event["step"] for event in kinds) == 8
    with open_bank(bank) as found, found.catalogue.session() as session:
        (model,) = queries.list_models(session=session)
        assert (model.id, model.status) == ("small", "published")

    job = call("generate", "small", "-n", 3, "--no-screen", *CPU)
    assert job["state"] == "JOB_STATE_SUCCEEDED"
    with open_bank(bank) as found, found.catalogue.session() as session:
        (made,) = queries.list_jobs(session=session)
        assert made.n_accepted == 6

    deployed = call("deploy", "small", "--yes", "--poll", "0.1")
    assert deployed["endpoint"].endswith("/endpoints/sb-bank-small")
    listed = call("status")
    assert [len(listed[kind]) for kind in ("customJobs", "models", "endpoints")] == [2, 1, 1]

    images = call("predict", "small", "--class", model.class_names[0], "-n", 2, "--seed", 7)["images"]
    assert len(images) == 2
    with open_bank(bank) as found, found.catalogue.session() as session:
        for image in images:
            row = queries.get_image(image["id"], session=session)
            data = (tmp_path / image["file"]).read_bytes()
            assert (row.class_name, row.model_id) == (image["class"], "small")
            assert bytes_sha256(data) == row.sha256 == bytes_sha256(found.store.get(row.key))

    assert call("undeploy", "small", "--yes", "--poll", "0.1") == {"undeployed": "small"}
    listed = call("status")
    assert [len(listed[kind]) for kind in ("customJobs", "models", "endpoints")] == [2, 0, 0]
    call("undeploy", "small", "--yes", "--poll", "0.1")  # again: nothing is left, and that is no error
