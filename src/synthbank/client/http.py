"""Two clients of a service with the same methods: `Client` waits, `AsyncClient` is awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Self, TypedDict, TypeVar

import httpx

from synthbank.client import calls
from synthbank.client.calls import Call, Generated, GenerateOptions, ImageFilter, RemoteImage
from synthbank.client.records import ImageOrder, JobRecord, ModelRecord, VerdictName
from synthbank.errors import SetupError

T = TypeVar("T")
DEFAULT_URL = "http://127.0.0.1:8000"
_OPEN = ("queued", "running")
_LONGEST_PAUSE_SEC = 30.0


class _Connection(TypedDict):
    """The options that both clients of `httpx` take."""

    base_url: str
    headers: dict[str, str]
    timeout: float


def _connection(url: str, key: str | None, timeout: float) -> _Connection:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return {"base_url": url, "headers": headers, "timeout": timeout}


class Client:
    """A service, from a program that waits for its answers.

    Args:
        url: of the service.
        key: API key; `None`: none is sent.
        timeout: seconds that an answer may take.
        patience_sec: seconds for which a busy service (429) is asked again.
        transport: an `httpx` transport (for tests, or an unusual network).
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout: float = 120.0,
        patience_sec: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._patience = patience_sec
        self._http = httpx.Client(transport=transport, **_connection(url, key, timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[ModelRecord]:
        """Every model of the bank."""
        return self._call(calls.models())

    def generate(
        self,
        model: str,
        *,
        class_name: str | None = None,
        count: int = 1,
        seed: int | None = None,
        truncation: float = 1.0,
        towards: int | None = None,
    ) -> Generated:
        """Make images and wait for them; a large request becomes a job that is followed to its end.

        Args:
            model: name of a published model.
            class_name: one class; `None`: every class.
            count: accepted images of each class; with `towards`, steps of the interpolation.
            seed: the same seed gives the same images; `None`: the service draws one.
            truncation: 1: everything; towards 0: cleaner and less varied.
            towards: second seed of a latent interpolation; `None`: independent images.

        Returns:
            The job and its images, with their files.

        Raises:
            OptionError: the service knows no such model or class, or an option is outside what is allowed.
            BusyError: the service is busy for longer than the patience.
        """
        made = self._call(calls.generate(GenerateOptions(model, class_name, count, seed, truncation, towards)))
        if made.images or made.job["status"] not in _OPEN:
            return made
        job = self.wait(made.job["id"])
        images = tuple(self.images(job=job["id"], verdict="accepted", order="id"))
        return Generated(job, tuple(self._with_file(image) for image in images))

    def submit(
        self,
        model: str,
        *,
        class_name: str | None = None,
        count: int = 1,
        seed: int | None = None,
        truncation: float = 1.0,
        towards: int | None = None,
    ) -> JobRecord:
        """Queue a request and return its job at once; arguments as of `generate`."""
        return self._call(calls.submit(GenerateOptions(model, class_name, count, seed, truncation, towards)))

    def job(self, job_id: str) -> JobRecord:
        """A job and its progress."""
        return self._call(calls.job(job_id))

    def wait(self, job_id: str, *, every_sec: float = 0.2) -> JobRecord:
        """Wait for the end of a job, asking every `every_sec` seconds; the job as it ended."""
        while (job := self.job(job_id))["status"] in _OPEN:
            time.sleep(every_sec)
        return job

    def cancel(self, job_id: str) -> JobRecord:
        """Stop a job; its images stay."""
        return self._call(calls.cancel(job_id))

    def images(
        self,
        *,
        model: str | None = None,
        job: str | None = None,
        class_name: str | None = None,
        verdict: VerdictName | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        min_distance: float | None = None,
        max_distance: float | None = None,
        order: ImageOrder = "newest",
        limit: int = 60,
    ) -> Iterator[RemoteImage]:
        """Every image that meets all conditions, fetched page by page.

        Args:
            model: images of this model.
            job: images of this job.
            class_name: images of this class.
            verdict: accepted, rejected or withdrawn.
            since: made at this moment or later; with a time zone.
            until: made before this moment; with a time zone.
            min_distance: to the nearest training original.
            max_distance: to the nearest training original.
            order: newest first, nearest to an original first, or by id.
            limit: images of one page, 1 to 500.
        """
        conditions = ImageFilter(
            model, job, class_name, verdict, since, until, min_distance, max_distance, order, limit
        )
        after: str | None = None
        while True:
            images, after = self._call(calls.page(conditions, after))
            yield from images
            if after is None:
                return

    def png(self, image: RemoteImage | str) -> bytes:
        """The file of an image."""
        identity = image if isinstance(image, str) else image.id
        return self._send("GET", f"/v1/images/{identity}/file").content

    def withdraw(self, image_id: str, *, reason: str) -> RemoteImage:
        """Withdraw an image: nobody gets its file any more. Needs the scope "admin"."""
        return self._call(calls.withdraw(image_id, reason))

    def _with_file(self, image: RemoteImage) -> RemoteImage:
        return RemoteImage(image.id, image.class_name, image.facts, self.png(image))

    def _call(self, call: Call[T]) -> T:
        return call.read(self._send(call.method, call.path, call.query, call.body).json())

    def _send(
        self, method: str, path: str, query: calls.Values | None = None, body: calls.Values | None = None
    ) -> httpx.Response:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                answer = self._http.request(method, path, params=query, json=body)
            except httpx.TransportError as error:
                raise _no_answer(self._http.base_url, error) from error
            pause = _pause(answer, deadline - time.monotonic())
            if pause is None:
                return _checked(answer)
            time.sleep(pause)


class AsyncClient:
    """A service, from a program that does other work meanwhile; arguments and methods as of `Client`."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout: float = 120.0,
        patience_sec: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._patience = patience_sec
        self._http = httpx.AsyncClient(transport=transport, **_connection(url, key, timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def models(self) -> list[ModelRecord]:
        """Every model of the bank."""
        return await self._call(calls.models())

    async def generate(
        self,
        model: str,
        *,
        class_name: str | None = None,
        count: int = 1,
        seed: int | None = None,
        truncation: float = 1.0,
        towards: int | None = None,
    ) -> Generated:
        """Make images and wait for them; arguments as of `Client.generate`."""
        made = await self._call(calls.generate(GenerateOptions(model, class_name, count, seed, truncation, towards)))
        if made.images or made.job["status"] not in _OPEN:
            return made
        job = await self.wait(made.job["id"])
        images = [image async for image in self.images(job=job["id"], verdict="accepted", order="id")]
        with_files = [RemoteImage(i.id, i.class_name, i.facts, await self.png(i)) for i in images]
        return Generated(job, tuple(with_files))

    async def submit(
        self,
        model: str,
        *,
        class_name: str | None = None,
        count: int = 1,
        seed: int | None = None,
        truncation: float = 1.0,
        towards: int | None = None,
    ) -> JobRecord:
        """Queue a request and return its job at once; arguments as of `Client.generate`."""
        return await self._call(calls.submit(GenerateOptions(model, class_name, count, seed, truncation, towards)))

    async def job(self, job_id: str) -> JobRecord:
        """A job and its progress."""
        return await self._call(calls.job(job_id))

    async def wait(self, job_id: str, *, every_sec: float = 0.2) -> JobRecord:
        """Wait for the end of a job, asking every `every_sec` seconds; the job as it ended."""
        while (job := await self.job(job_id))["status"] in _OPEN:
            await asyncio.sleep(every_sec)
        return job

    async def cancel(self, job_id: str) -> JobRecord:
        """Stop a job; its images stay."""
        return await self._call(calls.cancel(job_id))

    async def images(
        self,
        *,
        model: str | None = None,
        job: str | None = None,
        class_name: str | None = None,
        verdict: VerdictName | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        min_distance: float | None = None,
        max_distance: float | None = None,
        order: ImageOrder = "newest",
        limit: int = 60,
    ) -> AsyncIterator[RemoteImage]:
        """Every image that meets all conditions, fetched page by page; arguments as of `Client.images`."""
        conditions = ImageFilter(
            model, job, class_name, verdict, since, until, min_distance, max_distance, order, limit
        )
        after: str | None = None
        while True:
            images, after = await self._call(calls.page(conditions, after))
            for image in images:
                yield image
            if after is None:
                return

    async def png(self, image: RemoteImage | str) -> bytes:
        """The file of an image."""
        identity = image if isinstance(image, str) else image.id
        return (await self._send("GET", f"/v1/images/{identity}/file")).content

    async def withdraw(self, image_id: str, *, reason: str) -> RemoteImage:
        """Withdraw an image: nobody gets its file any more. Needs the scope "admin"."""
        return await self._call(calls.withdraw(image_id, reason))

    async def _call(self, call: Call[T]) -> T:
        answer = await self._send(call.method, call.path, call.query, call.body)
        return call.read(answer.json())

    async def _send(
        self, method: str, path: str, query: calls.Values | None = None, body: calls.Values | None = None
    ) -> httpx.Response:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                answer = await self._http.request(method, path, params=query, json=body)
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
    requested = answer.headers.get("retry-after", "1")
    return min(float(requested) if requested.isdigit() else 1.0, left_sec, _LONGEST_PAUSE_SEC)


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        body: object = answer.json()
    except ValueError:
        body = None
    raise calls.problem(answer.status_code, body)


def _no_answer(url: httpx.URL, error: Exception) -> SetupError:
    return SetupError("The service does not answer", got=f"{url}: {error}", next_step="start it with `synthbank serve`")
