"""The queue on both databases: claims, leases, workers that are gone, and targets that grow."""

import threading
from datetime import timedelta

import pytest

from synthbank.catalogue import queries
from synthbank.catalogue.queries.queue import MAX_CLAIMS
from synthbank.errors import BusyError, StateError, UnknownNameError
from synthbank.records import JobStatus

LONG, OVER = 60.0, -1.0


def want(session, job_id, n=5, *, model="alpha", seed=1, **options):
    return queries.enqueue(
        job_id,
        session=session,
        model_id=model,
        request={"truncation": 1.0},
        seed=seed,
        screened=True,
        targets={"dab_negative": n},
        **options,
    )


def claimed(catalogue, worker, *, lease_sec=LONG, **options):
    with catalogue.session() as session:
        return [job.id for job in queries.claim(worker, lease_sec=lease_sec, session=session, **options)]


def state(catalogue, job_id):
    with catalogue.session() as session:
        return queries.get_job(job_id, session=session)


@pytest.fixture
def queue(filled):
    """The catalogue with three waiting jobs: two of alpha, then one of beta; the fixture's own jobs are done."""
    with filled.session() as session:
        queries.end_jobs(["job-alpha", "job-beta"], JobStatus.DONE, session=session)
    for name, model in (("one", "alpha"), ("two", "alpha"), ("three", "beta")):
        with filled.session() as session:
            want(session, name, model=model)
    return filled


def test_jobs_are_claimed_in_order_and_once(queue):
    assert claimed(queue, "a", limit=2) == ["one", "two"]
    assert claimed(queue, "b", limit=9) == ["three"]
    assert claimed(queue, "c") == []
    assert (state(queue, "one").worker, state(queue, "one").status) == ("a", JobStatus.RUNNING)


def test_a_worker_may_ask_for_one_model_or_one_job(queue):
    assert claimed(queue, "a", limit=9, model_id="beta") == ["three"]
    assert claimed(queue, "a", job_id="two") == ["two"]


def test_many_workers_never_get_the_same_job(queue):
    with queue.session() as session:
        for n in range(40):
            want(session, f"more-{n:02}", seed=n)
    got, start = {}, threading.Barrier(4)

    def work(name):
        start.wait()
        mine = []
        while taken := claimed(queue, name, limit=3):
            mine += taken
        got[name] = mine

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = [job for jobs in got.values() for job in jobs]
    assert len(together) == len(set(together)) == 43


def test_a_job_of_a_silent_worker_goes_to_another_and_the_first_may_enter_nothing(queue):
    assert claimed(queue, "a", lease_sec=OVER) == ["one"]
    assert claimed(queue, "b", limit=9) == ["one", "two", "three"]
    with queue.session() as session:
        assert queries.lock_claimed("a", ["one"], session=session) == {}
        assert list(queries.lock_claimed("b", ["one", "two"], session=session)) == ["one", "two"]


def test_progress_renews_the_lease(queue):
    claimed(queue, "a", lease_sec=OVER)
    change = {"id": "one", "n_accepted": 3, "n_rejected": 1, "n_attempts": 4, "seconds": 0.5}
    with queue.session() as session:
        queries.record_progress([change], session=session, lease_sec=LONG)
    job = state(queue, "one")
    assert (job.n_accepted, job.n_attempts, job.claims) == (3, 4, 0)
    assert claimed(queue, "b", limit=9) == ["two", "three"]


def test_a_job_that_kills_its_workers_fails_at_last(queue):
    for _ in range(MAX_CLAIMS):
        assert claimed(queue, "a", lease_sec=OVER, job_id="one") == ["one"]
    assert claimed(queue, "a", job_id="one") == []
    job = state(queue, "one")
    assert job.status == JobStatus.FAILED
    assert "given up" in job.message


def test_released_jobs_are_not_held_against_them_and_requeued_ones_are(queue):
    claimed(queue, "a", limit=2)
    with queue.session() as session:
        assert queries.release("a", session=session, job_ids=["one"], to_the_end=True) == 1
    assert state(queue, "one").claims == 0
    assert claimed(queue, "b", limit=9) == ["three", "one"]
    with queue.session() as session:
        assert queries.requeue("a", session=session) == 1
    assert state(queue, "two").claims == 1


def test_targets_are_joined_and_nothing_is_queued_twice(queue):
    with queue.session() as session:
        before = queries.queued(session=session)
        again = want(session, "one", n=3)
        assert (again.targets, again.revision) == ({"dab_negative": 5}, 1)
        more = want(session, "one", n=8)
        assert (more.targets, more.revision, more.n_requested) == ({"dab_negative": 8}, 2, 8)
        assert queries.queued(session=session) == before
    claimed(queue, "a", job_id="one")
    with queue.session() as session:
        running = want(session, "one", n=20)
        assert (running.status, running.worker, running.revision) == (JobStatus.RUNNING, "a", 3)


def test_a_done_job_is_queued_again_only_when_images_are_missing(queue, image_rows):
    rows = [row for row in image_rows("job-alpha", 4) if row["class_index"] == 0]
    with queue.session() as session:
        queries.add_images(rows, session=session)
        seed = queries.get_job("job-alpha", session=session).seed
        assert want(session, "job-alpha", n=4, seed=seed).status == JobStatus.DONE
        assert want(session, "job-alpha", n=5, seed=seed).status == JobStatus.QUEUED
        queries.end_jobs(["job-alpha"], JobStatus.DONE, session=session)
        assert want(session, "job-alpha", n=4, seed=seed, again=True).status == JobStatus.QUEUED
        queries.end_jobs(["job-alpha"], JobStatus.DONE, session=session)
        queries.withdraw_image(rows[0]["id"], reason="odd", session=session)
        assert want(session, "job-alpha", n=4, seed=seed).status == JobStatus.QUEUED


def test_a_full_queue_refuses_new_jobs_but_not_more_of_a_waiting_one(queue):
    with pytest.raises(BusyError, match="full") as caught, queue.session() as session:
        want(session, "four", max_queued=3)
    assert caught.value.facts["retry_after_sec"] > 0
    with pytest.raises(UnknownNameError):
        state(queue, "four")
    with queue.session() as session:
        assert want(session, "one", n=99, max_queued=3).n_requested == 99


def test_cancelling(queue):
    with queue.session() as session:
        assert queries.cancel_job("one", session=session).status == JobStatus.CANCELLED
    claimed(queue, "a", job_id="two")
    with queue.session() as session:
        running = queries.cancel_job("two", session=session)
        assert (running.status, running.revision) == (JobStatus.RUNNING, 2)
        assert running.cancelled_at is not None
        queries.end_jobs(["two"], JobStatus.CANCELLED, session=session)
        assert queries.cancel_job("two", session=session).status == JobStatus.CANCELLED
        again = want(session, "one")
        assert (again.status, again.cancelled_at) == (JobStatus.QUEUED, None)
        with pytest.raises(UnknownNameError):
            queries.cancel_job("nobody", session=session)


def test_a_withdrawn_model_takes_no_requests(queue, original_hashes):
    with queue.session() as session:
        queries.withdraw_original(original_hashes[5], session=session)
        with pytest.raises(StateError, match="withdrawn"):
            want(session, "five")


def test_pages_and_counts_of_jobs(queue):
    with queue.session() as session:
        first = queries.page_jobs(session=session, limit=2)
        rest = queries.page_jobs(session=session, after=first[-1].id)
        assert [job.id for job in [*first, *rest]] == ["three", "two", "one", "job-beta", "job-alpha"]
        assert [job.id for job in queries.page_jobs(session=session, model_id="beta", status="queued")] == ["three"]
        assert queries.job_counts(session=session) == {"done": 2, "queued": 3}
        assert queries.has_waiting_jobs("alpha", session=session)
        assert not queries.has_waiting_jobs("beta", session=session) or queries.queued(
            session=session, model_id="alpha"
        )
        assert queries.claimable(session=session, model_id="beta")
    claimed(queue, "a", limit=9)
    with queue.session() as session:
        assert not queries.claimable(session=session)
        assert queries.workers(session=session) == ["a"]
        assert set(queries.jobs_by_id(["one", "none"], session=session)) == {"one"}


def test_keys_and_audit(catalogue):
    with catalogue.session() as session:
        key = queries.add_key("abc", session=session, name="n", secret_sha256="0" * 64, scopes=("read",))
        assert key.valid(key.created_at)
        assert queries.find_key("none", session=session) is None
        later = key.created_at + timedelta(hours=1)
        assert queries.end_key("abc", session=session, at=later, replaced_by="def").replaced_by == "def"
        ended = queries.end_key("abc", session=session, at=key.created_at)
        assert (ended.revoked_at, ended.replaced_by) == (key.created_at, "def")
        assert not ended.valid(later)
        assert queries.end_key("abc", session=session, at=later).revoked_at == key.created_at
        for n in range(3):
            queries.add_audit("made", session=session, actor="abc", subject_kind="job", subject_id=f"j{n}")
        events = queries.audit_events(session=session, limit=2)
        assert [event.subject_id for event in events] == ["j2", "j1"]
        older = queries.audit_events(session=session, before=events[-1].id)
        assert [event.subject_id for event in older] == ["j0"]
        assert [e.subject_id for e in queries.audit_events(session=session, subject_id="j1")] == ["j1"]


def test_what_was_asked_and_not_answered_is_found_again(catalogue):
    def add(action, job):
        queries.add_audit(action, session=session, actor="abc", subject_kind="job", subject_id=job)

    with catalogue.session() as session:
        for action, job in (
            ("ask", "waits"),
            ("ask", "done"),
            ("answer", "done"),
            ("ask", "again"),
            ("answer", "again"),
            ("ask", "again"),
            ("answer", "never asked"),
            ("other", "other"),
        ):
            add(action, job)
        now = queries.audit_events(session=session, limit=1)[0].at
        found = [
            queries.unanswered("ask", "answer", session=session, subject_kind=kind, since=now + timedelta(hours=hours))
            for kind, hours in (("job", -1), ("model", -1), ("job", 1))
        ]
    assert found == [["waits", "again"], [], []]
