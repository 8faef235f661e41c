"""`synthbank cloud`: dry runs of every command, questions before anything is created, and what goes wrong."""

import io
import json
import subprocess
import sys

import httpx
import pytest

from synthbank.cli import main
from synthbank.cloud.request import Request
from synthbank.cloud.sending import Sender
from synthbank.cloud.settings import dump_settings
from synthbank.errors import AccessError, BusyError, NotFoundError, OptionError, SetupError, SynthBankError

pytest.importorskip("google.cloud.aiplatform_v1", reason="needs synthbank[vertex]")

from .standin import StandIn


@pytest.fixture
def cloud(monkeypatch, capsys, tmp_path, settings):
    """`cloud("status")` -> (exit code, stdout, stderr), in a folder with a cloud.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cloud.yaml").write_text(dump_settings(settings))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["synthbank", "cloud", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def stand_in(tmp_path, settings, cloud):
    """The stand-in, named by the cloud.yaml; it has no database, so no container is started."""
    server = StandIn(tmp_path / "google", "", settings.parent)
    (tmp_path / "cloud.yaml").write_text(dump_settings(settings.model_copy(update={"api": server.address})))
    yield server
    server.stop()


@pytest.fixture
def checkout(tmp_path):
    """A git work tree with a Dockerfile."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    return folder


COMMANDS = {
    "init": (["--project", "my-project", "--bucket", "my-bucket"], []),
    "build": (["--source", "checkout"], ["POST", "POST"]),
    "train": (["ihc", "--steps", "8"], ["POST"]),
    "generate": (["small", "-n", "5"], ["POST"]),
    "deploy": (["small"], ["POST", "POST", "POST"]),
    "predict": (["small", "-n", "2"], ["POST"]),
    "status": ([], ["GET", "GET", "GET"]),
    "undeploy": (["small"], ["POST", "DELETE", "DELETE"]),
    "cost": ([], []),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_dry_run_prints_every_request_and_sends_none(cloud, stand_in, checkout, name):
    words, methods = COMMANDS[name]
    code, out, err = cloud(name, *words, "--dry-run", "--json")
    assert code == 0, err
    assert [request["method"] for request in json.loads(out)["requests"]] == methods
    code, out, _ = cloud(name, *words, "--dry-run")
    assert code == 0
    assert out
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("POST ", "GET ", "DELETE "))] == methods
    assert stand_in.requests == []


def test_a_build_sends_what_its_dry_run_printed(cloud, stand_in, checkout):
    words = ("build", "--source", "checkout", "--build-arg", "TORCH=cpu", "--json")
    printed = json.loads(cloud(*words, "--dry-run")[1])["requests"]
    code, out, err = cloud(*words, "--yes", "--poll", "0.01")
    assert code == 0, err
    assert json.loads(out)["image"].endswith("/synthbank:latest")
    (build,) = stand_in.resources["builds"].values()
    assert build == printed[1]["body"]
    assert "TORCH=cpu" in build["steps"][0]["args"]
    archive = stand_in.folder / "my-bucket" / build["source"]["storageSource"]["object"]
    assert archive.stat().st_size == printed[0]["data"]["bytes"]


def test_nothing_is_created_unasked(cloud, stand_in, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    for words in (("train", "ihc"), ("generate", "small"), ("deploy", "small"), ("undeploy", "small")):
        code, _, err = cloud(*words)
        assert code == 1
        assert "Continue?" in err
        assert ("USD" in err) == (words[0] != "undeploy")
    assert stand_in.requests == []


def test_options_reach_the_container(cloud, tmp_path):
    (tmp_path / "options.yaml").write_text("batch_size: 4\nmodel_options: {width: 0.25}\n")
    words = ("train", "ihc", "--config", "options.yaml", "--set", "seed=1", "--dry-run", "--json")
    (request,) = json.loads(cloud(*words)[1])["requests"]
    (pool,) = request["body"]["jobSpec"]["workerPoolSpecs"]
    given = ["--set", "batch_size=4", "--set", 'model_options={"width": 0.25}', "--set", "seed=1"]
    assert pool["containerSpec"]["args"] == ["train", "ihc", *given, "--device", "cuda"]
    assert pool["machineSpec"]["acceleratorType"] == "NVIDIA_L4"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("train", "ihc", "--stps", "3"), "--steps"),
        (("train", "ihc", "--bank", "here"), "cloud.yaml"),
        (("generate", "-n", "3", "small"), "name first"),
        (("train", "ihc", "--max-hours", "1000"), "168"),
        (("deploy", "small", "--accelerator", "NVIDIA_L5"), "NVIDIA_L4"),
        (("deploy", "small", "--replicas", "0"), "Replicas"),
        (("status", "--settings", "none.yaml"), "cloud init"),
        (("build", "--source", "."), "--source"),
        (("init", "--project", "X", "--bucket", "my-bucket"), "project"),
    ],
)
def test_mistakes_are_named_before_anything_is_sent(cloud, words, says):
    code, _, err = cloud(*words)
    assert code == 2
    assert says in err


def test_init_writes_and_replaces_only_with_force(cloud, tmp_path):
    words = ("init", "--project", "my-project", "--bucket", "my-bucket", "--person", "user:ada@example.org")
    assert cloud(*words, "--to", "new", "--json")[0] == 0
    assert "ada" in (tmp_path / "new" / "terraform" / "terraform.tfvars.json").read_text()
    (tmp_path / "new" / "prices.yaml").write_text("mine")
    code, _, err = cloud(*words, "--to", "new")
    assert (code, "--force" in err) == (2, True)
    assert cloud(*words, "--to", "new", "--force")[0] == 0
    assert (tmp_path / "new" / "prices.yaml").read_text() != "mine"


def test_what_is_not_there_is_said(cloud, stand_in):
    code, _, err = cloud("predict", "small")
    assert code == 2
    assert "404" in err
    assert "cloud status" in err
    code, _, err = cloud("deploy", "small", "--yes")
    assert code == 2
    assert "no model in gs://my-bucket/bank/models/small" in err


def answering(settings, *answers, **options):
    """A sender whose peer gives these (status, body) in turn; and what it was sent."""
    left, seen = list(answers), []

    def answer(request):
        seen.append(request)
        status, body = left.pop(0)
        if status is None:
            raise httpx.ConnectError("no route")
        return httpx.Response(status, json=body)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    return Sender(client, settings, poll_sec=0.0, **options), seen


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, OptionError), (401, AccessError), (403, AccessError), (404, NotFoundError), (500, SynthBankError)],
)
def test_refusals_become_errors_with_googles_own_words(settings, status, error):
    send, _ = answering(settings, (status, {"error": {"message": "quota of L4 is 0"}}))
    with pytest.raises(error, match="quota of L4"):
        send.send(Request("POST", "https://x/v1/y"))


def test_only_what_does_no_harm_is_sent_again(settings):
    send, seen = answering(settings, (429, {}), (429, {}), (200, {"a": 1}))
    assert send.send(Request("POST", "https://x/v1/y")) == {"a": 1}
    send, seen = answering(settings, (503, {}), (200, {"a": 1}))
    assert send.send(Request("GET", "https://x/v1/y")) == {"a": 1}
    send, seen = answering(settings, (503, {}), (200, {}))
    with pytest.raises(BusyError):
        send.send(Request("POST", "https://x/v1/y"))
    assert len(seen) == 1
    send, seen = answering(settings, *[(429, {})] * 9)
    with pytest.raises(BusyError):
        send.send(Request("GET", "https://x/v1/y"))
    assert len(seen) == 5
    send, _ = answering(settings, (None, {}))
    with pytest.raises(SetupError, match="no route"):
        send.send(Request("GET", "https://x/v1/y"))


def test_operations_are_followed_to_their_end(settings):
    name = "projects/p/operations/1"
    request = Request("POST", "https://x/v1/y", waits=True)
    send, seen = answering(settings, (200, {"name": name}), (200, {}), (200, {"done": True, "response": {"b": 2}}))
    assert send.send(request) == {"b": 2}
    assert str(seen[-1].url) == f"https://x/v1/{name}"
    send, _ = answering(settings, (200, {"name": name, "done": True, "error": {"message": "no capacity"}}))
    with pytest.raises(SynthBankError, match="no capacity"):
        send.send(request)
    send, _ = answering(settings, (200, {"name": name}), (200, {"name": name}), patience_sec=-1.0)
    with pytest.raises(BusyError, match="is still running"):
        send.send(request)


def test_what_was_done_before_is_no_error(settings):
    send, _ = answering(settings, (409, {}))
    assert send.send(Request("POST", "https://x/v1/y", waits=True, repeatable="exists")) == {}
    send, _ = answering(settings, (404, {}))
    assert send.send(Request("DELETE", "https://x/v1/y", waits=True, repeatable="missing")) == {}
    send, _ = answering(settings, (409, {}))
    with pytest.raises(SynthBankError, match="409"):
        send.send(Request("DELETE", "https://x/v1/y", repeatable="missing"))


def test_a_token_of_this_machine_signs_what_goes_to_google(monkeypatch):
    import google.auth
    from google.auth.credentials import AnonymousCredentials

    from synthbank.cloud.sending import _Token

    class Known(AnonymousCredentials):
        def apply(self, headers, token=None):
            headers["authorization"] = "Bearer t0"

    monkeypatch.setattr(google.auth, "default", lambda scopes: (Known(), "p"))
    client = httpx.Client(
        auth=_Token(), transport=httpx.MockTransport(lambda r: httpx.Response(200, headers=r.headers))
    )
    assert client.get("https://x").headers["authorization"] == "Bearer t0"

    def none(scopes):
        raise google.auth.exceptions.DefaultCredentialsError

    monkeypatch.setattr(google.auth, "default", none)
    with pytest.raises(SetupError, match="application-default login"):
        _Token()
