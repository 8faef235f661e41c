"""What one running service holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from synthbank.service.settings import ServiceSettings
from synthbank.workflows.bank import Bank

if TYPE_CHECKING:
    from synthbank.service.access import RateLimiter
    from synthbank.service.helper import Helper
    from synthbank.service.judge import Judge
    from synthbank.service.measures import Measures
    from synthbank.service.supervisor import Supervisor
    from synthbank.service.watch import JobWatch


@dataclass(frozen=True)
class Service:
    """Made when the application starts, and handed to every route."""

    settings: ServiceSettings
    bank: Bank
    secret: bytes
    limiter: RateLimiter
    measures: Measures
    supervisor: Supervisor
    watch: JobWatch
    helper: Helper
    judge: Judge


def _service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


ServiceDep = Annotated[Service, Depends(_service)]
