import io
import shutil
import socket
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from PIL import Image

from synthbank.catalogue import queries
from synthbank.errors import BusyError, IntegrityError, OptionError, StateError, UnknownNameError
from synthbank.records import JobStatus, Verdict
from synthbank.storage import decode_png, layout
from synthbank.workflows.generation.generate import GenerateRequest, generate, newest_job
from synthbank.workflows.maintenance.verify import regenerate, verify

from .conftest import MODEL

CLASSES = ("dab_negative", "dab_positive")


def rows_of(bank, job_id):
    with bank.catalogue.session() as session:
        return queries.images(job_id=job_id, limit=10_000, session=session)


def hashes(bank, job_id):
    return {(r.class_name, r.index): r.pixel_sha256 for r in rows_of(bank, job_id)}


def test_every_class_gets_the_number_asked_for(trained):
    report = generate(trained, GenerateRequest(MODEL, 20, seed=1))
    assert report.accepted == dict.fromkeys(CLASSES, 20)
    assert report.job.status == JobStatus.DONE.value
    rows = rows_of(trained, report.job.id)
    assert sum(r.verdict == Verdict.ACCEPTED.value for r in rows) == 40
    assert report.n_new == 40
    assert set(report.stage_seconds) == {"forward", "gate", "write", "rows"}


def test_one_class_alone(trained):
    report = generate(trained, GenerateRequest(MODEL, 5, class_name="dab_positive", seed=2))
    assert report.accepted == {"dab_positive": 5}


def test_image_k_is_the_same_whatever_is_asked_for_beside_it(trained):
    few = generate(trained, GenerateRequest(MODEL, 3, seed=3, class_name="dab_positive"))
    first = hashes(trained, few.job.id)
    more = generate(trained, GenerateRequest(MODEL, 50, seed=3))
    assert more.job.id == few.job.id
    later = hashes(trained, more.job.id)
    assert {k: later[k] for k in first} == first
    assert more.n_new == 100 - 3


def test_the_same_job_again_makes_nothing(trained):
    generate(trained, GenerateRequest(MODEL, 6, seed=4))
    assert generate(trained, GenerateRequest(MODEL, 6, seed=4)).n_new == 0


def test_another_seed_gives_other_images(trained):
    a = generate(trained, GenerateRequest(MODEL, 4, seed=5))
    b = generate(trained, GenerateRequest(MODEL, 4, seed=6))
    assert not set(hashes(trained, a.job.id).values()) & set(hashes(trained, b.job.id).values())


def test_the_model_alone_is_enough(trained):
    shutil.rmtree(trained.settings.home / "objects" / "originals")
    shutil.rmtree(trained.runs_dir)
    report = generate(trained, GenerateRequest(MODEL, 4, seed=7))
    row = rows_of(trained, report.job.id)[0]
    assert row.screened
    assert row.nearest_distance > 0
    assert len(row.nearest_original) == 64


def test_without_the_gate_rows_say_so(trained):
    report = generate(trained, GenerateRequest(MODEL, 3, seed=8, screen=False))
    for row in rows_of(trained, report.job.id):
        assert not row.screened
        assert row.nearest_original is None


def test_blank_images_are_rejected_and_the_cap_is_reported(trained, publish):
    publish("blank", lambda g: [p.zero_() for p in g.to_pixels.parameters()])
    report = generate(trained, GenerateRequest("blank", 5, max_attempts=2))
    assert report.job.status == JobStatus.CAPPED.value
    assert report.accepted == dict.fromkeys(CLASSES, 0)
    assert report.rejected == dict.fromkeys(CLASSES, 10)
    assert "blank" in next(iter(report.reasons))
    assert "cap" in report.job.message
    assert verify(trained).sound


def test_files_say_that_they_are_synthetic(trained):
    row = rows_of(trained, newest_job(trained))[0]
    image = Image.open(io.BytesIO(trained.store.get(row.key)))
    words = " ".join(f"{k}={v}" for k, v in image.text.items())
    assert "ynthetic" in words
    for fact in (row.id, row.model_id, str(row.seed)):
        assert fact in words


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"n": 0}, "above zero"),
        ({"n": 5, "truncation": 1.5}, "Truncation"),
        ({"n": 5, "max_attempts": 0.5}, "max_attempts"),
        ({"n": 5, "seed": -1}, "seed"),
    ],
)
def test_bad_requests_are_refused_at_once(values, said):
    with pytest.raises(OptionError, match=said):
        GenerateRequest(MODEL, **values)


def test_unknown_models_and_classes_suggest_the_nearest(trained):
    with pytest.raises(UnknownNameError, match=MODEL):
        generate(trained, GenerateRequest("smal", 1))
    with pytest.raises(UnknownNameError, match="dab_positive"):
        generate(trained, GenerateRequest(MODEL, 1, class_name="dab_positve"))


def test_exchanged_weights_are_refused(trained):
    key = layout.model_key(MODEL, "generator.safetensors")
    data = bytearray(trained.store.get(key))
    data[-1] ^= 1
    trained.store.put(key, bytes(data))
    with pytest.raises(IntegrityError):
        generate(trained, GenerateRequest(MODEL, 1, seed=9))


def test_withdrawing_an_original_stops_its_model(trained):
    with trained.catalogue.session() as session:
        original = queries.model_originals(MODEL, session=session)[0]
        queries.withdraw_original(original, session=session)
    with pytest.raises(StateError, match="withdrawn"):
        generate(trained, GenerateRequest(MODEL, 1))


def test_verify_finds_what_is_missing_changed_and_left_over(trained):
    assert verify(trained).sound
    first, second, *_ = rows_of(trained, newest_job(trained))
    trained.store.delete(first.key)
    trained.store.put(second.key, b"not the image")
    trained.store.put("images/stray/0/000000.png", b"left over")
    report = verify(trained)
    assert report.n_problems == 3
    assert [p.split(":")[0] for p in report.problems] == [
        *(["row without file", "file differs from its row"] if first.id < second.id else []),
        *(["file differs from its row", "row without file"] if first.id > second.id else []),
        "file without row",
    ]
    assert verify(trained, hashes=False).n_problems == 2


def test_any_image_can_be_made_again_from_its_row(trained):
    generate(trained, GenerateRequest(MODEL, 40, seed=10, truncation=0.7))
    for row in rows_of(trained, newest_job(trained))[::17]:
        report = regenerate(trained, row.id)
        assert report.equal, row


def test_a_job_of_another_block_size_cannot_be_made_again_silently(trained):
    row = rows_of(trained, newest_job(trained))[0]
    with trained.catalogue.session() as session:
        queries.update_job(row.job_id, request={"block": 3}, session=session)
    with pytest.raises(IntegrityError, match="block"):
        regenerate(trained, row.id)


def test_a_stop_that_is_asked_for_leaves_a_job_that_resumes(trained):
    asked = []
    request = GenerateRequest(MODEL, 150, seed=11)
    report = generate(trained, request, should_stop=lambda: len(asked) == 2 or asked.append(1))
    assert report.job.status == JobStatus.CANCELLED.value
    assert 0 < report.n_new < 300
    assert verify(trained).sound
    whole = generate(trained, request)
    assert whole.accepted == dict.fromkeys(CLASSES, 150)
    assert whole.n_new == 300 - report.n_new


def test_two_processes_never_work_on_one_job(trained):
    request = GenerateRequest(MODEL, 5, seed=12)
    generate(trained, request)
    for holder, status in ((f"{socket.gethostname()}:1:other", "busy"), (f"{socket.gethostname()}:999999999:gone", "")):
        with trained.catalogue.session() as session:
            queries.update_job(
                request.job_id(),
                status=JobStatus.RUNNING.value,
                worker=holder,
                lease_until=datetime.now(UTC) + timedelta(minutes=5),
                session=session,
            )
        if status:
            with pytest.raises(BusyError, match="Another process"):
                generate(trained, request)
        else:
            assert generate(trained, request).n_new == 0


def test_a_latent_interpolation_is_in_the_catalogue_and_can_be_made_again(trained):
    request = GenerateRequest(MODEL, 5, class_name="dab_positive", seed=13, towards=14)
    report = generate(trained, request)
    rows = rows_of(trained, report.job.id)
    assert sorted(row.index for row in rows) == [0, 1, 2, 3, 4]
    assert report.job.id != GenerateRequest(MODEL, 5, seed=13).job_id()
    assert all(regenerate(trained, row.id).equal for row in rows)
    for seed, index in ((13, 0), (14, 4)):
        end = generate(trained, GenerateRequest(MODEL, 1, class_name="dab_positive", seed=seed, screen=False))
        keys = layout.image_key(report.job.id, 1, index), layout.image_key(end.job.id, 1, 0)
        step, lone = (decode_png(trained.store.get(key)).transpose(1, 2, 0) for key in keys)
        turned = [np.rot90(side, k) for side in (lone, lone[::-1]) for k in range(4)]
        assert any((step == way).all() for way in turned[: 1 if index == 0 else 8])  # the start's orientation is kept
    with pytest.raises(OptionError, match="interpolation"):
        GenerateRequest(MODEL, 1, towards=2)
