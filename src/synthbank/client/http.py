"""Two clients of a service with the same methods: `Client` waits, `AsyncClient` is awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Self, TypeVar

import httpx

from synthbank.client import calls
from synthbank.client.calls import Call, Generated, RemoteImage
from synthbank.errors import SetupError

T = TypeVar("T")
DEFAULT_URL = "http://127.0.0.1:8000"
_OPEN = ("queued", "running")
_LONGEST_PAUSE_SEC = 30.0


class _Settings:
    """What both clients are made of."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout: float = 120.0,
        patience_sec: float = 60.0,
        transport: Any = None,
    ) -> None:
        self._patience = patience_sec
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._options: dict[str, Any] = {
            "base_url": url,
            "headers": headers,
            "timeout": timeout,
            "transport": transport,
        }


class Client(_Settings):
    """A service, from a program that waits for its answers.

    Args:
        url: of the service.
        key: API key; `None`: none is sent.
        timeout: seconds that an answer may take.
        patience_sec: how long a service that is busy is asked again.
        transport: an `httpx` transport (for tests, or an unusual network).
    """

    def __init__(self, url: str = DEFAULT_URL, **options: Any) -> None:
        super().__init__(url, **options)
        self._http = httpx.Client(**self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """Every model of the bank."""
        return self._call(calls.models())

    def generate(self, model: str, **options: Any) -> Generated:
        """Make images and wait for them; a large request becomes a job that is followed to its end.

        Args:
            model: name of a published model.
            **options: `class_name`, `count`, `seed`, `truncation`, `towards`, as in `POST /v1/generate`.
        """
        made = self._call(calls.generate(model, **options))
        if made.images or made.job["status"] not in _OPEN:
            return made
        job = self.wait(made.job["id"])
        images = tuple(self.images(job=job["id"], verdict="accepted", order="id"))
        return Generated(job, tuple(self._with_file(image) for image in images))

    def submit(self, model: str, **options: Any) -> dict[str, Any]:
        """Queue a request; the job. Options as of `generate`."""
        return self._call(calls.submit(model, **options))

    def job(self, job_id: str) -> dict[str, Any]:
        """A job and how far it came."""
        return self._call(calls.job(job_id))

    def wait(self, job_id: str, *, every_sec: float = 0.2) -> dict[str, Any]:
        """The job, once it has ended."""
        while (job := self.job(job_id))["status"] in _OPEN:
            time.sleep(every_sec)
        return job

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Want nothing more of a job."""
        return self._call(calls.cancel(job_id))

    def images(self, **filters: Any) -> Iterator[RemoteImage]:
        """Every image under a filter, page by page; filters as of `GET /v1/images` (`class_name` for `class`)."""
        after: str | None = None
        while True:
            found, after = self._call(calls.page(filters, after))
            yield from found
            if after is None:
                return

    def png(self, image: RemoteImage | str) -> bytes:
        """The file of an image."""
        identity = image if isinstance(image, str) else image.id
        return self._send("GET", f"/v1/images/{identity}/file").content

    def withdraw(self, image_id: str, *, reason: str) -> RemoteImage:
        """Take an image out of circulation; needs the scope "admin"."""
        return self._call(calls.withdraw(image_id, reason))

    def _with_file(self, image: RemoteImage) -> RemoteImage:
        return RemoteImage(image.id, image.class_name, image.facts, self.png(image))

    def _call(self, call: Call[T]) -> T:
        return call.read(self._send(call.method, call.path, params=call.query, json=call.body).json())

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                raise _no_answer(self._http.base_url, error) from error
            pause = _pause(answer, deadline - time.monotonic())
            if pause is None:
                return _checked(answer)
            time.sleep(pause)


class AsyncClient(_Settings):
    """A service, from a program that does other things meanwhile; arguments as of `Client`."""

    def __init__(self, url: str = DEFAULT_URL, **options: Any) -> None:
        super().__init__(url, **options)
        self._http = httpx.AsyncClient(**self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def models(self) -> list[dict[str, Any]]:
        """Every model of the bank."""
        return await self._call(calls.models())

    async def generate(self, model: str, **options: Any) -> Generated:
        """Make images and wait for them; see `Client.generate`."""
        made = await self._call(calls.generate(model, **options))
        if made.images or made.job["status"] not in _OPEN:
            return made
        job = await self.wait(made.job["id"])
        found = [image async for image in self.images(job=job["id"], verdict="accepted", order="id")]
        files = [RemoteImage(i.id, i.class_name, i.facts, await self.png(i)) for i in found]
        return Generated(job, tuple(files))

    async def submit(self, model: str, **options: Any) -> dict[str, Any]:
        """Queue a request; the job."""
        return await self._call(calls.submit(model, **options))

    async def job(self, job_id: str) -> dict[str, Any]:
        """A job and how far it came."""
        return await self._call(calls.job(job_id))

    async def wait(self, job_id: str, *, every_sec: float = 0.2) -> dict[str, Any]:
        """The job, once it has ended."""
        while (job := await self.job(job_id))["status"] in _OPEN:
            await asyncio.sleep(every_sec)
        return job

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """Want nothing more of a job."""
        return await self._call(calls.cancel(job_id))

    async def images(self, **filters: Any) -> AsyncIterator[RemoteImage]:
        """Every image under a filter, page by page."""
        after: str | None = None
        while True:
            found, after = await self._call(calls.page(filters, after))
            for image in found:
                yield image
            if after is None:
                return

    async def png(self, image: RemoteImage | str) -> bytes:
        """The file of an image."""
        identity = image if isinstance(image, str) else image.id
        return (await self._send("GET", f"/v1/images/{identity}/file")).content

    async def withdraw(self, image_id: str, *, reason: str) -> RemoteImage:
        """Take an image out of circulation; needs the scope "admin"."""
        return await self._call(calls.withdraw(image_id, reason))

    async def _call(self, call: Call[T]) -> T:
        answer = await self._send(call.method, call.path, params=call.query, json=call.body)
        return call.read(answer.json())

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                answer = await self._http.request(method, path, **options)
            except httpx.TransportError as error:
                raise _no_answer(self._http.base_url, error) from error
            pause = _pause(answer, deadline - time.monotonic())
            if pause is None:
                return _checked(answer)
            await asyncio.sleep(pause)


def _pause(answer: httpx.Response, left_sec: float) -> float | None:
    """Seconds until a busy service should be asked again; `None`: the answer stands."""
    if answer.status_code != 429 or left_sec <= 0:
        return None
    wished = answer.headers.get("retry-after", "1")
    return min(float(wished) if wished.isdigit() else 1.0, left_sec, _LONGEST_PAUSE_SEC)


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        body: Mapping[str, Any] | None = answer.json()
    except ValueError:
        body = None
    raise calls.problem(answer.status_code, body)


def _no_answer(url: httpx.URL, error: Exception) -> SetupError:
    return SetupError("The service does not answer", got=f"{url}: {error}", next_step="start it with `synthbank serve`")
