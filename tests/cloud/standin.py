"""A stand-in for Google Cloud: a real HTTP server that speaks the part of the REST interfaces that SynthBank uses.

It is not Google. It reads every body with the client library's own types, keeps resources, answers with long-running
operations, runs the arguments of a custom job as a process of this machine, and starts the container of a deployment as
`synthbank serve` with the variables that Vertex AI sets. `gs://BUCKET` is a folder, `/gcs/BUCKET` the same folder, and
the Cloud SQL address a PostgreSQL server of the tests.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
from google.cloud.aiplatform_v1 import types
from google.cloud.devtools.cloudbuild_v1 import types as build_types
from google.protobuf.json_format import ParseError

_SYNTHBANK = [sys.executable, "-c", "from synthbank.cli import main; main()"]


class Refused(Exception):
    """An answer above 399."""

    def __init__(self, status, message):
        self.status = status
        super().__init__(message)


class StandIn:
    """One project in one region.

    Args:
        folder: what buckets are folders of.
        database_url: the database that Cloud SQL addresses lead to.
        parent: `projects/P/locations/R`.
    """

    def __init__(self, folder, database_url, parent):
        self.folder, self.database_url, self.parent = Path(folder), database_url, parent
        self.resources = {"customJobs": {}, "models": {}, "endpoints": {}, "builds": {}}
        self.operations = {}
        self.requests = []
        self.preempt_when = None
        """Path of a file; the first job that writes it is killed then, as a spot machine is, and started again."""
        self.attempts = {}
        self._servers = {}
        self._threads = []
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.stand_in = self
        self._serving = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._serving.start()
        self.address = f"http://127.0.0.1:{self._http.server_port}"

    def stop(self):
        for thread in self._threads:
            thread.join(timeout=120)
        for process, _ in list(self._servers.values()):
            _end(process)
        self._http.shutdown()
        self._serving.join()
        self._http.server_close()

    def answer(self, method, path, query, data):
        """(resource or operation) of a request, as JSON."""
        with self._lock:
            self.requests.append((method, path))
        if path.startswith("/upload/storage/v1/b/"):
            return self._upload(path.split("/")[5], query["name"], data)
        body = json.loads(data) if data else None
        tail = path.removeprefix(f"/v1/{self.parent}/")
        if path.startswith(f"/v1/{self.parent}/operations/"):
            return self._operation(path.removeprefix("/v1/"))
        for pattern, handle in self._routes(method).items():
            if found := re.fullmatch(pattern, tail):
                return handle(body, query, *found.groups())
        raise Refused(404, f"the stand-in has no {method} {path}")

    def _routes(self, method):
        name = r"([a-z0-9-]+)"
        if method == "POST":
            return {
                "customJobs": self._create_job,
                "models:upload": self._upload_model,
                "endpoints": self._create_endpoint,
                f"endpoints/{name}:deployModel": self._deploy,
                f"endpoints/{name}:undeployModel": self._undeploy,
                f"endpoints/{name}:predict": self._predict,
                "builds": self._build,
            }
        if method == "DELETE":
            return {rf"(models|endpoints)/{name}": self._delete}
        return {"(customJobs|models|endpoints)": self._list, rf"(customJobs|models|endpoints)/{name}": self._get}

    # reading

    def _get(self, _body, _query, kind, identity):
        return self._found(kind, identity)

    def _list(self, _body, query, kind):
        key, value = re.fullmatch(r'labels\.(\w+)="([^"]*)"', query["filter"]).groups()
        entries = [e for e in self.resources[kind].values() if e["labels"].get(key) == value]
        first = int(query.get("pageToken", 0))
        more = {"nextPageToken": str(first + 1)} if first + 1 < len(entries) else {}
        return {kind: entries[first : first + 1]} | more  # one a page, so that pages are turned

    def _found(self, kind, identity):
        if identity not in self.resources[kind]:
            raise Refused(404, f"{kind}/{identity} does not exist")
        return self.resources[kind][identity]

    def _add(self, kind, identity, entry):
        if identity in self.resources[kind]:
            raise Refused(409, f"{kind}/{identity} exists")
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]", identity):
            raise Refused(400, f"{identity} is no id")
        if entry["labels"].get("synthbank") is None:
            raise Refused(400, "no label")
        name = f"{self.parent}/{kind}/{identity}"
        self.resources[kind][identity] = entry | {"name": name, "createTime": "2026-01-01T00:00:00Z"}
        return self.resources[kind][identity]

    # long-running operations

    def _start(self, work):
        """An operation that is done when `work` has ended."""
        name = f"{self.parent}/operations/{len(self.operations) + 1}"
        self.operations[name] = {"name": name}  # "done" is left out while it is false, as Google does

        def run():
            try:
                ended = {"response": work() or {}}
            except Exception as error:
                ended = {"error": {"code": 13, "message": str(error)}}
            self.operations[name] |= {"done": True} | ended

        self._spawn(run)
        return {"name": name}

    def _spawn(self, run):
        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def _operation(self, name):
        if name not in self.operations:
            raise Refused(404, name)
        return dict(self.operations[name])

    # jobs

    def _create_job(self, body, _query):
        _read(types.CustomJob, body)
        identity = str(1000 + len(self.resources["customJobs"]))
        job = self._add("customJobs", identity, body | {"state": "JOB_STATE_PENDING"})
        self._spawn(lambda: self._run_job(identity, job))
        return dict(job)

    def _run_job(self, identity, job):
        (pool,) = job["jobSpec"]["workerPoolSpecs"]
        job["state"] = "JOB_STATE_RUNNING"
        while True:
            process = self._container(pool["containerSpec"], {})
            self.attempts[identity] = self.attempts.get(identity, 0) + 1
            if not self._preempted(process) or not job["jobSpec"]["scheduling"].get("restartJobOnWorkerRestart"):
                break
        code = process.wait()
        log = (self.folder / f"{process.pid}.log").read_text()
        if code:
            job["error"] = {"code": 3, "message": f"the container ended with {code}: {log[-800:]}"}
        job["state"] = "JOB_STATE_FAILED" if code else "JOB_STATE_SUCCEEDED"

    def _preempted(self, process):
        """Wait for the file, kill, and say whether it was so; at once, when nothing is to be killed."""
        while self.preempt_when is not None and process.poll() is None:
            if list(self.folder.glob(self.preempt_when)):
                self.preempt_when = None
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
            time.sleep(0.005)
        return False

    def _container(self, spec, more):
        """The image's entry point with its arguments, on this machine."""
        values = {e["name"]: self.here(e["value"]) for e in spec["env"]}
        home = self.folder / "disks" / str(time.monotonic_ns())  # each machine has a new disk
        outside = {k: v for k, v in os.environ.items() if not k.startswith(("SYNTHBANK_", "AIP_"))}
        environment = outside | values | {"SYNTHBANK_HOME": str(home), "SYNTHBANK_THREADS": "1"} | more
        log = self.folder / "starting.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*_SYNTHBANK, *spec["args"]], env=environment, stdout=out, stderr=out, cwd=self.folder
            )
        log.rename(self.folder / f"{process.pid}.log")
        return process

    def here(self, text):
        """What an address of Google is on this machine."""
        text = re.sub(r"^gs://", f"file://{self.folder}/", text)
        text = re.sub(r"^/gcs/", f"{self.folder}/", text)
        return self.database_url if text.startswith("cloudsql+postgresql://") else text

    # models and endpoints

    def _upload_model(self, body, _query):
        _read(types.UploadModelRequest, body)
        files = Path(self.here(body["model"]["artifactUri"]).removeprefix("file://"))
        if not (files / "model.json").exists():
            raise Refused(400, f"no model in {body['model']['artifactUri']}")
        model = self._add("models", body["modelId"], body["model"])
        return self._start(lambda: {"model": model["name"]})

    def _create_endpoint(self, body, query):
        _read(types.Endpoint, body)
        endpoint = self._add("endpoints", query["endpointId"], body)
        return self._start(lambda: {"name": endpoint["name"]})

    def _deploy(self, body, _query, identity):
        _read(types.DeployModelRequest, body)
        endpoint, wanted = self._found("endpoints", identity), body["deployedModel"]
        if endpoint.get("deployedModels"):
            raise Refused(400, "it is deployed already")
        model = self._found("models", wanted["model"].rpartition("/")[2])
        return self._start(lambda: self._serve(identity, endpoint, model, wanted))

    def _serve(self, identity, endpoint, model, wanted):
        spec = model["containerSpec"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        told = {
            "AIP_HTTP_PORT": str(port),
            "AIP_PREDICT_ROUTE": spec["predictRoute"],
            "AIP_HEALTH_ROUTE": spec["healthRoute"],
            "AIP_STORAGE_URI": self._copied(identity, model["artifactUri"]),
        }
        process = self._container(spec, told)
        address = f"http://127.0.0.1:{port}"
        self._servers[identity] = (process, address + spec["predictRoute"])
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError((self.folder / f"{process.pid}.log").read_text()[-800:])
            with suppress(httpx.TransportError):
                if httpx.get(address + spec["healthRoute"]).status_code == 200:
                    endpoint["deployedModels"] = [wanted]
                    return {"deployedModel": wanted}
            time.sleep(0.05)
        raise RuntimeError("the container never became healthy")

    def _copied(self, identity, uri):
        """Vertex AI gives the container a copy of the artifacts in a bucket of its own."""
        target = self.folder / "vertex-bucket" / identity
        shutil.copytree(self.here(uri).removeprefix("file://"), target, dirs_exist_ok=True)
        return target.as_uri()

    def _predict(self, body, _query, identity):
        _read(types.PredictRequest, body)
        endpoint = self._found("endpoints", identity)
        if not endpoint.get("deployedModels"):
            raise Refused(400, "nothing is deployed")
        answer = httpx.post(self._servers[identity][1], json=body, timeout=120)
        if answer.status_code != 200:
            raise Refused(400, f"the container answered {answer.status_code}: {answer.text}")
        return answer.json() | {"deployedModelId": endpoint["deployedModels"][0]["id"]}

    def _undeploy(self, body, _query, identity):
        _read(types.UndeployModelRequest, body)
        endpoint = self._found("endpoints", identity)
        if [d["id"] for d in endpoint.get("deployedModels", [])] != [body["deployedModelId"]]:
            raise Refused(400, "it is not deployed")

        def work():
            _end(self._servers.pop(identity)[0])
            endpoint["deployedModels"] = []

        return self._start(work)

    def _delete(self, _body, _query, kind, identity):
        if self._found(kind, identity).get("deployedModels"):
            raise Refused(400, "a model is deployed on it")
        del self.resources[kind][identity]
        return self._start(dict)

    # builds

    def _upload(self, bucket, name, data):
        path = self.folder / bucket / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {"bucket": bucket, "name": name, "size": str(len(data))}

    def _build(self, body, _query):
        _read(build_types.Build, body)
        source = body["source"]["storageSource"]
        if not (self.folder / source["bucket"] / source["object"]).exists():
            raise Refused(400, "no source")
        self.resources["builds"][str(len(self.resources["builds"]))] = body
        return self._start(lambda: {"images": body["images"]})


class _Handler(BaseHTTPRequestHandler):
    def _respond(self):
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            if "Authorization" in self.headers:
                raise Refused(400, "credentials were sent to a stand-in")
            status, answer = 200, self.server.stand_in.answer(self.command, parts.path, query, data)
        except Refused as refused:
            status, answer = refused.status, {"error": {"code": refused.status, "message": str(refused)}}
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = _respond  # noqa: N815

    def log_message(self, *_):
        pass


def _read(message, body):
    try:
        message.from_json(json.dumps(body), ignore_unknown_fields=False)
    except ParseError as error:
        raise Refused(400, str(error)) from error


def _end(process):
    process.terminate()
    process.wait(timeout=60)
