"""Real servers for tests: PostgreSQL, and emulators of Google's and Amazon's object storage."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import create_engine, text

from synthbank.catalogue import Catalogue

# read when gcsfs is imported: the emulator speaks the JSON interface alone, not the newer one for buckets with folders
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"


class PostgresServer:
    """A throw-away server on a Unix socket; as root it runs under another account, as PostgreSQL demands."""

    def __init__(self, binaries: Path, *, synchronous: bool = False) -> None:
        self._binaries, self._synchronous = binaries, synchronous
        self.folder = Path(tempfile.mkdtemp(prefix="sb-pg-"))
        self._account = _account() if os.geteuid() == 0 else {}
        if self._account:
            shutil.chown(self.folder, self._account["user"])
        data = str(self.folder / "data")
        initdb = [str(binaries / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=self.folder, **self._account)
        self._log = (self.folder / "log").open("wb")
        self._engine = create_engine(self._driver_url("postgres"), isolation_level="AUTOCOMMIT")
        self.start()

    def start(self) -> None:
        commit = "on" if self._synchronous else "off"
        folder = f"unix_socket_directories={self.folder}"
        options = ("listen_addresses=", folder, "fsync=off", f"synchronous_commit={commit}")
        flags = [part for option in options for part in ("-c", option)]
        self.process = subprocess.Popen(
            [str(self._binaries / "postgres"), "-D", str(self.folder / "data"), *flags],
            stdout=self._log,
            stderr=self._log,
            cwd=self.folder,
            **self._account,
        )
        self._wait()

    def kill(self) -> None:
        """As after a crash: no process of it gets to finish anything."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in (self.process.pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=30)
        self._engine.dispose()

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self.folder))}"

    def create(self, name: str, *, template: str = "template1") -> str:
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, name: str) -> None:
        self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def stop(self) -> None:
        self._engine.dispose()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _driver_url(self, database: str) -> str:
        return self.url(database).replace("postgresql://", "postgresql+psycopg://")

    def _run(self, statement: str) -> None:
        with self._engine.connect() as connection:
            connection.execute(text(statement))

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                return self._run("SELECT 1")
            except Exception as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text()
                    raise RuntimeError(f"PostgreSQL did not start: {log}") from error
                time.sleep(0.05)


def _account() -> dict[str, object]:
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _postgres_binaries() -> Path | None:
    on_path = shutil.which("initdb")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in candidates if (folder / "initdb").exists()), None)


@pytest.fixture(scope="session")
def postgres_binaries():
    """Where initdb and postgres are; skipped without them, but in CI their absence is a failure."""
    binaries = _postgres_binaries()
    if binaries is None:
        reason = "no PostgreSQL server binaries (Debian: apt-get install postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return binaries


@pytest.fixture
def mortal_postgres(postgres_binaries):
    """A server of one test, which may kill it and start it again."""
    server = PostgresServer(postgres_binaries, synchronous=True)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres_server(postgres_binaries):
    """The server of this test session."""
    server = PostgresServer(postgres_binaries)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres_server):
    """Name of a migrated database that each test's own is copied from."""
    catalogue = Catalogue(postgres_server.create("migrated"))
    catalogue.migrate()
    catalogue.close()
    return "migrated"


@pytest.fixture(scope="session")
def gs_emulator():
    """A Cloud Storage emulator of this test session; its address."""
    from gcp_storage_emulator.server import create_server

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def gs_bucket(gs_emulator, monkeypatch):
    """URL of a bucket for one test, spoken to by the real client."""
    import gcsfs

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gs_emulator)
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    httpx.post(f"{gs_emulator}/storage/v1/b", params={"project": "test"}, json={"name": name}).raise_for_status()
    gcsfs.GCSFileSystem.clear_instance_cache()
    return f"gs://{name}"


@pytest.fixture(scope="session")
def s3_emulator():
    """An S3 emulator of this test session; its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_emulator, monkeypatch):
    """URL of a bucket for one test, spoken to by the real client."""
    import s3fs

    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    for key, value in (credentials | {"AWS_ENDPOINT_URL": s3_emulator}).items():
        monkeypatch.setenv(key, value)
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    httpx.put(f"{s3_emulator}/{name}").raise_for_status()
    s3fs.S3FileSystem.clear_instance_cache()
    return f"s3://{name}"
