"""SynthBank: an artificial database of synthetic biomedical images from a small labelled folder."""

from importlib import import_module as _import_module
from typing import Any as _Any

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__", "as_torch_dataset"]


def __getattr__(name: str) -> _Any:
    """The client's names, loaded when first used: `import synthbank` stays light."""
    if name in __all__:
        return getattr(_import_module("synthbank.client"), name)
    raise AttributeError(f"module 'synthbank' has no attribute '{name}'")
