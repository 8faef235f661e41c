"""Fixtures for every room: a bank in a temporary folder, and catalogues on SQLite and on a real PostgreSQL server."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from sqlalchemy import create_engine, text

from synthbank.catalogue import Catalogue, NewOriginal, queries
from synthbank.fingerprint import bytes_sha256, pixel_sha256, set_fingerprint
from synthbank.records import ImageSpec, Split
from synthbank.settings import Settings
from synthbank.storage import ObjectStore, encode_png, layout

CLASSES = ("dab_negative", "dab_positive")
NARROW = {
    "dcgan": {"base": 4},
    "diffusion": {"base": 4, "sampling_steps": 4},
    "projected": {"width": 0.25, "mixing": 8},
    "r3gan": {"base": 4, "depth": 1},
    "sagan": {"base": 4},
    "stylegan2": {"base": 4},
}
"""Options that make each architecture small; one that is not here is tested at its defaults."""

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


def pytest_collection_modifyitems(items):
    """Files with slow tests come first: begun last, one of them keeps a single process busy while the others wait."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _same_random_weights():
    """A test draws the same weights alone, after others and on another worker of the run."""
    if (torch := sys.modules.get("torch")) is not None:  # one that is imported later starts from a fixed seed
        torch.manual_seed(0)


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
def sqlite_template(tmp_path_factory):
    """A migrated SQLite file that each test's own is copied from."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    catalogue = Catalogue(f"sqlite:///{path}")
    catalogue.migrate()
    catalogue.close()
    return path


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


@pytest.fixture(params=["gs", "s3"])
def bucket(request):
    """URL of a bucket on each kind of object storage."""
    return request.getfixturevalue(f"{request.param}_bucket")


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch):
    """No test sees the SYNTHBANK_* variables of the person who runs it."""
    for name in [name for name in os.environ if name.startswith("SYNTHBANK_")]:
        monkeypatch.delenv(name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request):
    """Name of the database kind; whatever uses it runs on both."""
    return request.param


@pytest.fixture
def empty_database_url(database, request, tmp_path):
    """URL of a database without tables, on each kind."""
    if database == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server = request.getfixturevalue("postgres_server")
    name = f"t{uuid.uuid4().hex[:12]}"
    yield server.create(name)
    server.drop(name)


@pytest.fixture
def catalogue(database, request, tmp_path, sqlite_template):
    """A migrated, empty catalogue on each kind of database; fresh for every test."""
    if database == "sqlite":
        shutil.copy(sqlite_template, tmp_path / "catalogue.db")
        found = Catalogue(f"sqlite:///{tmp_path / 'catalogue.db'}")
        yield found
        found.close()
        return
    server = request.getfixturevalue("postgres_server")
    name = f"t{uuid.uuid4().hex[:12]}"
    found = Catalogue(server.create(name, template=request.getfixturevalue("postgres_template")))
    yield found
    found.close()
    server.drop(name)


@pytest.fixture
def store(tmp_path):
    """An object store in a temporary folder."""
    return ObjectStore(tmp_path / "objects")


@pytest.fixture
def bank(tmp_path):
    """Settings of a bank in a temporary folder; nothing is in it yet."""
    return Settings(home=tmp_path / "bank")


@pytest.fixture
def sqlite_catalogue(bank, sqlite_template):
    """The migrated, empty SQLite catalogue of `bank`."""
    bank.home.mkdir()
    shutil.copy(sqlite_template, bank.home / "catalogue.db")
    found = Catalogue(bank.catalogue_url)
    yield found
    found.close()


@pytest.fixture
def original_hashes():
    """Pixel hashes of the originals that `filled` enters: six of training, two of test."""
    return [bytes_sha256(f"original {n}".encode()) for n in range(8)]


@pytest.fixture
def filled(catalogue, original_hashes):
    """A catalogue with a data set, its run, two models of it ("alpha", "beta") and a job of each."""
    entries = [
        NewOriginal(
            name=f"case-{n}.png",
            accepted=True,
            sha256=value,
            key=layout.original_key("ihc", value),
            class_name=CLASSES[n % 2],
            group_id=f"slide-{n}",
            split=Split.TRAIN if n < 6 else Split.TEST,
        )
        for n, value in enumerate(original_hashes)
    ]
    spec = ImageSpec(8, 3, 0.5)
    with catalogue.session() as session:
        dataset = queries.add_dataset(
            session=session,
            name="ihc",
            class_names=CLASSES,
            spec=spec,
            fingerprint=set_fingerprint(original_hashes),
            split_fingerprints={"train": "a", "validation": "b", "test": "c"},
            originals=entries,
            licence="CC0-1.0",
            source="a field of view",
        )
        queries.upsert_run(
            "run-1", session=session, dataset_id=dataset.id, architecture="sagan", seed=7, config={"lr": 1e-4}
        )
        for name, hashes in (("alpha", original_hashes[:6]), ("beta", original_hashes[1:3])):
            queries.publish_model(
                name,
                session=session,
                architecture="sagan",
                class_names=CLASSES,
                spec=spec,
                key=layout.model_prefix(name),
                sha256=bytes_sha256(name.encode()),
                card={},
                run_id="run-1",
                dataset_id=dataset.id,
                originals=hashes,
            )
            queries.add_job(
                f"job-{name}", session=session, model_id=name, request={}, seed=2**62 + 1, n_requested=10, screened=True
            )
    return catalogue


@pytest.fixture
def image_rows():
    """Maker of rows for `queries.add_images`; with a store, the files are written as well."""

    def make(job, n, *, store=None, classes=CLASSES, rejected_every=0, channels=3, first=0):
        rng = np.random.default_rng([n, first])
        rows = []
        for class_index, class_name in enumerate(classes):
            for index in range(first, first + n):
                pixels = rng.integers(0, 256, (channels, 8, 8), dtype=np.uint8)
                data = encode_png(pixels, {"SynthBank-Synthetic": "true"})
                key = layout.image_key(job, class_index, index)
                if store is not None:
                    store.put(key, data)
                rejected = rejected_every and index % rejected_every == 0
                rows.append(
                    {
                        "id": f"{job}-{class_index}-{index:06d}",
                        "job_id": job,
                        "model_id": job.removeprefix("job-"),
                        "class_index": class_index,
                        "class_name": class_name,
                        "index": index,
                        "seed": 2**62 + index,
                        "key": key,
                        "sha256": bytes_sha256(data),
                        "pixel_sha256": pixel_sha256(pixels),
                        "bytes": len(data),
                        "verdict": "rejected" if rejected else "accepted",
                        "reason": "near copy" if rejected else None,
                        "nearest_distance": np.float32(1.5),
                    }
                )
        return rows

    return make
