"""The parts of one running service, handed to every route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from synthbank.service.evaluations import EvaluationQueue
from synthbank.service.monitoring import ServiceMetrics
from synthbank.service.rate_limit import RateLimiter
from synthbank.service.regeneration import Regenerator
from synthbank.service.settings import ServiceSettings
from synthbank.service.supervisor import Supervisor
from synthbank.service.watch import JobWatch
from synthbank.workflows.bank import Bank


@dataclass(frozen=True)
class Service:
    """Made when the application starts, and handed to every route."""

    settings: ServiceSettings
    bank: Bank
    secret: bytes
    limiter: RateLimiter
    metrics: ServiceMetrics
    supervisor: Supervisor
    watch: JobWatch
    regenerator: Regenerator
    evaluations: EvaluationQueue


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]
