"""pytest plugin for an environment without torch and without extras: tests that need one are skipped, and say so."""

from __future__ import annotations

from collections.abc import Generator

import pytest

_LEFT_OUT = {
    *("torch", "lightning_fabric", "safetensors", "tensorboard", "efficientnet_lite_pytorch"),
    *("cryptography", "flask", "gcp_storage_emulator", "gcsfs", "google", "moto", "psycopg", "ray", "s3fs"),
    *("onnx", "onnxruntime", "monai", "schemathesis", "selenium", "hcl2"),
}
"""Modules that `scripts/other_pythons.sh` does not install."""
AnyReport = pytest.CollectReport | pytest.TestReport


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, AnyReport, AnyReport]:
    """A file or folder that needs a module that was left out."""
    report = yield
    return _skipped(report, getattr(report, "call", None), str(collector.path))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, AnyReport, AnyReport]:
    """A test that needs a module that was left out."""
    report = yield
    return _skipped(report, call, str(item.path))


def _skipped(report: AnyReport, call: pytest.CallInfo[None] | None, path: str) -> AnyReport:
    name = None if call is None or call.excinfo is None else _missing(call.excinfo.value)
    if name is not None:
        report.outcome, report.longrepr = "skipped", (path, 0, f"Skipped: needs {name}")
    return report


def _missing(error: BaseException | None) -> str | None:
    """Name of the module that was left out and made this error; `None`: it is another error."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in _LEFT_OUT:
            return error.name
        error = error.__cause__ or error.__context__
    return None
