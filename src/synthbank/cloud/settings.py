"""Settings of a Google Cloud project: `cloud.yaml`, overridden by `SYNTHBANK_CLOUD_*`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from synthbank.errors import NotFoundError, OptionError

FILE = "cloud.yaml"
ENVIRONMENT = "SYNTHBANK_CLOUD_"

_Project = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
_Region = Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+$")]
_Bucket = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$")]
_Path = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,48}[a-z0-9]$")]
_Account = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{4,20}[a-z0-9]$")]
_Database = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
_Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{0,63}$")]
_LabelKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class CloudSettings(BaseModel):
    """One bank in one project. Names are Google's own; the Terraform of `init` creates the resources."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: _Project
    region: _Region = "europe-west4"
    bucket: _Bucket
    prefix: _Path = "bank"
    """Folder of the bank in the bucket; also the label of its resources."""
    repository: _Name = "synthbank"
    """Repository of Artifact Registry."""
    service_account: _Account = "synthbank-runner"
    """Account of jobs and endpoints; with `-build` appended, the account that builds the image."""
    database_instance: _Name = "synthbank"
    database: _Database = "synthbank"
    image: str | None = None
    """The container; `None`: `synthbank:latest` of the repository."""
    labels: dict[_LabelKey, _Label] = Field(default_factory=dict)
    """The user's labels, on every resource that is created."""
    api: str | None = None
    """An address that answers in place of Google's, for tests; no credentials are sent there. `None`: Google."""

    @model_validator(mode="after")
    def _reserve_labels(self) -> Self:
        taken = sorted(set(self.labels) & {"synthbank", "synthbank-kind", "synthbank-name"})
        if taken:
            raise ValueError(f"the labels {', '.join(taken)} are set by SynthBank")
        return self

    @property
    def image_uri(self) -> str:
        """The container that jobs and endpoints run."""
        host = f"{self.region}-docker.pkg.dev"
        return self.image or f"{host}/{self.project}/{self.repository}/synthbank:latest"

    @property
    def account_email(self) -> str:
        """The service account of jobs and endpoints."""
        return f"{self.service_account}@{self.project}.iam.gserviceaccount.com"

    @property
    def builder_email(self) -> str:
        """The service account that builds the image."""
        return f"{self.service_account}-build@{self.project}.iam.gserviceaccount.com"

    @property
    def storage_url(self) -> str:
        """The bank's objects."""
        return f"gs://{self.bucket}/{self.prefix}"

    @property
    def database_url(self) -> str:
        """The bank's catalogue."""
        return f"cloudsql+postgresql://{self.project}:{self.region}:{self.database_instance}/{self.database}"

    @property
    def parent(self) -> str:
        """The parent of every Vertex AI resource."""
        return f"projects/{self.project}/locations/{self.region}"

    def labels_of(self, kind: str, name: str) -> dict[str, str]:
        """Labels of one resource: the user's, the bank, its kind and its name."""
        return self.labels | {"synthbank": self.prefix, "synthbank-kind": kind, "synthbank-name": as_label(name)}


def as_label(text: str) -> str:
    """A name as the value of a label, which holds a-z 0-9 _ - and at most 63 of them.

    >>> as_label("ihc.v2")
    'ihc-v2'
    """
    return "".join(c if c.isascii() and (c.islower() or c.isdigit() or c in "_-") else "-" for c in text.lower())[:63]


def load_settings(path: Path, environment: Mapping[str, str] = os.environ) -> CloudSettings:
    """Settings of a file, which need not exist, overridden by the environment.

    Args:
        path: `cloud.yaml`.
        environment: `SYNTHBANK_CLOUD_PROJECT` and so on; labels are set by the file alone.

    Raises:
        NotFoundError: neither the file nor the environment names a project.
        OptionError: the file is not YAML, or a value is not allowed.
    """
    given = {name: environment.get(ENVIRONMENT + name.upper()) for name in CloudSettings.model_fields}
    values = _read(path) | {name: value for name, value in given.items() if value and name != "labels"}
    if not values:
        raise NotFoundError(
            "There are no cloud settings here",
            got=str(path),
            next_step=f"write them: synthbank cloud init --project ID --bucket NAME, or set {ENVIRONMENT}PROJECT …",
        )
    return make_settings(values, where=str(path))


def make_settings(values: Mapping[str, Any], *, where: str) -> CloudSettings:
    """Checked settings; `where` names the source of the values in an error message."""
    try:
        return CloudSettings.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "labels"
        if first["type"] == "extra_forbidden":
            raise OptionError(
                f"{where} has an unknown key", got=name, allowed=list(CloudSettings.model_fields)
            ) from None
        got = None if first["type"] == "missing" else first["input"]
        raise OptionError(
            f"{where}: {name}: {first['msg']}", got=got, next_step=f"set {name} there, or {ENVIRONMENT}{name.upper()}"
        ) from None


def dump_settings(settings: CloudSettings) -> str:
    """The text of `cloud.yaml`."""
    kept = settings.model_dump(exclude_none=True, exclude={"labels"} if not settings.labels else None)
    return yaml.safe_dump(kept, sort_keys=False)


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionError("The cloud settings are not YAML", got=str(path)) from error
    if not isinstance(values, dict):
        raise OptionError("The cloud settings are no list of KEY: VALUE", got=str(path))
    return values
