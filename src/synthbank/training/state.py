"""The training state of a run folder, written so that a kill at any moment leaves the whole old one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from synthbank.models.weights import load_tensors, read_header, save_tensors
from synthbank.storage import write_atomic

_STATE = "state.safetensors"


def write_state(folder: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Replace the folder's training state: the new file takes the place of the old one in one operation."""
    write_atomic(folder / _STATE, save_tensors(tensors, header=values))


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The folder's training state; `None` where there is none yet. Removes the remains of killed writes."""
    for left_over in folder.rglob(".*.part"):  # a write was killed before it renamed its file
        left_over.unlink()
    path = folder / _STATE
    if not path.exists():
        return None
    data = path.read_bytes()  # once: tensors and header must be of the same write
    return load_tensors(data), read_header(data)


def state_size(folder: Path) -> int | None:
    """Side in pixels of the images that the folder's training state makes; `None` where there is none yet."""
    path = folder / _STATE
    return int(read_header(path.read_bytes())["size"]) if path.exists() else None
