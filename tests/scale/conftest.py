"""The trained bank of the workflow tests."""

from ..workflows.conftest import home, trained_home  # noqa: F401 (fixtures)
