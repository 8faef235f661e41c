"""What `catalogue verify` finds outside `images/`, and what it leaves alone."""

import os

from synthbank.catalogue import queries
from synthbank.records import Split
from synthbank.storage import decode_png, encode_png, layout
from synthbank.workflows.data.datasets import require_dataset
from synthbank.workflows.maintenance.verify import verify
from synthbank.workflows.models.transfer import import_model

from .conftest import DATASET, MODEL


def _originals(bank):
    with bank.catalogue.session() as session:
        return queries.originals(require_dataset(bank, DATASET).id, split=Split.TEST, session=session)


def _snapshots(bank):
    with bank.catalogue.session() as session:
        return queries.snapshots(queries.get_model(MODEL, session=session).run_id, session=session)


def _change_last_byte(bank, key):
    data = bytearray(bank.store.get(key))
    data[-1] ^= 1
    bank.store.put(key, bytes(data))


def test_originals_models_and_snapshots_are_compared_with_their_hashes(trained):
    report = verify(trained)
    assert report.sound
    assert report.n_originals > 20
    assert report.n_weights == 3 + len(_snapshots(trained))
    gone, other, cut, *_ = (row.key for row in _originals(trained))
    trained.store.delete(gone)
    trained.store.put(other, encode_png(255 - decode_png(trained.store.get(other))))
    trained.store.put(cut, trained.store.get(cut)[:-40])
    for name in ("generator", "discriminator", "screen"):
        _change_last_byte(trained, layout.model_key(MODEL, f"{name}.safetensors"))
    first, last = _snapshots(trained)[0], _snapshots(trained)[-1]
    trained.store.delete(first.key)
    _change_last_byte(trained, last.key)
    report = verify(trained)
    assert report.n_problems == len(report.problems) == 8
    missing = {p.split("(")[1].rstrip(")") for p in report.problems if p.startswith("row without file")}
    assert missing == {gone, first.key}
    assert verify(trained, hashes=False).n_problems == 2


def test_files_of_what_was_withdrawn_may_be_deleted(trained):
    with trained.catalogue.session() as session:
        original = queries.model_originals(MODEL, session=session)[0]
        queries.withdraw_original(original, session=session)
    trained.store.delete(layout.original_key(DATASET, original))
    trained.store.delete(layout.model_key(MODEL, "generator.safetensors"))
    trained.store.delete(_snapshots(trained)[0].key)
    assert verify(trained).sound


def test_an_imported_model_is_whole_without_a_discriminator(trained):
    """Containers of earlier versions left it out."""
    row = import_model(trained, "zoo:ihc-64")
    assert row.card["discriminator_sha256"]
    trained.store.delete(layout.model_key(row.id, "discriminator.safetensors"))
    assert verify(trained).sound


def test_half_written_files_of_killed_processes_are_removed_after_an_hour(trained, home):
    old, new = (home / "objects" / "images" / name for name in (".tmp-1-dead-0", ".tmp-2-busy-0"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    report = verify(trained)
    assert (report.n_swept, report.sound) == (1, True)
    assert new.exists()
    assert not old.exists()
