"""Fixtures for every room: a bank in a temporary folder, and catalogues on SQLite and on a real PostgreSQL server."""

import os
import shutil
import sys
import uuid

import numpy as np
import pytest

from synthbank.catalogue import Catalogue, NewOriginal, queries
from synthbank.fingerprint import bytes_sha256, pixel_sha256, set_fingerprint
from synthbank.records import ImageSpec, Split
from synthbank.settings import Settings
from synthbank.storage import ObjectStore, encode_png, layout

from .servers import (  # noqa: F401 (fixtures)
    gs_bucket,
    gs_emulator,
    mortal_postgres,
    postgres_binaries,
    postgres_server,
    postgres_template,
    s3_bucket,
    s3_emulator,
)

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
def sqlite_template(tmp_path_factory):
    """A migrated SQLite file that each test's own is copied from."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    catalogue = Catalogue(f"sqlite:///{path}")
    catalogue.migrate()
    catalogue.close()
    return path


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
