"""Keys, scopes, links, limits and headers."""

import re
import socket
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from synthbank.catalogue import queries
from synthbank.errors import BusyError, OptionError
from synthbank.service import ServiceSettings
from synthbank.service.access import sign
from synthbank.service.rate_limit import RateLimiter
from synthbank.service.settings import resolve
from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank
from synthbank.workflows.data.expand import expand
from synthbank.workflows.maintenance.keys import allows, create_key, find_by_token, revoke_key, rotate_key

from .conftest import DATASET, MODEL, served


@pytest.fixture
def guarded(home):
    """A service that requires keys, and one key of each scope."""
    with served(home, workers=0, require_keys=True, wait_sec=0.05) as client:
        bank = client.app.state.service.bank
        client.tokens = {scope: create_key(bank, scope, scope=scope) for scope in ("read", "generate", "admin")}
        yield client


def bearer(client, scope):
    return {"Authorization": f"Bearer {client.tokens[scope].token}"}


def first_image(client, **query):
    return client.get("/v1/images", params=query, headers=bearer(client, "read")).json()["items"][0]


def test_without_a_key_nothing_is_told(guarded):
    for path in ("/v1/models", "/v1/jobs", "/v1/images", "/metrics", "/v1/keys", "/v1/exports", "/v1/audit"):
        answer = guarded.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert guarded.post("/v1/generate", json={"model": MODEL}).status_code == 401
    assert guarded.get("/health").status_code == 200


@pytest.mark.parametrize(
    "value", ["Bearer sb_000000000000_x", "Bearer nonsense", "Bearer", "Basic YTpi", "Bearer sb_\xe9_x", "bearer sb__"]
)
def test_a_wrong_key_opens_nothing(guarded, value):
    assert guarded.get("/v1/models", headers={"Authorization": value.encode("latin-1")}).status_code == 401


@pytest.mark.parametrize(
    ("scope", "method", "path", "body", "status"),
    [
        ("read", "GET", "/v1/models", None, 200),
        ("read", "POST", "/v1/generate", {"model": MODEL}, 403),
        ("read", "POST", "/predict", {"instances": [{}]}, 403),
        ("generate", "POST", "/v1/generate", {"model": MODEL}, 202),
        ("generate", "GET", "/v1/models", None, 200),
        ("generate", "GET", "/v1/keys", None, 403),
        ("generate", "POST", "/v1/keys", {"name": "more"}, 403),
        ("admin", "GET", "/v1/keys", None, 200),
        ("admin", "POST", "/v1/keys", {"name": "more"}, 201),
    ],
)
def test_scopes(guarded, scope, method, path, body, status):
    assert guarded.request(method, path, json=body, headers=bearer(guarded, scope)).status_code == status


def test_withdrawing_is_for_administrators_and_final(guarded):
    image = first_image(guarded, verdict="accepted")
    path, body = f"/v1/images/{image['id']}/withdraw", {"reason": "odd"}
    assert guarded.post(path, json=body, headers=bearer(guarded, "generate")).status_code == 403
    gone = guarded.post(path, json=body, headers=bearer(guarded, "admin")).json()
    assert (gone["verdict"], gone["reason"], gone["url"]) == ("withdrawn", "odd", None)
    assert guarded.get(image["url"]).status_code == 410
    audit = guarded.get("/v1/audit", headers=bearer(guarded, "admin")).json()
    assert audit[0] | {"id": 0, "at": 0} == {
        "id": 0,
        "at": 0,
        "actor": guarded.tokens["admin"].row.id,
        "action": "withdraw",
        "subject_kind": "image",
        "subject_id": image["id"],
        "details": {"reason": "odd"},
    }


def test_secrets_are_never_stored_or_told(guarded):
    new = guarded.post("/v1/keys", json={"name": "robot"}, headers=bearer(guarded, "admin")).json()
    secret = new["token"].split("_", 2)[2]
    assert len(secret) >= 43
    listed = guarded.get("/v1/keys", headers=bearer(guarded, "admin")).text
    assert new["id"] in listed
    assert secret not in listed
    home = guarded.app.state.service.settings.home
    for path in home.glob("catalogue.db*"):
        assert secret.encode() not in path.read_bytes()


def test_rotation_keeps_the_old_key_for_a_while_and_revocation_ends_it(guarded):
    bank = guarded.app.state.service.bank
    old = create_key(bank, "robot", scope="read")
    new = rotate_key(bank, old.row.id, overlap_hours=1)
    assert find_by_token(bank, old.token).replaced_by == new.row.id
    assert find_by_token(bank, new.token).scopes == ("read",)
    revoke_key(bank, old.row.id)
    assert find_by_token(bank, old.token) is None
    assert guarded.get("/v1/models", headers={"X-API-Key": old.token}).status_code == 401
    assert guarded.get("/v1/models", headers={"X-API-Key": new.token}).status_code == 200
    with pytest.raises(OptionError, match="ended"):
        rotate_key(bank, old.row.id)
    with bank.catalogue.session() as session:
        actions = [event.action for event in queries.audit_events(session=session, subject_id=old.row.id)]
    assert actions == ["key.revoke", "key.create"]


def test_a_key_can_have_an_end(guarded):
    bank = guarded.app.state.service.bank
    key = create_key(bank, "guest", days=1)
    assert key.row.valid(datetime.now(UTC))
    assert not key.row.valid(datetime.now(UTC) + timedelta(days=2))
    for wrong in ({"scope": "root"}, {"days": 0}, {"days": 99999}):
        with pytest.raises(OptionError):
            create_key(bank, "guest", **wrong)
    with pytest.raises(OptionError):
        create_key(bank, " ")


def test_each_scope_includes_those_before_it():
    assert [allows(("generate",), scope) for scope in ("read", "generate", "admin")] == [True, True, False]
    assert not allows((), "read")
    assert not allows(("root",), "read")


def test_a_link_opens_one_file_until_its_end(guarded):
    url = first_image(guarded)["url"]
    assert guarded.get(url).status_code == 200
    path, query = url.split("?")
    assert guarded.get(path).status_code == 401
    assert guarded.get(f"{path.replace('/file', '/thumbnail')}?{query}").status_code == 401
    assert guarded.get(url[:-1] + ("A" if url[-1] != "A" else "B")).status_code == 401
    service = guarded.app.state.service
    past = f"expires=1000&signature={sign(service.secret, f'{path}|1000')}"
    assert guarded.get(f"{path}?{past}").status_code == 401
    for odd in ("expires=&signature=", "expires=-1&signature=x", "expires=9999999999999999&signature=x", "expires=²"):
        assert guarded.get(f"{path}?{odd}").status_code == 401


def test_originals_are_shown_only_where_somebody_decided_so(home):
    for shown, status in ((False, 403), (True, 200)):
        with served(home, workers=0, show_originals=shown) as client:
            image = client.get("/v1/images").json()["items"][0]
            assert client.get(f"/v1/originals/{image['nearest_original']}/file").status_code == status
            assert client.get(f"/v1/originals/{'0' * 64}/file").status_code == (404 if shown else 403)


def test_every_answer_carries_the_headers_that_protect_a_browser(quiet):
    for path in ("/health", "/v1/models", "/v1/models/none", "/nowhere", "/v1/images?limit=0"):
        headers = quiet.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"https?://", policy)


def test_other_sites_and_other_names_get_nothing_from_a_keyless_service(quiet):
    body = {"model": MODEL, "count": 1}
    assert quiet.post("/v1/jobs", json=body, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert quiet.post("/v1/jobs", json=body, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 202
    assert quiet.get("/v1/models", headers={"Host": "evil.example:8000"}).status_code == 421
    assert quiet.get("/v1/models", headers={"Host": "localhost:8000"}).status_code == 200
    assert quiet.get("/v1/models", headers={"Host": "[::1]:8000"}).status_code == 200
    form = quiet.post("/v1/jobs", content=b'{"model": "small"}', headers={"Content-Type": "text/plain"})
    assert form.status_code == 422  # what a form of another site could send is not taken for JSON


def test_large_bodies_are_refused_before_they_are_read(quiet):
    assert quiet.post("/v1/generate", content=b"x" * 1_000_001).status_code == 413
    assert quiet.post("/v1/generate", content=(b"x" * 100_000 for _ in range(11))).status_code == 413


def test_a_bucket_empties_and_fills_again():
    limiter = RateLimiter(per_minute=60)
    for _ in range(60):
        limiter.spend("a", at=0.0)
    with pytest.raises(BusyError) as caught:
        limiter.spend("a", at=0.0)
    assert caught.value.facts["retry_after_sec"] == 1
    limiter.spend("b", at=0.0)
    limiter.spend("a", at=1.0)
    with pytest.raises(BusyError):
        limiter.spend("a", at=1.0)


def test_too_many_requests_get_429(home):
    with served(home, workers=0, rate_per_minute=3) as client:
        assert [client.get("/v1/models").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_settings_refuse_what_would_be_unsafe(monkeypatch, tmp_path):
    with pytest.raises(ValidationError, match="loopback"):
        ServiceSettings(host="0.0.0.0", require_keys=False)
    assert ServiceSettings(host="0.0.0.0").keys_required
    assert ServiceSettings(host="example.org").keys_required
    assert not ServiceSettings(host="::1").keys_required
    for weak in ("short", "a" * 64):
        monkeypatch.setenv("SYNTHBANK_SECRET", weak)
        with pytest.raises(OptionError, match="secret"):
            resolve()
    monkeypatch.setenv("SYNTHBANK_SECRET", "0123456789abcdef" * 4)
    assert "0123456789" not in repr(resolve())
    monkeypatch.delenv("SYNTHBANK_SECRET")
    settings = ServiceSettings(home=tmp_path)
    assert settings.signing_secret() == settings.signing_secret()
    assert (tmp_path / "service.secret").stat().st_mode & 0o077 == 0
    with pytest.raises(OptionError, match="port"):
        resolve(port=70_000)


def test_slow_clients_are_cut_and_hold_nobody_up(home):
    with served(home, workers=0, body_timeout_sec=1.0) as client:
        address = (client.base_url.host, client.base_url.port)
        half_a_head = [socket.create_connection(address) for _ in range(20)]
        for connection in half_a_head:
            connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        slow_body = socket.create_connection(address)
        head = b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        slow_body.sendall(head + b"Content-Length: 500\r\n\r\n{")
        slow_body.settimeout(30)
        job = client.post("/v1/jobs", json={"model": MODEL, "count": 2000, "seed": 88}).json()
        never_read = socket.create_connection(address)
        never_read.sendall(f"GET {job['links']['events']} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert b" 408 " in slow_body.recv(200)
        for _ in range(20):
            assert client.get("/v1/models", timeout=5).status_code == 200
        for connection in (*half_a_head, slow_body, never_read):
            connection.close()
        assert client.get("/health").status_code == 200


def test_the_expansion_sheet_shows_originals_only_where_switched_on(home):
    with open_bank(Settings(home=home), create=False) as bank:
        expand(bank, DATASET)
    with served(home, workers=0) as client:
        assert client.get(f"/v1/datasets/{DATASET}/expansion").status_code == 403
    with served(home, workers=0, show_originals=True) as client:
        sheet = client.get(f"/v1/datasets/{DATASET}/expansion")
        assert sheet.headers["content-type"] == "image/png"
        assert client.get(f"/v1/datasets/{DATASET}/expansion", params={"version": 9}).status_code == 404
        assert "/expansion?version=1" in client.get("/data", headers={"Accept": "text/html"}).text
