"""The whole way with everything in a bucket: originals read from it, the bank on it, exports to it."""

import fsspec
import numpy as np
import pytest
from PIL import Image

from synthbank.errors import SetupError, SourceError
from synthbank.settings import Settings
from synthbank.storage import encode_png
from synthbank.workflows.bank import open_bank
from synthbank.workflows.data.ingest import IngestOptions, default_name, ingest
from synthbank.workflows.delivery.export import ExportRequest, export
from synthbank.workflows.generation.generate import GenerateRequest, generate
from synthbank.workflows.maintenance.verify import verify
from synthbank.workflows.models.transfer import import_model


@pytest.fixture
def remote_folder(bucket):
    """Twelve images of two classes, as a folder in a bucket."""
    files, root = fsspec.core.url_to_fs(bucket)
    rng = np.random.default_rng(0)
    for i in range(12):
        pixels = rng.integers(0, 256, (3, 8, 8), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
        files.pipe_file(f"{root}/cells/{'ab'[i % 2]}/{i:02d}.png", encode_png(pixels))
    return f"{bucket}/cells"


def test_originals_are_read_from_a_bucket(remote_folder, tmp_path):
    with open_bank(Settings(home=tmp_path / "bank")) as bank:
        report = ingest(bank, remote_folder, name=default_name(remote_folder), options=IngestOptions(size=64))
        assert report.dataset.name == "cells"
        assert report.dataset.source == remote_folder
        assert {name: sum(of.values()) for name, of in report.counts.items()} == {"a": 6, "b": 6}
        assert not ingest(bank, remote_folder, name="cells", options=IngestOptions(size=64)).is_new
        with pytest.raises(SourceError, match="nothing at this URL"):
            ingest(bank, f"{remote_folder}-none", name="none")


def test_a_bank_in_a_bucket(bucket, tmp_path):
    settings = Settings(home=tmp_path / "bank", storage_url=f"{bucket}/bank")
    files, _ = fsspec.core.url_to_fs(bucket)
    with open_bank(settings) as bank:
        import_model(bank, "zoo:ihc-64")
        report = generate(bank, GenerateRequest("ihc-64", 5))
        assert report.accepted == {"dab_negative": 5, "dab_positive": 5}
        assert verify(bank).sound
        for target in (f"{bucket}/out", f"{bucket}/out.zip"):
            export(bank, ExportRequest(target=target, job_id=report.job.id))
        names = {path.rsplit("/", 1)[1] for path in files.find(f"{bucket}/out")}
        assert {"README.md", "metadata.csv"} <= names
        assert sum(name.endswith(".png") for name in names) == 10
        with files.open(files.find(f"{bucket}/out/dab_negative")[0]) as file, Image.open(file) as image:
            assert image.text["SynthBank-Synthetic"] == "true"
        assert files.exists(f"{bucket}/out.zip")
    assert not (tmp_path / "bank" / "objects").exists()


def test_a_bucket_that_is_not_there_is_told(bucket, tmp_path):
    settings = Settings(home=tmp_path / "bank", storage_url=f"{bucket}-none/bank")
    with open_bank(settings) as bank, pytest.raises(SetupError, match="could not be read or written"):
        import_model(bank, "zoo:ihc-64")


def test_missing_credentials_are_told(s3_bucket, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    settings = Settings(home=tmp_path / "bank")
    with open_bank(settings) as bank, pytest.raises(SetupError, match="locate credentials"):
        ingest(bank, f"{s3_bucket}/cells", name="cells")
