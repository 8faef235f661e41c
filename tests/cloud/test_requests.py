"""Each request fits the client library's type, and is what Google's own client would send."""

import gzip
import io
import json
import re
import subprocess
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest

from synthbank.cloud import building, jobs, serving
from synthbank.cloud.request import Request, check, read_message
from synthbank.errors import InputError, OptionError

pytest.importorskip("google.cloud.aiplatform_v1", reason="needs synthbank[vertex]")


def all_requests(settings):
    options = jobs.JobOptions()
    yield jobs.train_request(settings, "ihc", ["--steps", "8"], options)
    yield jobs.generate_request(settings, "small", ["-n", "5"], jobs.JobOptions(jobs.Machine("n1-standard-4", None)))
    yield from serving.deploy_requests(settings, "small")
    yield serving.predict_request(settings, "small", class_name="a", count=2, seed=7, truncation=0.5)
    yield from serving.undeploy_requests(settings, "small")
    yield from serving.status_requests(settings).values()
    yield from building.build_requests(settings, b"tar", {"TORCH": "cpu"})


def test_every_body_fits_its_type(settings):
    checked = [check(request) for request in all_requests(settings)]
    assert {r.message for r in checked if r.body is not None} == {
        "CustomJob",
        "UploadModelRequest",
        "Endpoint",
        "DeployModelRequest",
        "PredictRequest",
        "UndeployModelRequest",
        "Build",
    }
    assert all(r.message for r in checked if r.body is not None)
    with pytest.raises(OptionError, match="CustomJob"):
        check(Request("POST", "https://x", {"displayNaem": "x"}, "CustomJob"))
    with pytest.raises(OptionError, match="CustomJob"):
        check(Request("POST", "https://x", {"jobSpec": {"scheduling": {"strategy": "CHEAP"}}}, "CustomJob"))


def test_everything_created_is_labelled(settings):
    bodies = [r.body for r in all_requests(settings) if r.message in ("CustomJob", "Endpoint")]
    bodies += [r.body["model"] for r in all_requests(settings) if r.message == "UploadModelRequest"]
    assert len(bodies) == 4
    for body in bodies:
        assert body["labels"]["team"] == "lab"
        assert body["labels"]["synthbank"] == "bank"


def test_a_job_finds_the_bank_and_keeps_its_state_in_the_bucket(settings):
    body = jobs.train_request(settings, "ihc", ["--steps", "8"], jobs.JobOptions(max_hours=2)).body
    (pool,) = body["jobSpec"]["workerPoolSpecs"]
    assert pool["containerSpec"]["args"] == ["train", "ihc", "--steps", "8"]
    env = {e["name"]: e["value"] for e in pool["containerSpec"]["env"]}
    assert env["SYNTHBANK_RUNS"] == "/gcs/my-bucket/bank-work"
    assert env["SYNTHBANK_STORAGE_URL"] == "gs://my-bucket/bank"
    assert body["jobSpec"]["scheduling"] == {
        "timeout": "7200s",
        "restartJobOnWorkerRestart": True,
        "strategy": "SPOT",
    }
    with pytest.raises(OptionError, match="168"):
        jobs.JobOptions(max_hours=1000)


def test_ids_are_what_vertex_takes(settings):
    assert serving.resource_id(settings, "ihc-v2") == "sb-bank-ihc-v2"
    marked = {serving.resource_id(settings, name) for name in ("ihc.v2", "ihc_v2", "ihc-v2-", "ihc-v2")}
    assert len(marked) == 4
    assert all(re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", identity) for identity in marked)
    with pytest.raises(OptionError, match="too long"):
        serving.resource_id(settings, "x" * 60)
    with pytest.raises(OptionError, match="Replicas"):
        serving.deploy_requests(settings, "small", replicas=2)


class _Recorder(BaseHTTPRequestHandler):
    def _answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.server.seen = (self.command, self.path, json.loads(body) if body else None)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def recorder():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Recorder)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def official_calls(settings, endpoint):
    """The same requests through Google's client, each with the request of ours that it must equal."""
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.aiplatform_v1 import EndpointServiceClient, JobServiceClient, ModelServiceClient, types
    from google.cloud.aiplatform_v1 import PredictionServiceClient as Predictions
    from google.cloud.devtools.cloudbuild_v1 import CloudBuildClient
    from google.cloud.devtools.cloudbuild_v1 import types as build_types

    def client(kind):
        return kind(
            transport="rest", credentials=AnonymousCredentials(), client_options=ClientOptions(api_endpoint=endpoint)
        )

    parent, identity = settings.parent, serving.resource_id(settings, "small")
    at = f"{parent}/endpoints/{identity}"
    job = jobs.train_request(settings, "ihc", ["--steps", "8"], jobs.JobOptions())
    upload, create, deploy = serving.deploy_requests(settings, "small")
    predict = serving.predict_request(settings, "small", class_name="a", count=2, seed=7, truncation=0.5)
    undeploy, no_endpoint, no_model = serving.undeploy_requests(settings, "small")
    listed = serving.status_requests(settings)
    build = building.build_requests(settings, b"tar", {})[1]

    def message(request, **more):
        found = read_message(request.message, request.body)
        for name, value in more.items():
            setattr(found, name, value)
        return found

    query = {"parent": parent, "filter": 'labels.synthbank="bank"', "page_size": 100}
    endpoints, models, runs = client(EndpointServiceClient), client(ModelServiceClient), client(JobServiceClient)
    yield job, lambda: runs.create_custom_job(parent=parent, custom_job=message(job))
    yield upload, lambda: models.upload_model(message(upload, parent=parent))
    yield (
        create,
        lambda: endpoints.create_endpoint(
            types.CreateEndpointRequest(parent=parent, endpoint=message(create), endpoint_id=identity)
        ),
    )
    yield deploy, lambda: endpoints.deploy_model(message(deploy, endpoint=at))
    yield predict, lambda: client(Predictions).predict(message(predict, endpoint=at))
    yield undeploy, lambda: endpoints.undeploy_model(message(undeploy, endpoint=at))
    yield no_endpoint, lambda: endpoints.delete_endpoint(name=at)
    yield no_model, lambda: models.delete_model(name=f"{parent}/models/{identity}")
    yield listed["customJobs"], lambda: runs.list_custom_jobs(types.ListCustomJobsRequest(query))
    yield listed["models"], lambda: models.list_models(types.ListModelsRequest(query))
    yield listed["endpoints"], lambda: endpoints.list_endpoints(types.ListEndpointsRequest(query))
    yield (
        build,
        lambda: client(CloudBuildClient).create_build(
            build_types.CreateBuildRequest(parent=parent, build=message(build))
        ),
    )


def test_googles_own_client_sends_the_same(settings, recorder):
    address = f"http://127.0.0.1:{recorder.server_port}"
    for ours, call in official_calls(settings, address):
        call()
        method, path, body = recorder.seen
        theirs, mine = urlsplit(path), urlsplit(ours.address)
        assert (method, theirs.path) == (ours.method, mine.path)
        assert dict(parse_qsl(theirs.query)) | {"$alt": ""} == dict(parse_qsl(mine.query)) | {"$alt": ""}, path
        if ours.body is None:
            assert not body
        else:  # both as the library reads them: enums may be numbers, defaults may be spelt out
            assert read_message(ours.message, body) == read_message(ours.message, ours.body)


def test_source_is_packed_the_same_twice(tmp_path):
    for name, text in (("Dockerfile", "FROM scratch"), ("src/a.py", "a = 1"), ("secret", "no")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="--source"):
        building.pack(tmp_path)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "Dockerfile", "src"], cwd=tmp_path, check=True)
    packed = building.pack(tmp_path)
    (tmp_path / "src/a.py").touch()
    assert building.pack(tmp_path) == packed
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as tar:
        assert tar.getnames() == ["Dockerfile", "src/a.py"]
