"""Weights on disk: safetensors for the numbers, JSON for everything else; never pickles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from synthbank.errors import IntegrityError

_RENAMED_LAYERS = {"judge": "to_logits"}
"""Layers whose name has changed: the name in stored weights of earlier versions, and today's name."""


def save_tensors(tensors: Mapping[str, Tensor], *, header: Mapping[str, Any] | None = None) -> bytes:
    """Bytes of a safetensors file.

    Args:
        tensors: named tensors on any device; stored contiguous.
        header: JSON values stored in the file's own metadata.
    """
    plain = {k: t.detach().cpu().contiguous().clone() for k, t in tensors.items()}
    return save(plain, metadata={"synthbank": json.dumps(dict(header or {}), sort_keys=True)})


def load_tensors(data: bytes, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Tensors of a safetensors file; raises `IntegrityError` if the bytes are damaged or not those recorded."""
    if sha256 is not None and (got := hashlib.sha256(data).hexdigest()) != sha256:
        raise IntegrityError(
            "A weights file does not match its recorded hash", got=got, allowed=sha256, next_step="fetch the file again"
        )
    try:
        return dict(load(data))
    except SafetensorError as error:
        raise IntegrityError("A weights file is damaged", got=str(error), next_step="fetch the file again") from error


def read_header(data: bytes) -> dict[str, Any]:
    """The JSON values that `save_tensors` stored beside the tensors; raises `IntegrityError` as `load_tensors` does."""
    size = int.from_bytes(data[:8], "little")
    try:
        meta = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    except ValueError as error:
        raise IntegrityError("A weights file is damaged", got=str(error), next_step="fetch the file again") from error
    return dict(json.loads(meta.get("synthbank", "{}")))


def read_legacy_keys(tensors: Mapping[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors under today's names of their layers; stored files are never rewritten.

    Args:
        tensors: of one network, as a published model, a snapshot or a training state holds them.
        expected: names that the network gives its tensors today. A name among them is not changed, so that an
            architecture from outside may call a layer as it likes.

    >>> from torch import zeros
    >>> list(read_legacy_keys({"heads.0.judge.bias": zeros(1)}, {"heads.0.to_logits.bias"}))
    ['heads.0.to_logits.bias']
    """
    return {_todays_name(name, expected): tensor for name, tensor in tensors.items()}


def _todays_name(name: str, expected: Collection[str]) -> str:
    renamed = ".".join(_RENAMED_LAYERS.get(part, part) for part in name.split("."))
    return renamed if name not in expected and renamed in expected else name


def state_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Hash over names, shapes and values; equal exactly when every weight is bit-equal."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
