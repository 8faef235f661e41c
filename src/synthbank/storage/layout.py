"""The only place that builds object keys; a bank's folder tree can be read off this page.

originals/<dataset>/<2 digits>/<sha256>.png
runs/<run>/snapshots/<step>.safetensors
runs/<run>/<file>
models/<model>/generator.safetensors, discriminator.safetensors, screen.safetensors, model.json, card.md
images/<job>/<class>/<thousand>/<index>.png
evaluations/<kind>/<subject>/<file>
reports/<subject>/<file>
exports/<file>
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

from synthbank.errors import OptionError

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_MAX_NAME = 120


def slugify(text: str) -> str:
    """A valid name made from any text; text without a usable letter becomes `x-` and a hash of it.

    >>> slugify("DAB Negative (2x)")
    'dab-negative-2x'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"\.{2,}", ".", re.sub(r"[^a-z0-9._-]+", "-", plain)).strip("-._")[:_MAX_NAME].rstrip("-._")
    return slug or "x-" + hashlib.sha256(text.encode()).hexdigest()[:8]


def class_folders(class_names: Sequence[str]) -> dict[str, str]:
    """A folder name for each class, safe on every system and never shared by two classes."""
    folders: dict[str, str] = {}
    for index, name in enumerate(class_names):
        slug = slugify(name)
        safe = slug if slug == name.lower() else f"{slug}-{index}"
        while safe in folders.values():
            safe += f"-{index}"
        folders[name] = safe
    return folders


def check_name(name: str, kind: str = "name") -> str:
    """Return `name` when it can stand in a key; raises `OptionError` otherwise."""
    if not _SLUG.fullmatch(name) or ".." in name or len(name) > _MAX_NAME:
        raise OptionError(
            f"This {kind} cannot be part of a storage key",
            got=repr(name),
            allowed=f"1 to {_MAX_NAME} of a-z 0-9 . _ -, a letter or digit first, no '..'",
            next_step=f"use '{slugify(name)}'",
            name=name,
        )
    return name


def check_key(key: str) -> str:
    """Return `key` when it is relative, visible and stays inside the store; raises `OptionError` otherwise."""
    if not all(_SEGMENT.fullmatch(part) and ".." not in part for part in key.split("/")):
        raise OptionError(
            "This storage key is not allowed",
            got=repr(key),
            allowed="parts of A-Z a-z 0-9 . _ + - joined by '/', no '..', no hidden or empty part",
            key=key,
        )
    return key


def original_key(dataset: str, sha256: str) -> str:
    """Key of an accepted original, by the hash of its pixels."""
    if not _SHA256.fullmatch(sha256):
        raise OptionError("An original is named by its hash", got=repr(sha256), allowed="64 hexadecimal digits")
    return f"originals/{check_name(dataset, 'data set name')}/{sha256[:2]}/{sha256}.png"


def run_key(run: str, filename: str) -> str:
    """Key of a file that belongs to a training run, such as its history."""
    return f"runs/{check_name(run, 'run id')}/{check_name(filename, 'file name')}"


def snapshot_key(run: str, step: int) -> str:
    """Key of the weights of one snapshot."""
    return f"runs/{check_name(run, 'run id')}/snapshots/{_count(step, 'step'):08d}.safetensors"


def model_prefix(model: str) -> str:
    """Folder of a published model."""
    return f"models/{check_name(model, 'model name')}"


def model_key(model: str, filename: str) -> str:
    """Key of one file of a published model."""
    return f"{model_prefix(model)}/{check_name(filename, 'file name')}"


def job_prefix(job_id: str) -> str:
    """Folder of all images of a generation job."""
    return f"images/{check_name(job_id, 'job id')}"


def image_key(job_id: str, class_index: int, index: int) -> str:
    """Key of image number `index` of a class; a thousand files a folder.

    >>> image_key("job-1", 2, 1234)
    'images/job-1/002/000001/00001234.png'
    """
    _count(class_index, "class index")
    return f"{job_prefix(job_id)}/{class_index:03d}/{_count(index, 'image index') // 1000:06d}/{index:08d}.png"


def evaluation_key(subject_kind: str, subject_id: str, filename: str) -> str:
    """Key of a stored figure or array of an evaluation; the kind is "job", "model" or "dataset"."""
    folder = f"evaluations/{check_name(subject_kind, 'subject kind')}/{check_name(subject_id, 'subject id')}"
    return f"{folder}/{check_name(filename, 'file name')}"


def report_key(subject: str, filename: str = "report.html") -> str:
    """Key of a file of a rendered report."""
    return f"reports/{check_name(subject, 'report subject')}/{check_name(filename, 'file name')}"


def export_key(filename: str) -> str:
    """Key of an export that the service keeps for download."""
    return f"exports/{check_name(filename, 'file name')}"


def _count(value: int, kind: str) -> int:
    if value < 0:
        raise OptionError(f"The {kind} of a key is a count", got=value, allowed="0 or more")
    return value
