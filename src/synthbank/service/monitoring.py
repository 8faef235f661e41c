"""Prometheus metrics of the service: requests, the queue, workers, and images requested."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from synthbank.catalogue import queries
from synthbank.records import JobStatus
from synthbank.workflows.bank import Bank

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class ServiceMetrics:
    """The counters of one service process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("synthbank_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "synthbank_request_seconds", "Time to answer.", ("route",), buckets=_SECONDS, registry=self.registry
        )
        self.images_requested = Counter(
            "synthbank_images_requested", "Images requested, by model.", ("model",), registry=self.registry
        )
        self._jobs = Gauge("synthbank_jobs", "Jobs in the catalogue, by status.", ("status",), registry=self.registry)
        self._workers = Gauge("synthbank_workers", "Living workers of this server.", registry=self.registry)
        self._restarts = Gauge("synthbank_worker_restarts", "Workers started again.", registry=self.registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        # routes and methods from a fixed set: a client must not be able to create labels without end
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self, bank: Bank, *, workers: int, restarts: int) -> bytes:
        """Every metric in Prometheus' text format."""
        with bank.catalogue.session(read_only=True) as session:
            counts = queries.job_counts(session=session)
        for status in JobStatus:
            self._jobs.labels(status.value).set(counts.get(status.value, 0))
        self._workers.set(workers)
        self._restarts.set(restarts)
        return generate_latest(self.registry)
