"""The running service of the service tests."""

from ..service.conftest import client, home, service_home  # noqa: F401 (fixtures)
