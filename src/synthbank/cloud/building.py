"""The container image, built by Cloud Build from a checkout."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from synthbank.cloud.request import Request, host_of
from synthbank.cloud.settings import CloudSettings
from synthbank.errors import InputError
from synthbank.fingerprint import bytes_sha256


def build_requests(settings: CloudSettings, source: bytes, arguments: Mapping[str, str]) -> list[Request]:
    """Upload of the source to the bucket, and a build from there.

    Args:
        settings: of the project; `image` is the name of the built image.
        source: a gzipped tar of the checkout, from `pack`.
        arguments: build arguments of the Dockerfile.
    """
    name = f"{source_prefix(settings)}/{bytes_sha256(source)[:16]}.tar.gz"
    options = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
    body = {
        "source": {"storageSource": {"bucket": settings.bucket, "object": name}},
        "steps": [
            {
                "name": "gcr.io/cloud-builders/docker",
                "args": ["build", "-t", settings.image_uri, *options, "."],
                "env": ["DOCKER_BUILDKIT=1"],
            }
        ],
        "images": [settings.image_uri],
        "timeout": "3600s",
        "serviceAccount": f"projects/{settings.project}/serviceAccounts/{settings.builder_email}",
        "options": {"logging": "CLOUD_LOGGING_ONLY", "machineType": "E2_HIGHCPU_8"},
        "tags": ["synthbank", settings.prefix],  # Cloud Build has tags in place of labels
    }
    return [
        Request(
            "POST",
            f"{host_of(settings, 'storage')}/upload/storage/v1/b/{settings.bucket}/o",
            query={"uploadType": "media", "name": name},
            data=source,
        ),
        Request("POST", f"{host_of(settings, 'cloudbuild')}/v1/{settings.parent}/builds", body, "Build", waits=True),
    ]


def source_prefix(settings: CloudSettings) -> str:
    """Folder of the bucket that holds source archives."""
    return f"{settings.prefix}-build"


def pack(folder: Path) -> bytes:
    """The files that git tracks in a checkout, as a gzipped tar; the same files give the same bytes.

    Raises:
        InputError: the folder is no checkout, or has no Dockerfile.
    """
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=folder, capture_output=True, check=False)
    names = sorted(name for name in listed.stdout.decode().split("\0") if name and (folder / name).is_file())
    if listed.returncode or "Dockerfile" not in names:
        raise InputError(
            "The image is built from a checkout of SynthBank",
            got=str(folder),
            allowed="a git work tree with a tracked Dockerfile",
            next_step="name it with --source",
        )
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for name in names:
            tar.add(folder / name, name, recursive=False, filter=_reproducible)
    return packed.getvalue()


def _reproducible(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
