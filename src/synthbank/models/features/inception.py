"""Inception v3 as FID and IS define it: the published TorchScript file, checked by its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from synthbank.errors import IntegrityError, SetupError
from synthbank.models.features.base import batched
from synthbank.records import UInt8Images

SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
"""Of `inception-2015-12-05.pt`."""

InceptionNetwork = Callable[[UInt8Images], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Images `[N, C, H, W]` uint8 to features `[N, 2048]` and class probabilities `[N, 1008]`."""


def load_inception(path: Path) -> InceptionNetwork:
    """The network in a TorchScript file, after its hash was compared.

    Raises:
        SetupError: no such file.
        IntegrityError: it is another file.
    """
    if not path.is_file():
        raise SetupError("No Inception weights", got=str(path), next_step="check SYNTHBANK_INCEPTION")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise IntegrityError("This is not inception-2015-12-05.pt", got=digest, allowed=SHA256, path=str(path))
    network = torch.jit.load(  # type: ignore[no-untyped-call]
        str(path), map_location="cpu"
    ).eval()

    @torch.inference_mode()
    def run(images: UInt8Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        features, probabilities = [], []
        for batch in batched(images, 32):
            x = torch.from_numpy(batch)
            x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
            features.append(network(x, return_features=True).numpy())
            probabilities.append(network(x, no_output_bias=True).numpy())
        return np.concatenate(features), np.concatenate(probabilities)

    return run
