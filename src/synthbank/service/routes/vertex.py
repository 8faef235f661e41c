"""A Vertex AI prediction container: health and predict on the routes that `AIP_*` name."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synthbank.catalogue import queries
from synthbank.catalogue.rows import ImageRow
from synthbank.errors import AccessError, BusyError, OptionError, StateError
from synthbank.service.access import Caller, Viewer
from synthbank.service.generation import GeneratedJob, generate_and_wait, to_request
from synthbank.service.problems import ERRORS
from synthbank.service.routes.health import readiness
from synthbank.service.schemas.base import Label, Name, Seed
from synthbank.service.schemas.jobs import GenerateBody
from synthbank.service.settings import VertexSettings
from synthbank.service.state import Service, ServiceDep
from synthbank.workflows.delivery.image_files import image_file

_MAX_INSTANCES = 64
ImageFormat = Literal["png", "url", "link"]


class Instance(BaseModel):
    """One instance: images of a class. Fields that it leaves out come from `parameters`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    model: Name | None = None
    class_name: Label | None = Field(None, alias="class")
    count: int | None = Field(None, ge=1, le=1_000_000)
    seed: Seed | None = None
    truncation: float | None = Field(None, ge=0, le=1)
    towards: Seed | None = None


class Parameters(Instance):
    """Fields for every instance that does not set them itself."""

    format: ImageFormat = "png"
    """Images inside the answer, the addresses of their files, or signed links that open without an account."""


class PredictBody(BaseModel):
    """The body that Vertex AI sends."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"instances": [{"class": "dab_positive", "count": 2, "seed": 7}], "parameters": {}}]
        },
    )

    instances: list[Instance] = Field(min_length=1, max_length=_MAX_INSTANCES)
    parameters: Parameters | None = None


class PredictOut(BaseModel):
    """One prediction for each instance, in order."""

    predictions: list[dict[str, Any]]


def vertex_router(settings: VertexSettings) -> APIRouter:
    """The two routes, at the paths that the platform names; on other machines `/predict` and `/vertex/health`.

    On Vertex AI the platform authorises every request before it reaches the container, and sends no key of ours.
    """
    router = APIRouter(tags=["vertex"])
    predicting = _predict_on_platform if settings.active else _predict
    router.add_api_route(
        settings.predict_route or "/predict", predicting, methods=["POST"], response_model=PredictOut, responses=ERRORS
    )
    route = settings.health_route or "/vertex/health"
    if route != "/health":
        router.add_api_route(route, _health, methods=["GET"])
    return router


def _health(service: ServiceDep) -> JSONResponse:
    """Vertex AI sends predictions once this answers 200."""
    return readiness(service)


async def _predict(body: PredictBody, service: ServiceDep, caller: Viewer) -> Response:
    """Images for each instance; an answer that would be too large holds the addresses of the files instead."""
    if not caller.may("generate"):
        raise AccessError("This key may not generate", got=caller.scopes, allowed=["generate", "admin"], known=True)
    return await _respond(service, body, caller)


async def _predict_on_platform(body: PredictBody, service: ServiceDep) -> Response:
    """Images for each instance; an answer that would be too large holds the addresses of the files instead."""
    return await _respond(service, body, Caller("vertex", ("generate",)))


async def _respond(service: Service, body: PredictBody, caller: Caller) -> Response:
    shared = body.parameters or Parameters.model_validate({})
    default = await asyncio.to_thread(_only_model, service)
    requests = [to_request(service, _to_body(instance, shared, default)) for instance in body.instances]
    if sum(request.n for request in requests) > service.settings.max_at_once:
        raise OptionError(
            "A prediction holds fewer images than this",
            got=sum(request.n for request in requests),
            allowed=f"at most {service.settings.max_at_once} in one request",
            next_step="split the request, or use POST /v1/jobs",
        )
    jobs = await asyncio.gather(*(generate_and_wait(service, request, caller, how="predict") for request in requests))
    if not all(one.complete for one in jobs):
        raise BusyError(
            "The images are still being made", next_step="ask again: they will be there", retry_after_sec=10
        )
    return await asyncio.to_thread(_within_limit, service, jobs, shared.format)


def _within_limit(service: Service, jobs: list[GeneratedJob], form: ImageFormat) -> Response:
    """The response in the requested form, or with the addresses of the files where that would be too large."""
    text = _predictions_json(service, jobs, form)
    if form == "png" and len(text) > service.settings.max_answer_bytes:
        text = _predictions_json(service, jobs, "url")
    if len(text) > service.settings.max_answer_bytes:
        raise OptionError("Even without images the answer is too large", got=len(text), next_step="ask for fewer")
    return Response(text, media_type="application/json")


def _predictions_json(service: Service, jobs: list[GeneratedJob], form: ImageFormat) -> bytes:
    predictions = [
        {
            "job": one.job.id,
            "model": one.job.model_id,
            "seed": one.job.seed,
            "images": [_image(service, row, form) for row in one.images],
        }
        for one in jobs
    ]
    return json.dumps({"predictions": predictions}).encode()


def _image(service: Service, row: ImageRow, form: ImageFormat) -> dict[str, object]:
    facts: dict[str, object] = {"id": row.id, "class": row.class_name, "sha256": row.sha256}
    if form == "png":
        return facts | {"png": base64.b64encode(image_file(service.bank, row.id)[1]).decode()}
    store, life = service.bank.store, service.settings.link_sec
    facts["url"] = store.url(row.key)
    if form == "link":
        if (link := store.signed_url(row.key, life_sec=life)) is None:
            raise OptionError(
                "The bank's files lie where no signed links exist",
                got="link",
                allowed=["png", "url"],
                next_step="ask for another format, or keep the bank in a bucket",
            )
        facts |= {"link": link, "seconds": life}
    return facts


def _to_body(instance: Instance, shared: Parameters, model: str | None) -> GenerateBody:
    own = instance.model_dump(exclude_none=True)
    values = shared.model_dump(exclude_none=True, exclude={"format"}) | own
    if "model" not in values and model is None:
        raise OptionError("The bank holds several models", next_step='name one: {"parameters": {"model": …}}')
    try:
        return GenerateBody(**{"model": model, "count": 1} | values)
    except ValidationError as error:  # each part is valid by itself, but not together
        raise OptionError("An instance and the parameters do not fit together", got=error.errors()[0]["msg"]) from error


def _only_model(service: Service) -> str | None:
    with service.bank.catalogue.session(read_only=True) as session:
        names = [row.id for row in queries.list_models(status="published", session=session)]
    if not names:
        raise StateError("The bank holds no model", next_step="set AIP_STORAGE_URI, or train one")
    return names[0] if len(names) == 1 else None
