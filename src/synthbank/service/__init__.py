"""The service: an HTTP API and a studio over one bank. Images are made in worker processes, never in a request."""

from synthbank.service.app import create_app
from synthbank.service.settings import ServiceSettings

__all__ = ["ServiceSettings", "create_app"]
