"""Filesystems behind URLs: opened through fsspec, uploads checked, and links that open a file without an account."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from synthbank.errors import SetupError, SynthBankError

_EXTRAS = {"gs": "gcp", "gcs": "gcp", "s3": "s3", "s3a": "s3"}
"""Extra of the package that brings the driver of a URL scheme."""
_GOOGLE = ("gs", "gcs")
_QUIET = logging.NullHandler()
"""A driver's log of what it raises as well goes where logging was set up to go, and not to the terminal."""


def open_filesystem(url: str) -> tuple[Any, str]:
    """The fsspec filesystem of a URL and the path inside it; raises `SetupError` when its driver is missing."""
    from fsspec.core import url_to_fs

    scheme = url.partition("://")[0]
    # Google's answer names the MD5 of what arrived; S3's client sends a checksum that the server compares
    options = {"consistency": "md5"} if scheme in _GOOGLE else {}
    try:
        filesystem, root = url_to_fs(url, use_listings_cache=False, **options)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        raise SetupError(
            "The driver for this storage URL is not installed",
            got=url,
            next_step=f"pip install 'synthbank[{extra}]'" if extra else f"install it ({error})",
            url=url,
        ) from error
    except ValueError as error:
        raise SetupError(
            "This storage URL is not understood",
            got=url,
            allowed="a path, file://, memory://, gs://, s3:// or another fsspec URL",
            next_step=str(error),
            url=url,
        ) from error
    logging.getLogger(_driver(filesystem)).addHandler(_QUIET)
    return filesystem, str(root).rstrip("/")


@contextmanager
def translate_errors(where: str) -> Iterator[None]:
    """Raise a failure of a disk or a bucket, at a path or URL, as `SetupError`.

    Drivers have classes of their own for refused credentials, lost connections and wrong checksums, so at a URL every
    error that is not ours counts.
    """
    try:
        yield
    except SynthBankError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and ("://" not in where or where.startswith("file://")):
            raise
        raise SetupError(
            "Files could not be read or written there",
            got=f"{where}: {error or type(error).__name__}",
            next_step="check free space, permissions and the connection, then run the same command again",
            where=where,
        ) from error


def sign(filesystem: Any, path: str, *, life_sec: int) -> str | None:
    """A link to one file of a bucket that anybody may open for so long; `None` where the filesystem has no such links.

    Raises:
        SetupError: the credentials at hand cannot sign.
    """
    try:
        return str(filesystem.sign(path, expiration=life_sec, **_signer_of(filesystem)))
    except NotImplementedError:
        return None
    except Exception as error:  # each client has errors of its own for credentials that hold no key
        raise SetupError(
            "A link to this file cannot be signed",
            got=f"{path} ({error})",
            next_step="use the credentials of a service account; on Google it needs iam.serviceAccounts.signBlob",
        ) from error


def _signer_of(filesystem: Any) -> dict[str, Any]:
    """On Google: an account without a key of its own, as machines have, asks Google to sign in its name."""
    if _driver(filesystem) != "gcsfs":
        return {}
    credentials = filesystem.credentials.credentials
    if hasattr(credentials, "sign_bytes"):
        return {"version": "v4"}
    filesystem.credentials.maybe_refresh()
    return {
        "version": "v4",
        "service_account_email": getattr(credentials, "service_account_email", None),
        "access_token": getattr(credentials, "token", None),
    }


def _driver(filesystem: Any) -> str:
    """Name of the package that a filesystem comes from."""
    return type(filesystem).__module__.partition(".")[0]
