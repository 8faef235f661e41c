"""Places of a bank: resolved once from options and environment, then passed along."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings read from `SYNTHBANK_*` environment variables; options of the command line win.

    A bank is a folder that holds `catalogue.db`, `objects/` and `runs/`; either of the first two can live elsewhere.
    """

    model_config = SettingsConfigDict(env_prefix="SYNTHBANK_", extra="ignore")

    home: Path = Path("bank")
    """Folder of the bank (`SYNTHBANK_HOME`, `--bank`)."""
    database_url: str | None = None
    """SQLAlchemy URL of the catalogue; `None`: SQLite file inside the bank."""
    storage_url: str | None = None
    """fsspec URL of the object store (`gs://…`, `s3://…`, `file://…`); `None`: `objects/` inside the bank."""
    runs: Path | None = None
    """Work folder of training runs, such as a mounted disk that outlives the machine; `None`: `runs/` inside the bank
    (`SYNTHBANK_RUNS`)."""
    inception: Path | None = None
    """Path of `inception-2015-12-05.pt`; `None`: the cache folder is looked at, nothing is downloaded unasked."""
    encoder: Path | None = None
    """Path of a frozen encoder of your own (TorchScript or ONNX); `None`: none (`SYNTHBANK_ENCODER`, `--encoder`)."""

    @property
    def catalogue_url(self) -> str:
        """The URL that the catalogue opens."""
        return self.database_url or f"sqlite:///{(self.home / 'catalogue.db').absolute()}"

    @property
    def objects_url(self) -> str:
        """The URL that the storage opens."""
        return self.storage_url or (self.home / "objects").absolute().as_uri()

    @property
    def runs_dir(self) -> Path:
        """Work folder of training runs: state, history, grids, TensorBoard."""
        return self.runs or self.home / "runs"

    @property
    def feature_cache(self) -> Path:
        """Local file that keeps feature vectors; safe to delete."""
        return self.home / "cache" / "features.db"
