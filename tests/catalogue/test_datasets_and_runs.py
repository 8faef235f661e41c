from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from synthbank.catalogue import NewOriginal, queries
from synthbank.errors import NotFoundError, OptionError, StateError, UnknownNameError
from synthbank.records import AffineParameters, Expansion, Finding, ImageSpec, JobStatus, Score, Severity, Split

SHA = "cd" * 32


def add(session, name="cells", fingerprint="f1", originals=(), **options):
    return queries.add_dataset(
        session=session,
        name=name,
        class_names=("a", "b"),
        spec=ImageSpec(64, 1),
        fingerprint=fingerprint,
        split_fingerprints={"train": "t"},
        originals=originals,
        options=options,
    )


def test_versions_count_up_and_the_same_content_is_entered_once(catalogue):
    with catalogue.session() as session:
        first = add(session)
        assert add(session) == first
        second = add(session, fingerprint="f2")
        assert add(session, fingerprint="f2", tile=np.int64(64)).version == 3
        assert (first.version, second.version) == (1, 2)
        assert queries.get_dataset("cells", session=session).version == 3
        assert queries.get_dataset("cells", 1, session=session) == first
        assert first.class_names == ("a", "b")
        assert first.created_at.tzinfo is not None
        assert abs(datetime.now(UTC) - first.created_at) < timedelta(minutes=1)
        assert [row.version for row in queries.list_datasets(session=session)] == [1, 2, 3]


def test_unknown_data_sets_are_told_with_the_nearest_name(catalogue):
    with catalogue.session() as session:
        add(session)
        with pytest.raises(UnknownNameError, match="did you mean 'cells'"):
            queries.get_dataset("cell", session=session)
        with pytest.raises(NotFoundError, match="no such version"):
            queries.get_dataset("cells", 5, session=session)


def test_originals_keep_findings_and_reasons(catalogue):
    finding = Finding("blank", Severity.REJECT, "variance 0.1, at least 4 needed", 0.1)
    entries = [
        NewOriginal("b.png", True, SHA, "k", "a", "g", Split.TRAIN),
        NewOriginal("a.png", False, reason="blank", findings=(finding,)),
    ]
    with catalogue.session() as session:
        dataset = add(session, originals=entries)
        (kept,) = queries.originals(dataset.id, session=session)
        (left_out,) = queries.originals(dataset.id, session=session, accepted=False)
        assert (kept.name, kept.split, kept.findings) == ("b.png", Split.TRAIN, ())
        assert left_out.findings == (finding,)
        assert len(queries.originals(dataset.id, session=session, accepted=None)) == 2
        assert queries.originals(dataset.id, session=session, split="test") == []
        assert queries.get_original(SHA, session=session) == [kept]
        with pytest.raises(OptionError, match="same name"):
            add(session, fingerprint="f3", originals=[entries[0], entries[0]])


def test_an_expansion_replaces_the_earlier_one(filled):
    affine = AffineParameters(scale=1.25, rotation_deg=-30.0)
    with filled.session() as session:
        dataset = queries.get_dataset("ihc", session=session)
        parents = [row.id for row in queries.originals(dataset.id, session=session, split=Split.TRAIN)]
        for n in (5, 3):
            expansions = [Expansion(i % len(parents), affine) for i in range(n)]
            queries.add_expansions(dataset.id, expansions, parents=parents, session=session)
        rows = queries.list_expansions(dataset.id, session=session)
        assert [row.position for row in rows] == [0, 1, 2]
        assert rows[1].parent_id == parents[1]
        assert rows[0].parameters == {"scale": 1.25, "rotation_deg": -30.0, "shift_y": 0.0, "shift_x": 0.0}
        with pytest.raises(OptionError, match="not listed"):
            queries.add_expansions(dataset.id, [Expansion(99, affine)], parents=parents, session=session)


def test_a_run_is_entered_once_and_changed_by_column(filled):
    with filled.session() as session:
        before = queries.get_run("run-1", session=session)
        event = {"kind": "rollback", "step": np.int64(10), "loss": float("nan")}
        queries.upsert_run("run-1", session=session, images_seen=np.int64(640), events=[event])
        done = queries.set_run_status("run-1", JobStatus.DONE, session=session, elapsed_sec=1.5)
        assert (done.images_seen, done.status, done.elapsed_sec) == (640, "done", 1.5)
        assert done.events == ({"kind": "rollback", "step": 10, "loss": None},)
        assert (done.started_at, done.config) == (before.started_at, {"lr": 1e-4})
        assert done.finished_at is not None
        again = queries.set_run_status("run-1", "running", session=session)
        assert again.finished_at is None
        assert [row.id for row in queries.list_runs(session=session)] == ["run-1"]
        with pytest.raises(UnknownNameError, match="run-1"):
            queries.get_run("run-2", session=session)
        with pytest.raises(OptionError, match="no such column"):
            queries.upsert_run("run-1", session=session, colour="red")
        with pytest.raises(OptionError, match="dataset_id"):
            queries.upsert_run("run-2", session=session, seed=1)


def test_snapshots_are_one_a_step_and_one_is_chosen(filled):
    with filled.session() as session:
        for step in (200, 100, 200):
            queries.upsert_snapshot("run-1", step, session=session, key=f"k{step}", sha256=SHA, images_seen=step * 64)
        queries.upsert_snapshot(
            "run-1", 200, session=session, key="k200", sha256=SHA, images_seen=1, scores={"kid": np.float32(0.5)}
        )
        queries.upsert_snapshot("run-1", 200, session=session, key="new", sha256=SHA, images_seen=1)
        rows = queries.snapshots("run-1", session=session)
        assert [(row.step, row.scores) for row in rows] == [(100, {}), (200, {"kid": 0.5})]
        assert rows[1].key == "new"
        assert queries.chosen_snapshot("run-1", session=session) is None
        queries.choose_snapshot("run-1", 100, session=session)
        queries.choose_snapshot("run-1", 200, session=session)
        assert [row.chosen for row in queries.snapshots("run-1", session=session)] == [False, True]
        queries.upsert_snapshot("run-1", 200, session=session, key="k", sha256=SHA, images_seen=1)
        assert queries.chosen_snapshot("run-1", session=session).step == 200
        with pytest.raises(NotFoundError, match="100, 200"):
            queries.choose_snapshot("run-1", 300, session=session)


def test_publishing_again_changes_nothing(filled):
    def publish(session, name="alpha", sha256=None):
        known = queries.get_model("alpha", session=session)
        return queries.publish_model(
            name,
            session=session,
            architecture="sagan",
            class_names=("x",),
            spec=ImageSpec(8, 3),
            key="k",
            sha256=sha256 or known.sha256,
            card={},
        )

    with filled.session() as session:
        known = queries.get_model("alpha", session=session)
        assert publish(session) == known
        with pytest.raises(StateError, match="taken by other weights"):
            publish(session, sha256=SHA)
        with pytest.raises(UnknownNameError, match="did you mean 'alpha'"):
            queries.get_model("alpah", session=session)
        assert {row.id for row in queries.list_models(session=session)} == {"alpha", "beta"}
        assert queries.update_model_card("alpha", {"kid": 0.1}, session=session).card == {"kid": 0.1}


def test_publishing_again_adds_the_originals_that_were_not_recorded(filled):
    with filled.session() as session:
        known = queries.get_model("alpha", session=session)
        before = queries.model_originals("alpha", session=session)
        facts = {"architecture": "sagan", "class_names": ("x",), "spec": ImageSpec(8, 3), "key": "k", "card": {}}
        queries.publish_model("alpha", sha256=known.sha256, originals=[SHA, *before], session=session, **facts)
        assert queries.model_originals("alpha", session=session) == sorted([SHA, *before])
        queries.withdraw_original(SHA, session=session)
        assert queries.get_model("alpha", session=session).status == "withdrawn"


def test_a_model_depends_on_the_originals_that_shaped_it(filled, original_hashes):
    with filled.session() as session:
        assert queries.model_originals("alpha", session=session) == sorted(original_hashes[:6])
        assert queries.model_originals("beta", session=session) == sorted(original_hashes[1:3])


def test_dependents_of_a_data_set(filled, image_rows):
    with filled.session() as session:
        queries.add_images(image_rows("job-beta", 3), session=session)
        found = queries.dataset_dependents(queries.get_dataset("ihc", session=session).id, session=session)
    assert (found.runs, found.models, found.n_images) == (("run-1",), ("alpha", "beta"), 6)
    assert found.jobs == ("job-alpha", "job-beta")


def test_scores_are_kept_and_the_newest_is_shown(filled):
    old = Score("kid-lite1-64", 0.5, low=0.4, high=0.6, n_real=10, n_fake=20, class_name="dab_negative")
    new = Score("kid-lite1-64", np.float32(0.25), class_name="dab_negative", note="biased below 2048 images")
    missing = Score("fid-inception-299", float("nan"), note="not computed: weights missing")
    subject = {"subject_kind": "job", "subject_id": "job-alpha"}
    with filled.session() as session:
        queries.add_scores([old], session=session, **subject, reference_fingerprint="ref")
        queries.add_scores([new, missing], session=session, **subject, reference_fingerprint="ref")
        latest = queries.scores(session=session, **subject)
        assert [row.value for row in latest] == [None, 0.25]
        assert latest[1].score() == Score("kid-lite1-64", 0.25, class_name="dab_negative", note=new.note)
        assert queries.scores(session=session, **subject, latest=False)[0].score() == old
        assert queries.scores(session=session, subject_kind="model", subject_id="job-alpha") == []


def test_answers_of_readers(filled):
    with filled.session() as session:
        answer = {"reader": "r1", "truth": "synthetic", "answer": "real", "milliseconds": 900}
        queries.add_reader_answer(session=session, reading="s1", **answer)
        queries.add_reader_answer(session=session, reading="s2", **answer)
        (row,) = queries.reader_answers(session=session, reading="s2")
        assert (row.reader, row.answer, row.image_id) == ("r1", "real", None)
