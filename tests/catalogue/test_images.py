import threading

import pytest

from synthbank.catalogue import queries
from synthbank.errors import NotFoundError, OptionError, StateError
from synthbank.records import JobStatus


def test_a_resumed_job_enters_each_image_once(filled, image_rows):
    rows = image_rows("job-alpha", 700)
    with filled.session() as session:
        assert queries.add_images(rows[:500], session=session) == 500
    with filled.session() as session:
        assert queries.add_images(rows, session=session) == len(rows) - 500
        assert queries.add_images(rows, session=session) == 0
        assert queries.add_images([], session=session) == 0
        other_id = {**rows[0], "id": "another-id"}
        assert queries.add_images([other_id], session=session) == 0
        assert queries.counts(session=session)["image"] == 1400
        row = queries.get_image("job-alpha-0-000003", session=session)
    assert (row.seed, row.nearest_distance, row.truncation, row.scores) == (2**62 + 3, 1.5, 1.0, {})


def test_two_writers_of_the_same_images(filled, image_rows):
    rows = image_rows("job-alpha", 300)
    new = []

    def write():
        for first in range(0, len(rows), 50):
            with filled.session() as session:
                new.append(queries.add_images(rows[first : first + 50], session=session))

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(new) == len(rows)
    with filled.session() as session:
        assert queries.counts(session=session)["image"] == len(rows)


def test_rows_with_wrong_columns_are_refused(filled, image_rows):
    (row, *_) = image_rows("job-alpha", 1)
    with filled.session() as session:
        with pytest.raises(OptionError, match="colour"):
            queries.add_images([{**row, "colour": "red"}], session=session)
        with pytest.raises(OptionError, match="pixel_sha256"):
            queries.add_images([{k: v for k, v in row.items() if k != "pixel_sha256"}], session=session)
        assert queries.counts(session=session)["image"] == 0


@pytest.mark.parametrize("order", ["newest", "id"])
def test_pages_show_every_row_once_while_others_arrive(filled, image_rows, order):
    with filled.session() as session:
        for first in (0, 10, 20):
            queries.add_images(image_rows("job-alpha", 10, first=first), session=session)
        before = {row.id for row in queries.images(session=session, limit=1000)}
    seen, after = [], None
    for round_number in range(100):
        with filled.session() as session:
            page = queries.images(session=session, order=order, after=after, limit=7)
            seen += [row.id for row in page]
            if len(page) < 7:
                break
            after = page[-1].id
            if round_number < 4:
                queries.add_images(image_rows("job-beta", 2, first=2 * round_number), session=session)
    assert len(seen) == len(set(seen))
    assert before <= set(seen)
    if order == "newest":
        assert set(seen) == before
        assert seen[0].startswith("job-alpha-1-00002")


def test_filters_and_counts(filled, image_rows):
    with filled.session() as session:
        queries.add_images(image_rows("job-alpha", 9, rejected_every=3), session=session)
        queries.add_images(image_rows("job-beta", 2), session=session)
        of_class = {"accepted": 6, "rejected": 3}
        assert queries.count_images(session=session, job_id="job-alpha") == {
            "dab_negative": of_class,
            "dab_positive": of_class,
        }
        assert queries.count_images(session=session, model_id="beta")["dab_positive"] == {"accepted": 2}
        rejected = queries.images(session=session, job_id="job-alpha", verdict="rejected", class_name="dab_positive")
        assert [row.index for row in rejected] == [6, 3, 0]
        assert {row.reason for row in rejected} == {"near copy"}
        assert len(queries.images(session=session, model_id="beta")) == 4
        assert queries.last_index(session=session, job_id="job-alpha", class_index=1) == 8
        assert queries.last_index(session=session, job_id="job-alpha", class_index=5) is None
        with pytest.raises(OptionError, match="order"):
            queries.images(session=session, order="oldest")
        with pytest.raises(NotFoundError, match="catalogue search"):
            queries.get_image("no", session=session)


def test_streams_cover_all_in_order(filled, image_rows, monkeypatch):
    monkeypatch.setattr("synthbank.catalogue.queries.synthetic._PAGE", 4)
    with filled.session() as session:
        queries.add_images(image_rows("job-alpha", 9, rejected_every=4), session=session)
        rows = list(queries.accepted_images(session=session, model_id="alpha"))
        assert [(row.class_index, row.index) for row in rows] == [(c, i) for c in (0, 1) for i in range(9) if i % 4]
        assert len(list(queries.accepted_images(session=session, job_id="job-alpha", class_name="dab_positive"))) == 6
        files = list(queries.image_keys(session=session))
        assert len(files) == 18
        assert files[0].id == "job-alpha-0-000000"
        assert list(queries.image_keys(session=session, job_id="job-beta")) == []


def test_a_job_is_entered_once_and_keeps_its_request(filled):
    again = {"model_id": "alpha", "request": {"n": 99}, "n_requested": 99, "screened": True}
    with filled.session() as session:
        job = queries.get_job("job-alpha", session=session)
        assert queries.add_job("job-alpha", session=session, seed=job.seed, **again) == job
        assert job.seed == 2**62 + 1
        with pytest.raises(StateError, match="another request"):
            queries.add_job("job-alpha", session=session, seed=3, **again)
        done = queries.update_job("job-alpha", session=session, status=JobStatus.CAPPED, n_accepted=4, message="cap")
        assert (done.status, done.n_accepted, done.message) == ("capped", 4, "cap")
        with pytest.raises(OptionError):
            queries.update_job("job-alpha", session=session, n_acepted=4)
        assert [row.id for row in queries.list_jobs(session=session, model_id="beta")] == ["job-beta"]


def test_search_finds_names_ids_and_hashes(filled, image_rows, original_hashes):
    with filled.session() as session:
        queries.add_images(image_rows("job-beta", 2), session=session)

        def kinds(text):
            return [hit.kind for hit in queries.search(text, session=session)]

        assert kinds("ALPH") == ["model", "job"]
        assert kinds("job-beta-1") == ["image", "image"]
        assert kinds(original_hashes[0][:10]) == ["original"]
        assert kinds("case-3") == ["original"]
        assert kinds("%") == kinds("_") == kinds("  ") == []


def test_withdrawal_reaches_models_jobs_and_images_and_may_be_repeated(filled, image_rows, original_hashes):
    with filled.session() as session:
        queries.add_images(image_rows("job-alpha", 3, rejected_every=2), session=session)
        queries.add_images(image_rows("job-beta", 3), session=session)
    with filled.session() as session:
        report = queries.withdraw_original(original_hashes[5], session=session)
        assert (report.datasets, report.runs) == (("ihc@1",), ("run-1",))
        assert (report.models, report.jobs, len(report.images)) == (("alpha",), ("job-alpha",), 6)
        assert report.newly_withdrawn == 7
        again = queries.withdraw_original(original_hashes[5], session=session)
        assert again.newly_withdrawn == 0
        assert again.images == report.images
        rows = queries.images(session=session, model_id="alpha")
        assert {row.verdict for row in rows} == {"withdrawn"}
        note = f"original {original_hashes[5][:12]} withdrawn"
        assert {row.reason for row in rows} == {note, f"near copy; {note}"}
        assert {row.verdict for row in queries.images(session=session, model_id="beta")} == {"accepted"}
        both = queries.withdraw_original(original_hashes[1], session=session)
        assert (both.models, both.newly_withdrawn) == (("alpha", "beta"), 7)
        dataset = queries.get_dataset("ihc", session=session)
        assert len(queries.originals(dataset.id, session=session)) == 6
        assert len(queries.originals(dataset.id, session=session, withdrawn=True)) == 2


def test_nothing_new_comes_from_a_withdrawn_model(filled, image_rows, original_hashes):
    with filled.session() as session:
        queries.withdraw_original(original_hashes[5], session=session)
        known = queries.get_model("alpha", session=session)
        request = {"model_id": "alpha", "request": {}, "seed": 1, "n_requested": 1, "screened": True}
        with pytest.raises(StateError, match="was withdrawn"):
            queries.add_job("job-2", session=session, **request)
        with pytest.raises(StateError, match="was withdrawn"):
            queries.add_images(image_rows("job-alpha", 1), session=session)
        for name in ("alpha", "gamma"):
            with pytest.raises(StateError, match="withdrawn"):
                queries.publish_model(
                    name,
                    session=session,
                    architecture="sagan",
                    class_names=known.class_names,
                    spec=known,
                    key="k",
                    sha256=known.sha256,
                    card={},
                    dataset_id=known.dataset_id,
                    originals=original_hashes[4:6],
                )
        with pytest.raises(NotFoundError):
            queries.withdraw_original("0" * 64, session=session)


def test_scores_of_single_images_are_added_beside_those_that_are_there(filled, image_rows):
    with filled.session() as session:
        queries.add_images(image_rows("job-alpha", 2), session=session)
        first, second = (row.id for row in queries.images(job_id="job-alpha", order="id", limit=2, session=session))
        queries.add_image_scores({first: {"novelty": 0.25}, second: {"novelty": 1.0}}, session=session)
        queries.add_image_scores({first: {"novelty": 0.5, "other": 3.0}}, session=session)
    with filled.session() as session:
        assert queries.get_image(first, session=session).scores == {"novelty": 0.5, "other": 3.0}
        assert queries.get_image(second, session=session).scores == {"novelty": 1.0}
        with pytest.raises(NotFoundError):
            queries.add_image_scores({"nobody": {"novelty": 0.0}}, session=session)
