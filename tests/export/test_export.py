import csv
import io
import uuid
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
import yaml
from sqlalchemy import update

from synthbank.catalogue import queries
from synthbank.catalogue.tables import Model
from synthbank.errors import (
    IntegrityError,
    NotFoundError,
    OptionError,
    SetupError,
    StateError,
    UnknownNameError,
)
from synthbank.export import ExportRequest, export_images, exporters
from synthbank.export.sinks import open_sink
from synthbank.fingerprint import bytes_sha256, pixel_sha256
from synthbank.records import Score
from synthbank.storage import decode_png, open_filesystem
from synthbank.storage.layout import class_folders


def export_set(*, catalogue, store, **options):
    return export_images(ExportRequest(**options), catalogue=catalogue, store=store)


@pytest.fixture
def made(filled, image_rows, store):
    with filled.session() as session:
        queries.add_images(image_rows("job-alpha", 6, store=store, rejected_every=3), session=session)
        score = Score("kid-lite1-64", 0.0123, low=0.01, high=0.02, n_real=6, n_fake=8, note="small | n")
        queries.add_scores([score], session=session, subject_kind="job", subject_id="job-alpha")
    return {"catalogue": filled, "store": store, "job_id": "job-alpha"}


def accepted(made):
    with made["catalogue"].session() as session:
        return {row.id: row for row in queries.accepted_images(session=session, job_id="job-alpha")}


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_holds_every_accepted_image_and_its_origin(made, tmp_path):
    result = export_set(**made, target=tmp_path / "out", fmt="folder")
    rows = accepted(made)
    assert result.counts == {"dab_negative": 4, "dab_positive": 4}
    expected = {f"{row.class_name}/{row.id}.png" for row in rows.values()}
    assert set(files_below(tmp_path / "out")) == expected | {"metadata.csv", "README.md", "card.json"}
    assert result.files == 11
    assert result.bytes == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.*"))
    with (tmp_path / "out" / "metadata.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert {line["file_name"] for line in table} == expected
    for line in table:
        row = rows[line["image_id"]]
        assert (line["label"], int(line["seed"]), line["model"]) == (row.class_name, row.seed, "alpha")
        assert bytes_sha256((tmp_path / "out" / line["file_name"]).read_bytes()) == row.sha256
    with made["catalogue"].session() as session:
        (export,) = queries.list_exports(session=session)
    assert (export.format, export.model_id, export.counts) == ("folder", "alpha", result.counts)


def test_the_card_says_what_it_is(made, tmp_path):
    export_set(**made, target=tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    matter = yaml.safe_load(front)
    assert matter["license"] == "cc0-1.0"
    assert matter["size_categories"] == ["n<1K"]
    assert "synthetic" in matter["tags"]
    for phrase in (
        "arXiv:2405.16119",
        "| dab_negative | 4 |",
        "0.0123 (0.01 to 0.02)",
        "small \\| n",
        "`ihc` version 1",
    ):
        assert phrase in body


def test_zip_and_folder_hold_the_same_and_zips_are_reproducible(made, tmp_path):
    export_set(**made, target=tmp_path / "out")
    first = export_set(**made, target=tmp_path / "deep" / "a.zip")
    second = export_set(**made, target=tmp_path / "b.zip")
    assert first.sha256 == second.sha256 == bytes_sha256((tmp_path / "b.zip").read_bytes())
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == files_below(tmp_path / "out")
        for name in archive.namelist():
            assert archive.read(name) == (tmp_path / "out" / name).read_bytes()
    assert files_below(tmp_path / "deep") == ["a.zip"]


@pytest.mark.parametrize("target", ["out", "out.npz", "out.zip"])
def test_npz_is_what_medmnist_readers_expect(made, tmp_path, target):
    export_set(**made, target=tmp_path / target, fmt="npz")
    where = {"out": tmp_path / "out" / "synthbank.npz", "out.npz": tmp_path / "out.npz"}.get(target)
    if where is None:
        with zipfile.ZipFile(tmp_path / target) as archive:
            assert sorted(archive.namelist()) == ["README.md", "card.json", "synthbank.npz"]
            where = io.BytesIO(archive.read("synthbank.npz"))
    else:
        assert (tmp_path / "out.md").exists() or (tmp_path / "out" / "README.md").exists()
    rows = accepted(made)
    with np.load(where, allow_pickle=False) as arrays:
        assert arrays["train_images"].shape == (8, 8, 8, 3)
        assert (arrays["train_labels"].shape, arrays["train_labels"].dtype) == ((8, 1), np.uint8)
        assert list(arrays["class_names"]) == ["dab_negative", "dab_positive"]
        assert list(arrays["image_ids"]) == list(rows)
        for pixels, label, row in zip(arrays["train_images"], arrays["train_labels"], rows.values(), strict=True):
            assert pixel_sha256(pixels.transpose(2, 0, 1)) == row.pixel_sha256
            assert label[0] == row.class_index


def test_grey_images_have_no_channel_axis(filled, image_rows, store, tmp_path):
    with filled.session() as session:
        session.execute(update(Model).values(channels=1))
        queries.add_images(image_rows("job-beta", 2, store=store, channels=1), session=session)
    export_set(catalogue=filled, store=store, model_id="beta", target=tmp_path / "g.npz", fmt="npz")
    with np.load(tmp_path / "g.npz") as arrays:
        assert arrays["train_images"].shape == (4, 8, 8)


@pytest.mark.parametrize("ending", ["/folder", ".zip"])
def test_other_filesystems(made, ending):
    target = f"memory://{uuid.uuid4().hex}/x{ending}"
    result = export_set(**made, target=target)
    filesystem, root = fsspec.core.url_to_fs(target)
    names = [name.removeprefix(root) for name in filesystem.find(root)]
    if ending == ".zip":
        assert bytes_sha256(filesystem.cat_file(root)) == result.sha256
    else:
        assert len(names) == result.files == 11
        decode_png(filesystem.cat_file(next(name for name in filesystem.find(root) if name.endswith(".png"))))
    with pytest.raises(StateError, match="not empty"):
        export_set(**made, target=target)
    smaller = export_set(**made, target=target, overwrite=True, limit=1)
    assert smaller.counts == {"dab_negative": 1, "dab_positive": 1}
    if ending != ".zip":
        assert len(filesystem.find(root)) == 5


def test_class_and_limit(made, tmp_path):
    result = export_set(**made, target=tmp_path / "out", class_name="dab_positive", limit=2)
    assert result.counts == {"dab_positive": 2}
    assert len(list((tmp_path / "out").glob("dab_positive/*.png"))) == 2
    with pytest.raises(OptionError, match="no such class"):
        export_set(**made, target=tmp_path / "x", class_name="tumour")
    with pytest.raises(OptionError, match="limit"):
        export_set(**made, target=tmp_path / "x", limit=0)


@pytest.mark.parametrize("target", ["out", "out.zip", "out.npz", "memory"])
@pytest.mark.parametrize("damage", ["tampered", "missing"])
def test_a_damaged_file_stops_the_export_and_leaves_nothing(made, tmp_path, target, damage):
    row = list(accepted(made).values())[5]
    if damage == "tampered":
        data = bytearray(made["store"].get(row.key))
        data[-20] ^= 1
        made["store"].put(row.key, bytes(data))
    else:
        made["store"].delete(row.key)
    before = files_below(tmp_path)
    url = f"memory://{uuid.uuid4().hex}/x"
    where = url if target == "memory" else tmp_path / target
    with pytest.raises(IntegrityError if damage == "tampered" else NotFoundError, match=row.key):
        export_set(**made, target=where, fmt="npz" if target.endswith("npz") else "folder")
    assert files_below(tmp_path) == before
    filesystem, root = fsspec.core.url_to_fs(url)
    assert not filesystem.find(root)
    with made["catalogue"].session() as session:
        assert queries.list_exports(session=session) == []


def test_a_failed_overwrite_keeps_the_earlier_export(made, tmp_path):
    export_set(**made, target=tmp_path / "out", limit=1)
    before = files_below(tmp_path / "out")
    made["store"].delete(list(accepted(made).values())[3].key)
    with pytest.raises(NotFoundError):
        export_set(**made, target=tmp_path / "out", overwrite=True)
    assert files_below(tmp_path / "out") == before


def contents(target):
    filesystem, root = open_filesystem(target)
    return {path.removeprefix(root): filesystem.cat_file(path) for path in filesystem.find(root.rpartition("/")[0])}


@pytest.mark.parametrize("failing", ["source", "upload"])
def test_a_failed_overwrite_of_a_bucket_keeps_the_earlier_export(made, bucket, failing, monkeypatch):
    target = f"{bucket}/sets/release"
    export_set(**made, target=target, limit=1)
    before = contents(target)
    assert len(before) == 5
    if failing == "source":
        made["store"].delete(list(accepted(made).values())[3].key)
    else:
        monkeypatch.setattr("synthbank.export.sinks._FILES_AT_ONCE", 2)
        kind = type(open_filesystem(target)[0])
        real = kind._pipe_file

        async def full(self, path, data, **options):
            if path.endswith("metadata.csv"):
                raise OSError("no room in this bucket")
            return await real(self, path, data, **options)

        monkeypatch.setattr(kind, "_pipe_file", full)
    with pytest.raises(NotFoundError if failing == "source" else SetupError):
        export_set(**made, target=target, overwrite=True)
    assert contents(target) == before


@pytest.mark.parametrize("at_once", [1, 5, 11, 64])
def test_the_card_of_a_new_export_in_a_bucket_comes_alone_and_last(made, at_once, monkeypatch):
    target = f"memory://{uuid.uuid4().hex}/x"
    sent, filesystem = [], type(open_filesystem(target)[0])
    real = filesystem.pipe

    def pipe(self, files, *rest, **options):
        sent.append([path.rpartition("/")[2] for path in files])
        return real(self, files, *rest, **options)

    monkeypatch.setattr(filesystem, "pipe", pipe)
    monkeypatch.setattr("synthbank.export.sinks._FILES_AT_ONCE", at_once)
    export_set(**made, target=target)
    assert sum(map(len, sent)) == 11
    assert sent[-1] == ["README.md"]


def test_an_overwrite_that_stops_while_files_change_places_says_so(made, bucket, monkeypatch):
    target = f"{bucket}/sets/release"
    export_set(**made, target=target, limit=1)
    kind = type(open_filesystem(target)[0])

    async def lost(*_, **__):
        raise OSError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(kind, "_cp_file", lost)
        with pytest.raises(SetupError, match="connection lost"):
            export_set(**made, target=target, overwrite=True)
    assert b"not whole" in contents(target)["/README.md"]
    assert not [path for path in contents(target) if ".new-" in path]
    result = export_set(**made, target=target, overwrite=True)
    assert len(contents(target)) == result.files == 11
    assert b"not whole" not in contents(target)["/README.md"]


def test_an_occupied_target_is_refused(made, tmp_path):
    (tmp_path / "empty").mkdir()
    export_set(**made, target=tmp_path / "empty")
    with pytest.raises(StateError, match="--overwrite"):
        export_set(**made, target=tmp_path / "empty")
    export_set(**made, target=tmp_path / "empty", overwrite=True, limit=1)
    assert len(files_below(tmp_path / "empty")) == 5
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(StateError, match="did not write"):
        export_set(**made, target=tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").exists()
    (tmp_path / "a.zip").write_text("something")
    with pytest.raises(StateError, match="not empty"):
        export_set(**made, target=tmp_path / "a.zip")


def test_an_empty_selection_tells_what_to_do(made, original_hashes, tmp_path):
    bank = {key: made[key] for key in ("catalogue", "store")}
    with pytest.raises(StateError, match="synthbank generate"):
        export_set(**bank, model_id="beta", target=tmp_path / "out")
    with made["catalogue"].session() as session:
        queries.withdraw_original(original_hashes[0], session=session)
    with pytest.raises(StateError, match="withdrawn"):
        export_set(**made, target=tmp_path / "out")
    for subject in ({}, {"job_id": "job-alpha", "model_id": "alpha"}):
        with pytest.raises(OptionError, match="exactly one"):
            export_set(**bank, **subject, target=tmp_path / "out")
    with pytest.raises(UnknownNameError):
        export_set(**bank, model_id="alpah", target=tmp_path / "out")
    with pytest.raises(UnknownNameError, match="folder"):
        export_set(**made, target=tmp_path / "out", fmt="foldr")
    assert not Path(tmp_path / "out").exists()


def test_class_names_become_safe_and_separate_folders():
    folders = class_folders(["a/b", "../x", "A b", "a-b", "ok_1", "клітина", "a-8", "a", "A"])
    assert len(set(folders.values())) == 9
    assert folders["ok_1"] == "ok_1"
    assert not any("/" in name or ".." in name for name in folders.values())


def test_the_formats_are_registered():
    assert {"folder", "npz"} <= set(exporters.names())
    with pytest.raises(OptionError, match="not an array file"):
        open_sink("x.npz", overwrite=False, single_file=False)
