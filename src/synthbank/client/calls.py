"""Requests to a service and the reading of its answers, without a connection. Both clients are thin layers over it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from synthbank import errors
from synthbank.client.records import ImageOrder, ImageRecord, JobRecord, ModelRecord, VerdictName
from synthbank.storage import decode_png

T = TypeVar("T")
Value = str | int | float
Values = Mapping[str, Value]


@dataclass(frozen=True)
class RemoteImage:
    """A synthetic image of a service."""

    id: str
    class_name: str
    facts: ImageRecord = field(repr=False)
    """Its record: seed, verdict, hashes and so on."""
    png: bytes | None = field(default=None, repr=False)
    """The file, where it came with the record; otherwise `Client.png(image)`."""

    def pixels(self) -> NDArray[np.uint8]:
        """`[C, H, W]`, uint8, 0..255; for images that came with their file.

        Raises:
            StateError: the image came without its file.
        """
        if self.png is None:
            raise errors.StateError("This image came without its file", got=self.id, next_step="fetch it: client.png")
        return decode_png(self.png)


@dataclass(frozen=True)
class Generated:
    """The job of a request, and its images."""

    job: JobRecord
    images: tuple[RemoteImage, ...]

    def pixels(self) -> NDArray[np.uint8]:
        """`[N, C, H, W]`, uint8, 0..255."""
        return np.stack([image.pixels() for image in self.images])


@dataclass(frozen=True)
class GenerateOptions:
    """Images of one model: options of `POST /v1/generate` and `POST /v1/jobs`."""

    model: str
    class_name: str | None = None
    """One class; `None`: every class."""
    count: int = 1
    """Accepted images of each class; with `towards`, steps of the interpolation."""
    seed: int | None = None
    """The same seed gives the same images; `None`: the service draws one."""
    truncation: float = 1.0
    """1: everything; towards 0: cleaner and less varied."""
    towards: int | None = None
    """Second seed of a latent interpolation; `None`: independent images."""

    def to_json(self) -> dict[str, Value]:
        """The body of the request."""
        return _outside(vars(self))


@dataclass(frozen=True)
class ImageFilter:
    """Conditions on images, all of which hold: the query of `GET /v1/images`. `None`: no condition."""

    model: str | None = None
    job: str | None = None
    class_name: str | None = None
    verdict: VerdictName | None = None
    since: datetime | None = None
    """Made at this moment or later; with a time zone."""
    until: datetime | None = None
    """Made before this moment; with a time zone."""
    min_distance: float | None = None
    """To the nearest training original."""
    max_distance: float | None = None
    order: ImageOrder = "newest"
    limit: int = 60
    """Images of one page, 1 to 500; every page is fetched."""

    def to_query(self) -> dict[str, Value]:
        """The parameters of the request."""
        values = vars(self)
        times = {name: value.isoformat() for name, value in values.items() if isinstance(value, datetime)}
        return _outside(values | times)


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and the function that reads its answer."""

    method: str
    path: str
    read: Callable[[Any], T]
    query: Values = field(default_factory=dict)
    body: Values | None = None


def models() -> Call[list[ModelRecord]]:
    """List every model."""
    return Call("GET", "/v1/models", list)


def job(job_id: str) -> Call[JobRecord]:
    """Get one job."""
    return Call("GET", f"/v1/jobs/{job_id}", _job)


def cancel(job_id: str) -> Call[JobRecord]:
    """Stop a job."""
    return Call("POST", f"/v1/jobs/{job_id}/cancel", _job)


def submit(options: GenerateOptions) -> Call[JobRecord]:
    """Queue a request."""
    return Call("POST", "/v1/jobs", _job, body=options.to_json())


def generate(options: GenerateOptions) -> Call[Generated]:
    """Make images and wait for them."""
    return Call("POST", "/v1/generate", _generated, body=options.to_json())


def page(conditions: ImageFilter, after: str | None) -> Call[tuple[list[RemoteImage], str | None]]:
    """Get one page of images, and the id after which the next page begins."""
    query = conditions.to_query() | ({} if after is None else {"after": after})
    return Call("GET", "/v1/images", _page, query=query)


def withdraw(image_id: str, reason: str) -> Call[RemoteImage]:
    """Withdraw an image."""
    return Call("POST", f"/v1/images/{image_id}/withdraw", _image, body={"reason": reason})


def problem(status: int, body: object) -> errors.SynthBankError:
    """The error in an answer of the service, of the class that was raised there.

    Args:
        status: of HTTP, 400 or above.
        body: the JSON of the answer; anything else gives an error that names the status alone.
    """
    facts = body.get("error", {}) if isinstance(body, dict) else {}
    # the class is found by its name, and the name comes from outside: nothing but an error of ours may be made of it
    kind = getattr(errors, str(facts.get("type")), None)
    if not (isinstance(kind, type) and issubclass(kind, errors.SynthBankError)) or kind is errors.UnknownNameError:
        kind = errors.OptionError if status < 500 else errors.SetupError
    what = facts.get("what") or f"The service answered {status}"
    return kind(what, got=facts.get("got"), allowed=facts.get("allowed"), next_step=facts.get("next"), status=status)


def _outside(values: Mapping[str, Any]) -> dict[str, Value]:
    """Values under their names in the API, without those that are `None`."""
    return {"class" if name == "class_name" else name: v for name, v in values.items() if v is not None}


def _job(answer: Mapping[str, Any]) -> JobRecord:
    return cast(JobRecord, dict(answer))


def _image(facts: Mapping[str, Any]) -> RemoteImage:
    png = facts.get("png")
    record = cast(ImageRecord, {name: value for name, value in facts.items() if name != "png"})
    return RemoteImage(facts["id"], facts["class"], record, base64.b64decode(png) if png else None)


def _generated(answer: Mapping[str, Any]) -> Generated:
    return Generated(_job(answer["job"]), tuple(_image(facts) for facts in answer["images"]))


def _page(answer: Mapping[str, Any]) -> tuple[list[RemoteImage], str | None]:
    return [_image(facts) for facts in answer["items"]], answer["next"]
