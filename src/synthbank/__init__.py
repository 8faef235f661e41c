"""SynthBank: an artificial database of synthetic biomedical images from a small labelled folder.

>>> import synthbank
>>> with synthbank.open_bank("bank") as bank:  # doctest: +SKIP
...     bank.ingest("photos", name="cells")
...     model = bank.train("cells").model
...     job = bank.generate(model.id, n=200).job
...     bank.export(job.id, to="images.zip")
"""

import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from synthbank.api import Bank, open_bank
    from synthbank.client import AsyncClient, Client, as_torch_dataset
    from synthbank.data import IngestOptions
    from synthbank.errors import SynthBankError
    from synthbank.settings import Settings
    from synthbank.workflows.delivery.export import ExportRequest
    from synthbank.workflows.evaluation.requests import BiasRequest, EvaluateRequest, ReportRequest, UtilityRequest
    from synthbank.workflows.generation.requests import GenerateRequest
    from synthbank.workflows.training.requests import TrainRequest

__version__ = "0.1.0"
__all__ = [
    "AsyncClient",
    "Bank",
    "BiasRequest",
    "Client",
    "EvaluateRequest",
    "ExportRequest",
    "GenerateRequest",
    "IngestOptions",
    "ReportRequest",
    "Settings",
    "SynthBankError",
    "TrainRequest",
    "UtilityRequest",
    "__version__",
    "as_torch_dataset",
    "open_bank",
]

_HOMES = {
    "synthbank.api": ("Bank", "open_bank"),
    "synthbank.client": ("AsyncClient", "Client", "as_torch_dataset"),
    "synthbank.data": ("IngestOptions",),
    "synthbank.errors": ("SynthBankError",),
    "synthbank.settings": ("Settings",),
    "synthbank.workflows.delivery.export": ("ExportRequest",),
    "synthbank.workflows.evaluation.requests": ("BiasRequest", "EvaluateRequest", "ReportRequest", "UtilityRequest"),
    "synthbank.workflows.generation.requests": ("GenerateRequest",),
    "synthbank.workflows.training.requests": ("TrainRequest",),
}


def __getattr__(name: str) -> _typing.Any:
    """A public name, imported when first used: `import synthbank` alone loads none of the rooms."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(_import_module(module), name)
    raise AttributeError(f"module 'synthbank' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})
