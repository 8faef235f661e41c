"""Requests as values: a dry run prints exactly the request that would be sent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import urlencode

from synthbank.cloud.settings import CloudSettings
from synthbank.errors import OptionError, SetupError
from synthbank.fingerprint import bytes_sha256

JsonObject = dict[str, Any]
"""A JSON object of Google's REST interfaces."""
_MODULES = {"Build": "google.cloud.devtools.cloudbuild_v1.types"}
_VERTEX = "google.cloud.aiplatform_v1.types"


@dataclass(frozen=True)
class Request:
    """One call of a REST interface.

    Args:
        method: of HTTP.
        url: the whole address.
        body: sent as JSON; `None`: no body.
        message: name of the client library's type that the body must fit; `None`: it is not checked.
        query: parameters of the address.
        data: bytes to send in place of `body`.
        waits: the answer is a long-running operation, whose end is waited for.
        repeatable: "exists" or "missing": the effect is there already if the status says so, which is no error.
    """

    method: str
    url: str
    body: JsonObject | None = None
    message: str | None = None
    query: dict[str, str] = field(default_factory=dict)
    data: bytes | None = field(default=None, repr=False)
    waits: bool = False
    repeatable: str | None = None

    def to_json(self) -> JsonObject:
        """The request as a dry run prints it."""
        shown: JsonObject = {"method": self.method, "url": self.address}
        if self.body is not None:
            shown["body"] = self.body
        if self.data is not None:
            shown["data"] = {"bytes": len(self.data), "sha256": bytes_sha256(self.data)}
        return shown | ({"then": "the operation is followed until it is done"} if self.waits else {})

    @property
    def address(self) -> str:
        """The address with its parameters."""
        return f"{self.url}?{urlencode(self.query)}" if self.query else self.url


def vertex_url(settings: CloudSettings, path: str) -> str:
    """Address of a Vertex AI resource in the project and region, such as `customJobs`."""
    return f"{host_of(settings, f'{settings.region}-aiplatform')}/v1/{settings.parent}/{path}"


def host_of(settings: CloudSettings, service: str) -> str:
    """Address of a service of Google, or of the stand-in for all of them."""
    return settings.api.rstrip("/") if settings.api else f"https://{service}.googleapis.com"


def check(request: Request) -> Request:
    """Check the body of a request against the type of the client library, and return the request.

    Raises:
        SetupError: the client library is not installed.
        OptionError: a field is unknown or of a wrong type.
    """
    if request.message is not None:
        read_message(request.message, request.body or {})
    return request


def read_message(name: str, body: JsonObject) -> Any:
    """The body as a message of the client library; unknown fields are an error."""
    message = _message_type(name)
    from google.protobuf.json_format import ParseError

    try:
        return message.from_json(json.dumps(body), ignore_unknown_fields=False)
    except ParseError as error:
        raise OptionError(f"The request is not a {name} of the client library", got=str(error)) from error


def _message_type(name: str) -> Any:
    try:
        return getattr(import_module(_MODULES.get(name, _VERTEX)), name)
    except ImportError as error:
        raise SetupError(
            "Google's client library is not installed", got=error.name, next_step="pip install 'synthbank[vertex]'"
        ) from error
