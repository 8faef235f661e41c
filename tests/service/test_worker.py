"""Workers: shared forward passes, good order at the end, and nothing lost or doubled when one is killed."""

import os
import signal
import threading
import time
import uuid
from collections import Counter
from contextlib import closing
from pathlib import Path

import httpx
import pytest

import synthbank
from synthbank.catalogue import queries
from synthbank.records import JobStatus, Split
from synthbank.service import ServiceSettings
from synthbank.service.worker import Worker
from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank
from synthbank.workflows.generation.driver import LocalProducer
from synthbank.workflows.generation.generate import GenerateRequest, generate
from synthbank.workflows.generation.ledger import Ledger
from synthbank.workflows.generation.requests import submit
from synthbank.workflows.maintenance.verify import regenerate, verify
from synthbank.workflows.models.load import load_model

from .conftest import CLASSES, MODEL, OTHER, publish, server


@pytest.fixture
def opened(home):
    with open_bank(Settings(home=home), create=False) as bank:
        yield bank


def settings_of(home, **options):
    return ServiceSettings(home=home, lease_sec=5.0, **options)


def work(bank, home, *, until=None, **options):
    """Run a worker in this process until nothing is open."""
    worker = Worker(bank, settings_of(home, **options), until or (lambda: idle(bank)))
    worker.run()
    return worker


def idle(bank):
    with bank.catalogue.session(read_only=True) as session:
        counts = queries.job_counts(session=session)
    return not counts.get("queued") and not counts.get("running")


def hashes(bank, job_id):
    with bank.catalogue.session(read_only=True) as session:
        rows = queries.images(job_id=job_id, limit=10_000, order="id", session=session)
    return {(row.class_name, row.index): (row.pixel_sha256, row.verdict) for row in rows}


REQUESTS = [
    GenerateRequest(MODEL, n, seed=50 + n, class_name=CLASSES[n % 2], truncation=1.0 if n % 3 else 0.6)
    for n in range(1, 9)
]
REQUESTS.append(GenerateRequest(MODEL, 70, seed=90))  # fills blocks of its own, from places that are not their start


def test_shared_blocks_hold_the_same_images_as_lone_ones(opened, home, monkeypatch):
    forwards = Counter()
    model = load_model(opened, MODEL)
    if not model.sampler.mixes:
        pytest.skip("this device rounds differently at other places of a block")
    original = type(model.sampler)._forward

    def count(sampler, draws):
        forwards["all"] += 1
        return original(sampler, draws)

    monkeypatch.setattr(type(model.sampler), "_forward", count)
    jobs = [submit(opened, request)[1] for request in REQUESTS]
    work(opened, home)
    shared = forwards["all"]
    mixed = [hashes(opened, job.id) for job in jobs]
    assert shared < len(REQUESTS) + 3  # three tell whether blocks may be shared
    with open_bank(Settings(home=home.parent / "alone")) as alone:
        publish_again(opened, alone)
        for request, expected in zip(REQUESTS, mixed, strict=True):
            assert hashes(alone, generate(alone, request).job.id) == expected
    assert verify(opened).sound
    assert regenerate(opened, f"{jobs[-1].id}-1-000066").equal


def publish_again(source, target):
    """The same model in another bank."""
    from synthbank.workflows.models.transfer import import_model

    import_model(target, source.store.url(f"models/{MODEL}"))


def test_where_places_matter_blocks_are_not_shared(opened, home, monkeypatch):
    from synthbank.generation import Sampler

    monkeypatch.setattr(Sampler, "mixes", False)
    jobs = [submit(opened, request)[1] for request in REQUESTS[:3]]
    work(opened, home)
    for job, request in zip(jobs, REQUESTS, strict=False):
        assert sum(verdict == "accepted" for _, verdict in hashes(opened, job.id).values()) == request.n


def test_more_may_be_wanted_of_a_job_while_it_runs(opened, home):
    request = GenerateRequest(MODEL, 4, seed=70, class_name=CLASSES[0])
    _, job = submit(opened, request)
    with opened.catalogue.session() as session:
        assert queries.claim("test:1:x", lease_sec=0.5, session=session)
    submit(opened, GenerateRequest(MODEL, 9, seed=70, class_name=CLASSES[1]))
    time.sleep(0.6)
    work(opened, home)
    found = Counter(name for (name, _), (_, verdict) in hashes(opened, job.id).items() if verdict == "accepted")
    assert found == {CLASSES[0]: 4, CLASSES[1]: 9}


def test_a_stopped_worker_gives_its_jobs_back(opened, home):
    _, job = submit(opened, GenerateRequest(MODEL, 1500, seed=71))

    def some_are_there():
        with opened.catalogue.session(read_only=True) as session:
            return queries.get_job(job.id, session=session).n_accepted > 0

    work(opened, home, until=some_are_there)
    with opened.catalogue.session(read_only=True) as session:
        row = queries.get_job(job.id, session=session)
    assert (row.status, row.worker, row.claims) == (JobStatus.QUEUED, None, 0)
    assert 0 < row.n_accepted < 3000
    assert verify(opened).sound


def test_a_short_job_is_not_held_up_by_a_long_one(opened, home):
    _, long = submit(opened, GenerateRequest(MODEL, 1000, seed=72, screen=False))
    _, short = submit(opened, GenerateRequest(MODEL, 1, seed=73))

    def short_is_done():
        with opened.catalogue.session(read_only=True) as session:
            return queries.get_job(short.id, session=session).status == JobStatus.DONE

    work(opened, home, until=short_is_done)
    with opened.catalogue.session(read_only=True) as session:
        assert queries.get_job(long.id, session=session).status == JobStatus.QUEUED


def test_a_job_whose_model_is_damaged_fails_and_others_go_on(opened, home):
    with opened.catalogue.session(read_only=True) as session:
        row = queries.get_model(MODEL, session=session)
    from synthbank.workflows.data.datasets import load_split, require_dataset

    originals = load_split(opened, require_dataset(opened, "ihc"), Split.TRAIN).images
    publish(opened, OTHER, row.dataset_id, originals, seed=1)
    opened.store.put(f"models/{OTHER}/generator.safetensors", b"damaged")
    _, bad = submit(opened, GenerateRequest(OTHER, 1))
    _, good = submit(opened, GenerateRequest(MODEL, 1, seed=74))
    work(opened, home)
    with opened.catalogue.session(read_only=True) as session:
        failed = queries.get_job(bad.id, session=session)
        assert failed.status == JobStatus.FAILED
        assert "hash" in failed.message
        assert queries.get_job(good.id, session=session).status == JobStatus.DONE


def step(ledger, producer):
    producer.step(ledger)
    ledger.commit_when_due()


def _files(bank, job):
    return bank.store.list(f"images/{job.id}")


def test_a_worker_that_lost_its_lease_enters_and_stores_nothing(opened):
    _, job = submit(opened, GenerateRequest(MODEL, 3, seed=75))
    with opened.catalogue.session() as session:
        (claimed,) = queries.claim("slow:1:x", lease_sec=60.0, session=session)
    ledger = Ledger(opened, load_model(opened, MODEL), worker="slow:1:x", lease_sec=0.0)
    with closing(LocalProducer(opened.store)) as producer:
        assert ledger.open(claimed)  # its lease is renewed, and over at once
        with opened.catalogue.session() as session:
            assert queries.claim("fast:2:y", lease_sec=60.0, session=session)
        step(ledger, producer)
        assert ledger.jobs == {}
        assert _files(opened, job) == []
    assert hashes(opened, job.id) == {}


def test_a_worker_that_is_late_to_open_a_job_leaves_the_files_of_the_next_one(opened):
    _, job = submit(opened, GenerateRequest(MODEL, 3, seed=76))
    with opened.catalogue.session() as session:
        (late,) = queries.claim("slow:1:x", lease_sec=-1.0, session=session)
    with opened.catalogue.session() as session:
        (now,) = queries.claim("fast:2:y", lease_sec=60.0, session=session)
    assert late.id == now.id == job.id
    model = load_model(opened, MODEL)
    fast = Ledger(opened, model, worker="fast:2:y", lease_sec=60.0)
    slow = Ledger(opened, model, worker="slow:1:x", lease_sec=60.0)
    with closing(LocalProducer(opened.store)) as producer:
        assert fast.open(now)
        step(fast, producer)
        assert (stored := _files(opened, job))  # without rows so far
        assert not slow.open(late)
        assert _files(opened, job) == stored
        assert slow.jobs == {}
        fast.commit()
        while fast.jobs:
            step(fast, producer)
    assert verify(opened).sound
    assert sum(verdict == "accepted" for _, verdict in hashes(opened, job.id).values()) == 6


@pytest.mark.slow
def test_a_server_survives_the_killing_of_its_workers_under_load(home):
    """No image lost, none doubled, and the same ones that a quiet machine makes."""
    wanted = dict.fromkeys(range(900, 924), 3)
    answers, killed = {}, []

    def ask(address, seed):
        with synthbank.Client(address) as client:
            answers[seed] = client.generate(MODEL, count=wanted[seed], seed=seed).images

    with server(home) as (address, process):
        stop = threading.Event()

        def kill():
            while not stop.wait(1.5) and len(killed) < 3:
                for pid in children(process.pid):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

        killer = threading.Thread(target=kill)
        killer.start()
        threads = [threading.Thread(target=ask, args=(address, seed)) for seed in wanted]
        big = httpx.post(f"{address}/v1/jobs", json={"model": MODEL, "count": 300, "seed": 999}).json()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        killer.join()
        deadline = time.monotonic() + 120
        while (job := httpx.get(f"{address}{big['links']['self']}").json())["status"] in ("queued", "running"):
            assert time.monotonic() < deadline, job
            time.sleep(0.2)
    assert job["status"] == "done"
    assert killed
    with open_bank(Settings(home=home), create=False) as bank:
        assert verify(bank).sound
        for seed, n in {**wanted, 999: 300}.items():
            found = hashes(bank, GenerateRequest(MODEL, n, seed=seed).job_id())
            for name in CLASSES:
                indices = sorted(index for kind, index in found if kind == name)
                assert indices == list(range(len(indices)))
                assert sum(v == "accepted" for (kind, _), (_, v) in found.items() if kind == name) == n
    assert {seed: len(images) for seed, images in answers.items()} == {seed: 2 * n for seed, n in wanted.items()}


@pytest.fixture
def shared_database(postgres_server, postgres_template):
    """URL of a database for one test."""
    name = f"t{uuid.uuid4().hex[:12]}"
    yield postgres_server.create(name, template=postgres_template)
    postgres_server.drop(name)


@pytest.mark.postgres
@pytest.mark.slow
def test_two_servers_on_one_postgresql_share_the_queue(home, tmp_path, shared_database):
    """Both work, no job is done twice, and one resumes what the other's killed worker held."""
    shared = {"SYNTHBANK_DATABASE_URL": shared_database, "SYNTHBANK_STORAGE_URL": (tmp_path / "objects").as_uri()}
    where = {"database_url": shared_database, "storage_url": shared["SYNTHBANK_STORAGE_URL"]}
    settings = Settings(home=tmp_path / "shared", **where)
    with open_bank(Settings(home=home)) as source, open_bank(settings) as bank:
        publish_again(source, bank)
    seeds = range(600, 616)
    with (
        server(tmp_path / "a", environment=shared) as (one, first),
        server(tmp_path / "b", environment=shared) as (two, _),
    ):
        big = httpx.post(f"{one}/v1/jobs", json={"model": MODEL, "count": 200, "seed": 599}).json()
        for i, seed in enumerate(seeds):
            body = {"model": MODEL, "class": CLASSES[0], "count": 4, "seed": seed}
            assert httpx.post(f"{(one, two)[i % 2]}/v1/jobs", json=body).status_code == 202
        for pid in children(first.pid):
            os.kill(pid, signal.SIGKILL)
        with open_bank(settings) as bank:
            deadline = time.monotonic() + 120
            while not idle(bank):
                assert time.monotonic() < deadline
                time.sleep(0.2)
    with open_bank(settings) as bank:
        assert verify(bank).sound
        for seed in seeds:
            request = GenerateRequest(MODEL, 4, seed=seed, class_name=CLASSES[0])
            found = hashes(bank, request.job_id())
            assert sum(verdict == "accepted" for _, verdict in found.values()) == 4
            assert sorted(index for _, index in found) == list(range(len(found)))
        assert sum(verdict == "accepted" for _, verdict in hashes(bank, big["id"]).values()) == 400


@pytest.mark.postgres
def test_the_database_is_killed_under_load(home, tmp_path, mortal_postgres):
    """It comes back, and the service goes on: no image lost, none doubled, no file without its row."""
    url = mortal_postgres.create("bank")
    shared = {"SYNTHBANK_DATABASE_URL": url, "SYNTHBANK_STORAGE_URL": (tmp_path / "objects").as_uri()}
    settings = Settings(home=tmp_path / "shared", database_url=url, storage_url=shared["SYNTHBANK_STORAGE_URL"])
    with open_bank(Settings(home=home)) as source, open_bank(settings) as bank:
        publish_again(source, bank)
    with server(tmp_path / "shared", environment=shared) as (address, _):
        big = httpx.post(f"{address}/v1/jobs", json={"model": MODEL, "count": 150, "seed": 700}).json()
        small = {}
        for seed in range(701, 709):
            body = {"model": MODEL, "class": CLASSES[0], "count": 4, "seed": seed}
            small[seed] = httpx.post(f"{address}/v1/jobs", json=body).json()["id"]
        for _ in range(2):
            time.sleep(1.0)
            mortal_postgres.kill()
            answer = httpx.get(f"{address}/v1/jobs", timeout=60)
            assert answer.status_code == 503, answer.text
            mortal_postgres.start()
        deadline = time.monotonic() + 120
        while httpx.get(f"{address}/v1/jobs/{big['id']}", timeout=60).json().get("status") != "done":
            assert time.monotonic() < deadline
            time.sleep(0.2)
    with open_bank(settings) as bank:
        assert idle(bank)
        assert verify(bank).sound
        for job, n in {big["id"]: 300, **dict.fromkeys(small.values(), 4)}.items():
            found = hashes(bank, job)
            assert sum(verdict == "accepted" for _, verdict in found.values()) == n
            for name in CLASSES:
                numbers = sorted(index for kind, index in found if kind == name)
                assert numbers == list(range(len(numbers)))


def children(pid):
    """Processes that any thread of a process has started."""
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


@pytest.mark.slow
def test_jobs_survive_a_restart_and_a_terminated_server_leaves_no_worker(home):
    with server(home) as (address, process):
        job = httpx.post(f"{address}/v1/jobs", json={"model": MODEL, "count": 500, "seed": 80}).json()
        (worker,) = children(process.pid)
    assert process.returncode in (0, -signal.SIGTERM)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    with server(home) as (address, _):
        deadline = time.monotonic() + 120
        while httpx.get(f"{address}{job['links']['self']}").json()["status"] != "done":
            assert time.monotonic() < deadline
            time.sleep(0.2)
    with open_bank(Settings(home=home), create=False) as bank:
        assert verify(bank).sound
