"""Sending requests: credentials, retries, and long-running operations until their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import httpx

from synthbank.cloud.request import JsonObject, Request, check
from synthbank.cloud.settings import CloudSettings
from synthbank.errors import AccessError, BusyError, NotFoundError, OptionError, SetupError, SynthBankError

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_DONE_BEFORE = {"exists": HTTPStatus.CONFLICT, "missing": HTTPStatus.NOT_FOUND}
_TRIES = 5


class Sender:
    """Sends requests one after another.

    Args:
        http: the client, with its authorisation.
        settings: of the project in which operations run.
        poll_sec: seconds between two requests for the state of an operation.
        patience_sec: seconds after which an operation is no longer waited for.
    """

    def __init__(
        self, http: httpx.Client, settings: CloudSettings, *, poll_sec: float = 10.0, patience_sec: float = 7200.0
    ) -> None:
        self._http = http
        self._settings = settings
        self._poll_sec = poll_sec
        self._patience_sec = patience_sec

    def send(self, request: Request) -> JsonObject:
        """Send a request and return its answer, as JSON.

        A request that `waits` returns the result of its operation. One whose effect is there already (`repeatable`)
        returns `{}`.

        Raises:
            SynthBankError: the answer is an error, or the operation ended with one.
        """
        check(request)
        response = self._send_with_retries(request)
        if request.repeatable and response.status_code == _DONE_BEFORE[request.repeatable]:
            return {}
        answer = _read(request, response)
        return self._result_of(request, answer) if request.waits else answer

    def get(self, url: str) -> JsonObject:
        """The answer of a GET request."""
        return self.send(Request("GET", url))

    def pages(self, request: Request, key: str) -> Iterator[JsonObject]:
        """Every element of a list, fetched page by page."""
        token = ""
        while True:
            query = request.query | ({"pageToken": token} if token else {})
            answer = self.send(Request(request.method, request.url, query=query))
            yield from answer.get(key, [])
            token = answer.get("nextPageToken", "")
            if not token:
                return

    def wait(self, look: Callable[[], JsonObject], done: Callable[[JsonObject], bool]) -> JsonObject:
        """Call `look` every `poll_sec` seconds until `done` says so of its answer, and return that answer.

        Raises:
            BusyError: it takes longer than the patience.
        """
        end = time.monotonic() + self._patience_sec
        while not done(answer := look()):
            if time.monotonic() > end:
                raise BusyError(
                    "The operation takes longer than expected, and is still running",
                    got=answer.get("name"),
                    next_step="synthbank cloud status",
                    retry_after_sec=self._poll_sec,
                )
            time.sleep(self._poll_sec)
        return answer

    def _result_of(self, request: Request, answer: JsonObject) -> JsonObject:
        url = request.url.partition("/v1/")[0] + "/v1/" + answer["name"]
        ended = answer if answer.get("done") else self.wait(lambda: self.get(url), lambda seen: seen.get("done", False))
        if "error" in ended:
            raise SynthBankError("Google Cloud ended the operation with an error", got=ended["error"].get("message"))
        response: JsonObject = ended.get("response", {})
        return response

    def _send_with_retries(self, request: Request) -> httpx.Response:
        """The response, after retries where they do no harm: after 429 (not carried out), and 5xx of a GET."""
        for number in range(_TRIES):
            response = self._send_once(request)
            harmless = response.status_code == HTTPStatus.TOO_MANY_REQUESTS or (
                response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR and request.method == "GET"
            )
            if not harmless or number == _TRIES - 1:
                break
            time.sleep(self._poll_sec * 2**number / 4)
        return response

    def _send_once(self, request: Request) -> httpx.Response:
        try:
            return self._http.request(
                request.method,
                request.url,
                params=request.query or None,
                content=request.data,
                json=request.body,
            )
        except httpx.TransportError as error:
            raise SetupError(
                "Google Cloud cannot be reached", got=f"{request.url}: {error}", next_step="try the same command again"
            ) from error


@contextmanager
def sender(settings: CloudSettings, *, poll_sec: float = 10.0) -> Iterator[Sender]:
    """A sender with the credentials of this machine; a stand-in for Google (`settings.api`) gets none."""
    auth = None if settings.api else _Token()
    with httpx.Client(auth=auth, timeout=httpx.Timeout(300.0, connect=30.0)) as http:
        yield Sender(http, settings, poll_sec=poll_sec)


class _Token(httpx.Auth):
    """A valid access token on each request, from the credentials that Google's library finds."""

    def __init__(self) -> None:
        try:
            import google.auth
            import google.auth.exceptions
        except ImportError as error:
            raise SetupError(
                "Google's client library is not installed", got=error.name, next_step="pip install 'synthbank[vertex]'"
            ) from error
        try:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
            self._credentials: Any = credentials
        except google.auth.exceptions.DefaultCredentialsError as error:
            raise SetupError(
                "This machine has no credentials for Google Cloud",
                next_step="gcloud auth application-default login, or --dry-run to see the requests alone",
            ) from error

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        """Sign one request."""
        from google.auth.transport.requests import Request as Transport

        if not self._credentials.valid:
            self._credentials.refresh(Transport())
        self._credentials.apply(request.headers)
        yield request


def _read(request: Request, response: httpx.Response) -> JsonObject:
    if response.is_success:
        answer: JsonObject = response.json() if response.content else {}
        return answer
    kind: type[SynthBankError] = {
        HTTPStatus.BAD_REQUEST: OptionError,
        HTTPStatus.UNAUTHORIZED: AccessError,
        HTTPStatus.FORBIDDEN: AccessError,
        HTTPStatus.NOT_FOUND: NotFoundError,
        HTTPStatus.TOO_MANY_REQUESTS: BusyError,
        HTTPStatus.SERVICE_UNAVAILABLE: BusyError,
    }.get(HTTPStatus(response.status_code), SynthBankError)
    raise kind(
        f"Google Cloud refused {request.method} {request.url}",
        got=f"{response.status_code}: {_reason(response)}",
        next_step="synthbank cloud status shows what is there",
    )


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:300]
