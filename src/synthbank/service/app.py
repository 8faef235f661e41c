"""The application: routes, guards and handlers around one bank."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from synthbank import __version__
from synthbank.service import problems
from synthbank.service.evaluations import EvaluationQueue
from synthbank.service.guard import Guard
from synthbank.service.monitoring import ServiceMetrics
from synthbank.service.pages import access, data, evidence, reading, training
from synthbank.service.pages import images as image_pages
from synthbank.service.rate_limit import RateLimiter
from synthbank.service.regeneration import Regenerator
from synthbank.service.routes import bank as bank_routes
from synthbank.service.routes import health, images, jobs, keys, readers, runs
from synthbank.service.routes.vertex import vertex_router
from synthbank.service.settings import ServiceSettings
from synthbank.service.state import Service
from synthbank.service.supervisor import Supervisor
from synthbank.service.watch import JobWatch
from synthbank.workflows.bank import open_bank

_DESCRIPTION = """\
Makes synthetic biomedical images on request, and keeps every one of them in a catalogue. Synthetic images are not
observations: not for diagnosis, nor for any claim about a patient.

Send a key as `Authorization: Bearer sb_…`; on a loopback address none is needed. Every 4xx or 5xx response has the same
body: `what` was wrong, what was `got`, what is `allowed`, and what to do `next`.
"""


def create_app(settings: ServiceSettings) -> FastAPI:
    """An application that opens the bank and starts its workers when it is started.

    Args:
        settings: of the service.
    """
    metrics = ServiceMetrics()
    app = FastAPI(
        title="SynthBank",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # FastAPI's own pages load scripts from another host
        redoc_url=None,
        lifespan=lambda app: _lifespan(app, settings, metrics),
    )
    app.add_middleware(Guard, settings=settings, observe=metrics.observe)
    problems.register(app)
    for routes in (jobs, images, bank_routes, runs, readers, keys, health):
        app.include_router(routes.router)
    for pages in (image_pages, training, evidence, reading, data, access):
        app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    app.include_router(vertex_router(settings.vertex))
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, settings: ServiceSettings, metrics: ServiceMetrics) -> AsyncIterator[None]:
    secret = settings.signing_secret()
    with open_bank(settings) as bank:
        if settings.vertex.storage_uri is not None:
            from synthbank.workflows.models.transfer import import_model  # which loads torch

            import_model(bank, settings.vertex.storage_uri)
        service = Service(
            settings=settings,
            bank=bank,
            secret=secret,
            limiter=RateLimiter(settings.rate_per_minute),
            metrics=metrics,
            supervisor=Supervisor(settings),
            watch=JobWatch(bank),
            regenerator=Regenerator(settings),
            evaluations=EvaluationQueue(settings),
        )
        app.state.service = service
        service.supervisor.start()
        service.watch.start()
        service.evaluations.start(bank)
        try:
            yield
        finally:
            await service.watch.stop()
            service.supervisor.stop()
            service.regenerator.stop()
            service.evaluations.stop()
