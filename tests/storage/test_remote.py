"""Buckets through a bad network, and links that open without an account. Real clients against emulators."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.oauth2 import service_account

from synthbank.errors import OptionError, SetupError
from synthbank.storage import ObjectStore, sign

ADDRESS = {"gs": "STORAGE_EMULATOR_HOST", "s3": "AWS_ENDPOINT_URL"}
KEPT = ("connection", "content-encoding", "content-length", "date", "server", "transfer-encoding")


class Network:
    """What stands between a client and an emulator: counts, loses and damages requests."""

    def __init__(self, target: str) -> None:
        self.target, self.seen, self.lost = target, [], 0
        self.loses = self.damages = lambda number: False

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = _body(handler)
        if handler.command in ("PUT", "POST"):
            self.seen.append((handler.headers, body))
            number = len(self.seen)
            if self.loses(number):
                self.lost += 1
                return _reply(handler, 503, {}, b"")
            if self.damages(number):
                body = body.replace(b"precious", b"precIous")
        headers = {key: value for key, value in handler.headers.items() if key.lower() not in KEPT}
        answer = httpx.request(handler.command, self.target + handler.path, headers=headers, content=body)
        return _reply(handler, answer.status_code, dict(answer.headers), answer.content)


def _body(handler):
    if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
        parts = []
        while size := int(handler.rfile.readline().split(b";")[0], 16):
            parts.append(handler.rfile.read(size))
            handler.rfile.readline()
        handler.rfile.readline()
        return b"".join(parts)
    return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))


def _reply(handler, status, headers, content):
    handler.send_response(status)
    for key, value in headers.items():
        if key.lower() not in KEPT:
            handler.send_header(key, value)
    if handler.command != "HEAD" or "content-length" not in headers:
        handler.send_header("Content-Length", str(len(content)))
    else:
        handler.send_header("Content-Length", headers["content-length"])
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)


@contextmanager
def between(target):
    network = Network(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", lambda self: network.handle(self))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield network, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def network(bucket, request, monkeypatch):
    """Between the client and the bucket."""
    kind = bucket.partition("://")[0]
    with between(request.getfixturevalue(f"{kind}_emulator")) as (found, address):
        monkeypatch.setenv(ADDRESS[kind], address)
        fsspec.get_filesystem_class(kind).clear_instance_cache()
        yield found
        fsspec.get_filesystem_class(kind).clear_instance_cache()


def test_what_the_network_loses_is_sent_again(bucket, network):
    store = ObjectStore(f"{bucket}/bank")
    network.loses = lambda number: number % 3 == 1
    for i in range(4):
        store.put(f"images/{i}.png", b"%d" % i)
    assert network.lost >= 2
    assert [store.get(key) for key in store.list("images")] == [b"0", b"1", b"2", b"3"]


def test_every_upload_carries_a_checksum_or_is_checked(bucket, network):
    store = ObjectStore(f"{bucket}/bank")
    if bucket.startswith("gs:"):  # the answer names the checksum of what arrived
        network.damages = lambda number: True
        with pytest.raises(SetupError, match=r"bank/a\.bin|a\.bin"):
            store.put("a.bin", b"precious")
        return
    store.put("a.bin", b"precious")  # the client sends one, which S3 compares; the emulator does not
    headers, body = network.seen[-1]
    assert "x-amz-checksum-crc32" in headers or b"x-amz-checksum-crc32" in body


def test_a_link_opens_a_file_without_an_account(s3_bucket):
    store = ObjectStore(f"{s3_bucket}/bank")
    store.put("images/a.png", b"picture")
    link = store.signed_url("images/a.png", life_sec=60)
    assert httpx.get(link).content == b"picture"
    assert "X-Amz-Signature" in link or "Signature" in link
    assert ObjectStore("memory://m").signed_url("a.png", life_sec=60) is None
    with pytest.raises(OptionError):
        store.signed_url("../a.png", life_sec=60)


def test_a_link_on_google_is_signed_by_the_account_s_key(gs_bucket, gs_emulator):
    store = ObjectStore(f"{gs_bucket}/bank")
    store.put("images/a.png", b"picture")
    files, root = fsspec.core.url_to_fs(f"{gs_bucket}/bank/images/a.png")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {"client_email": "bank@example.org", "token_uri": f"{gs_emulator}/token", "private_key": pem}
    files.credentials.credentials = service_account.Credentials.from_service_account_info(account)
    try:
        link = sign(files, root, life_sec=60)
    finally:
        files.credentials.credentials = None
    assert "X-Goog-Signature=" in link
    assert "X-Goog-Expires=60" in link
    assert link.startswith(gs_emulator)
    assert httpx.get(link).content == b"picture"


def test_credentials_that_cannot_sign_are_told(gs_bucket, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    store = ObjectStore(f"{gs_bucket}/bank")
    with pytest.raises(SetupError, match="cannot be signed"):
        store.signed_url("images/a.png", life_sec=60)
