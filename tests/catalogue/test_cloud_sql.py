"""The Cloud SQL seam: a stand-in for Google's connector hands out connections of a real PostgreSQL."""

import uuid

import psycopg
import pytest

from synthbank.catalogue import Catalogue, queries
from synthbank.catalogue.cloud_sql import parse
from synthbank.errors import OptionError, SetupError

URL = "cloudsql+postgresql://bank@lab.iam@lab:europe-west4:team/bank"


class StandIn:
    """Takes what the connector takes."""

    def __init__(self, **options):
        self.options, self.asked, self.closed = options, [], False

    def connect(self, instance, driver, **options):
        assert not self.closed
        self.asked.append((instance, driver, options))
        return psycopg.connect(self.target)

    def close(self):
        self.closed = True


@pytest.fixture
def connectors(monkeypatch):
    """Every connector that was made; none speaks to Google."""
    made = []

    def make(**options):
        made.append(StandIn(**options))
        return made[-1]

    monkeypatch.setattr("google.cloud.sql.connector.Connector", make)
    return made


@pytest.mark.postgres
def test_a_catalogue_lives_on_an_instance(connectors, postgres_server, monkeypatch):
    name = f"t{uuid.uuid4().hex[:12]}"
    monkeypatch.setattr(StandIn, "target", postgres_server.create(name), raising=False)
    catalogue = Catalogue(URL)
    try:
        assert connectors == []  # nothing is opened before the first session
        catalogue.migrate()
        with catalogue.session() as session:
            queries.add_audit("test", actor="a", subject_kind="b", subject_id="c", details={}, session=session)
        with catalogue.session(read_only=True) as session:
            assert [event.action for event in queries.audit_events(session=session)] == ["test"]
        (connector,) = connectors
        assert connector.options == {"enable_iam_auth": True, "ip_type": "public", "refresh_strategy": "lazy"}
        instance, driver, options = connector.asked[0]
        assert (instance, driver) == ("lab:europe-west4:team", "psycopg")
        assert (options["user"], options["db"]) == ("bank@lab.iam", "bank")
        catalogue.close()
        assert connector.closed
        with catalogue.session(read_only=True) as session:
            assert len(queries.audit_events(session=session)) == 1
        assert len(connectors) == 2
    finally:
        catalogue.close()
        postgres_server.drop(name)


def test_what_google_refuses_is_told(connectors, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError("403: not authorized")

    monkeypatch.setattr(StandIn, "connect", refuse)
    with pytest.raises(SetupError, match=r"lab:europe-west4:team.*403.*cloudsql\.client"):
        Catalogue(URL).schema_version()


def test_no_credentials_is_told(monkeypatch, tmp_path):
    """The real connector, on a machine that nobody has signed in on."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(SetupError, match="could not be reached"):
        Catalogue(URL).schema_version()


class Account:
    """What `google.auth.default` finds on a machine of Google's before the first refresh."""

    service_account_email = "default"

    def refresh(self, _request):
        self.service_account_email = "synthbank-runner@lab.iam.gserviceaccount.com"


@pytest.mark.postgres
def test_without_a_user_it_is_the_machines_own_account(connectors, postgres_server, monkeypatch):
    monkeypatch.setattr(StandIn, "target", postgres_server.url("postgres"), raising=False)
    monkeypatch.setattr("google.auth.default", lambda **_: (Account(), "lab"))
    catalogue = Catalogue("cloudsql+postgresql://lab:eu:team/bank")
    assert catalogue.schema_version() is None
    catalogue.close()
    assert connectors[0].asked[0][2]["user"] == "synthbank-runner@lab.iam"


def test_a_person_without_a_user_is_asked_for_it(connectors, monkeypatch):
    monkeypatch.setattr("google.auth.default", lambda **_: (object(), "lab"))
    with pytest.raises(SetupError, match="acts as a person"):
        Catalogue("cloudsql+postgresql://lab:eu:team/bank").schema_version()


def test_ways_to_an_instance():
    assert parse("cloudsql+postgresql://lab:eu:team/d").username is None
    assert parse(f"{URL}?ip=private").query == {"cloudsql": "private"}
    assert parse("cloudsql+postgresql://a%40b@x.org:lab:eu:team/d").host == "x.org:lab:eu:team"
    for wrong in (
        "cloudsql+postgresql://a@lab:team/d",
        "cloudsql+postgresql://a@lab:eu:team",
        f"{URL}?ip=any",
    ):
        with pytest.raises(OptionError, match="PROJECT:REGION:INSTANCE"):
            Catalogue(wrong)
