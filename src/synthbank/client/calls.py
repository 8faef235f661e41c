"""What is sent to a service and what comes back, without a connection: both clients are thin layers over this."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from synthbank import errors
from synthbank.storage import decode_png

T = TypeVar("T")


@dataclass(frozen=True)
class RemoteImage:
    """A synthetic image of a service."""

    id: str
    class_name: str
    facts: Mapping[str, Any] = field(repr=False)
    """Its record: seed, verdict, scores, hashes and so on."""
    png: bytes | None = field(default=None, repr=False)
    """The file, where it came with the record; otherwise `Client.png(image)`."""

    def pixels(self) -> NDArray[np.uint8]:
        """`[C, H, W]`, uint8, 0..255; for images that came with their file."""
        if self.png is None:
            raise errors.StateError("This image came without its file", got=self.id, next_step="fetch it: client.png")
        return decode_png(self.png)


@dataclass(frozen=True)
class Generated:
    """What a request made."""

    job: Mapping[str, Any]
    images: tuple[RemoteImage, ...]

    def pixels(self) -> NDArray[np.uint8]:
        """`[N, C, H, W]`, uint8, 0..255."""
        return np.stack([image.pixels() for image in self.images])


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and how its answer is read."""

    method: str
    path: str
    read: Callable[[Any], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


def models() -> Call[list[dict[str, Any]]]:
    """Every model."""
    return Call("GET", "/v1/models", list)


def job(job_id: str) -> Call[dict[str, Any]]:
    """One job."""
    return Call("GET", f"/v1/jobs/{job_id}", dict)


def cancel(job_id: str) -> Call[dict[str, Any]]:
    """Want nothing more of a job."""
    return Call("POST", f"/v1/jobs/{job_id}/cancel", dict)


def submit(model: str, **options: Any) -> Call[dict[str, Any]]:
    """Queue a request."""
    return Call("POST", "/v1/jobs", dict, body=_wanted(model, options))


def generate(model: str, **options: Any) -> Call[Generated]:
    """Make images and wait for them."""
    return Call("POST", "/v1/generate", _generated, body=_wanted(model, options))


def page(filters: Mapping[str, Any], after: str | None) -> Call[tuple[list[RemoteImage], str | None]]:
    """One page of images."""
    query = {_outside(name): value for name, value in filters.items() if value is not None}
    return Call("GET", "/v1/images", _page, query=query | ({} if after is None else {"after": after}))


def withdraw(image_id: str, reason: str) -> Call[RemoteImage]:
    """Take an image out of circulation."""
    return Call("POST", f"/v1/images/{image_id}/withdraw", _image, body={"reason": reason})


def problem(status: int, body: Any) -> errors.SynthBankError:
    """The error that a service told, as the same class that it raised there."""
    facts = body.get("error", {}) if isinstance(body, dict) else {}
    kind = getattr(errors, str(facts.get("type")), None)
    if not (isinstance(kind, type) and issubclass(kind, errors.SynthBankError)) or kind is errors.UnknownNameError:
        kind = errors.OptionError if status < 500 else errors.SetupError
    what = facts.get("what") or f"The service answered {status}"
    return kind(what, got=facts.get("got"), allowed=facts.get("allowed"), next_step=facts.get("next"), status=status)


def _wanted(model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": model} | {_outside(name): value for name, value in options.items() if value is not None}


def _outside(name: str) -> str:
    return "class" if name == "class_name" else name


def _image(facts: Mapping[str, Any]) -> RemoteImage:
    png = facts.get("png")
    record = {name: value for name, value in facts.items() if name != "png"}
    return RemoteImage(facts["id"], facts["class"], record, base64.b64decode(png) if png else None)


def _generated(answer: Mapping[str, Any]) -> Generated:
    return Generated(answer["job"], tuple(_image(facts) for facts in answer["images"]))


def _page(answer: Mapping[str, Any]) -> tuple[list[RemoteImage], str | None]:
    return [_image(facts) for facts in answer["items"]], answer["next"]
