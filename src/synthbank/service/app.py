"""The application: routes, guards and handlers around one bank."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from synthbank import __version__
from synthbank.service import problems
from synthbank.service.access import RateLimiter
from synthbank.service.guard import Guard
from synthbank.service.helper import Helper
from synthbank.service.judge import Judge
from synthbank.service.measures import Measures
from synthbank.service.pages import access, insight, reading, studio
from synthbank.service.routes import bank, health, images, jobs, keys, readers, runs
from synthbank.service.routes.vertex import vertex_router
from synthbank.service.settings import ServiceSettings
from synthbank.service.state import Service
from synthbank.service.supervisor import Supervisor
from synthbank.service.watch import JobWatch
from synthbank.workflows.bank import open_bank
from synthbank.workflows.models.adopt import adopt_model

_DESCRIPTION = """\
Makes synthetic biomedical images on request, and keeps every one of them in a catalogue. Synthetic images are not
observations: not for diagnosis, nor for any claim about a patient.

Send a key as `Authorization: Bearer sb_…`; on a loopback address none is needed. Every answer above 399 has the same
body: what was wrong, what was got, what is allowed, and what to do next.
"""


def create_app(settings: ServiceSettings) -> FastAPI:
    """An application that opens the bank and starts its workers when it is started.

    Args:
        settings: see `ServiceSettings`.
    """
    measures = Measures()
    app = FastAPI(
        title="SynthBank",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # they load scripts from another host
        redoc_url=None,
        lifespan=lambda app: _life(app, settings, measures),
    )
    app.add_middleware(Guard, settings=settings, observe=measures.observe)
    problems.register(app)
    for module in (jobs, images, bank, runs, readers, keys, health, studio, insight, reading, access):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    app.include_router(vertex_router(settings.vertex))
    return app


@asynccontextmanager
async def _life(app: FastAPI, settings: ServiceSettings, measures: Measures) -> AsyncIterator[None]:
    secret = settings.signing_secret()
    with open_bank(settings) as found:
        if settings.vertex.storage_uri is not None:
            adopt_model(found, settings.vertex.storage_uri)
        watch, supervisor = JobWatch(found), Supervisor(settings)
        helper, judge = Helper(settings), Judge(settings)
        limiter = RateLimiter(settings.rate_per_minute)
        app.state.service = Service(settings, found, secret, limiter, measures, supervisor, watch, helper, judge)
        supervisor.start()
        watch.start()
        judge.start(found)
        try:
            yield
        finally:
            await watch.stop()
            supervisor.stop()
            helper.stop()
            judge.stop()
