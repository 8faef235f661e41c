"""A user's own frozen encoder, such as a pathology foundation model, as a feature space: TorchScript or ONNX."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from synthbank.errors import InputError, OptionError, SetupError
from synthbank.models.features.base import FeatureNetwork

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SIZE = 224
_KEYS = {"size", "mean", "std"}


class UserEncoder(FeatureNetwork):
    """An encoder from a file. Its name holds the file's hash, so that scores of two encoders never mix.

    It is fed float `[N, 3, S, S]`: 0..1, less `mean`, over `std`. Its output is `[N, D]`; of tokens `[N, T, D]`
    the first is taken, and of maps `[N, D, h, w]` the average.

    Args:
        run: the network, float32 in and out.
        digest: SHA-256 of the file.
        size: side that images are resized to.
        mean: of each channel.
        std: of each channel.
    """

    tap_channels = ()

    def __init__(
        self,
        run: Callable[[Tensor], Tensor],
        digest: str,
        *,
        size: int = _SIZE,
        mean: tuple[float, ...] = _MEAN,
        std: tuple[float, ...] = _DEVIATION,
    ) -> None:
        super().__init__()
        self._run, self.input_size, self.digest = run, size, digest
        options = json.dumps([size, mean, std])
        self.name = "enc" + hashlib.sha256((digest + options).encode()).hexdigest()[:8]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        with torch.inference_mode():
            self.dim = self.pooled(torch.zeros(1, 3, size, size)).shape[1]

    @property
    def fingerprint(self) -> str:
        """The name holds the hashes of file and settings."""
        return self.digest + self.name

    def taps(self, images: Tensor) -> list[Tensor]:
        """A user's encoder has no known stages; it cannot stand inside a discriminator."""
        raise OptionError("A user's encoder gives vectors alone", got=self.name, next_step="use lite0 or lite1")

    @override
    def pooled(self, images: Tensor) -> Tensor:
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        out = self._run((((images + 1.0) / 2.0 - mean) / std).contiguous())
        if not isinstance(out, Tensor) or out.ndim not in (2, 3, 4):
            shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise InputError(
                "The encoder's output is not understood",
                got=shape,
                allowed="one tensor [N, D], [N, T, D] or [N, D, h, w]",
                next_step="wrap it so that its forward pass returns one vector an image",
            )
        out = out[:, 0] if out.ndim == 3 else out.mean(dim=(2, 3)) if out.ndim == 4 else out
        return out.float()


def load_encoder(path: Path) -> UserEncoder:
    """An encoder from a TorchScript (`.pt`) or ONNX (`.onnx`) file; `NAME.json` beside it may hold size, mean and std.

    A TorchScript file is code: give only files that you trust.

    Raises:
        SetupError: no such file, or `onnxruntime` is not installed.
        InputError: the file, its settings or its output are not understood.
    """
    if not path.is_file():
        raise SetupError("No encoder file", got=str(path), next_step="check --encoder or SYNTHBANK_ENCODER")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    run = _onnx(path) if path.suffix == ".onnx" else _torchscript(path)
    return UserEncoder(run, digest, **_settings(path.with_suffix(".json"))).eval().requires_grad_(False)


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text())
        settings: dict[str, Any] = {k: v if k == "size" else tuple(float(x) for x in v) for k, v in values.items()}
        size = settings.get("size", _SIZE)
        fits = set(settings) <= _KEYS and all(len(v) == 3 for k, v in settings.items() if k != "size")
        fits = fits and isinstance(size, int) and size >= 8
    except (ValueError, TypeError, AttributeError):
        fits, values = False, path.read_text()[:80]
    if not fits:
        raise InputError(
            "The encoder's settings are not understood",
            got=values,
            allowed='{"size": 224, "mean": [r, g, b], "std": [r, g, b]}',
            path=str(path),
        )
    return settings


def _torchscript(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        module: nn.Module = torch.jit.load(  # type: ignore[no-untyped-call]
            str(path), map_location="cpu"
        ).eval()
    except RuntimeError as error:
        raise InputError(
            "The encoder is no TorchScript file",
            got=str(path),
            allowed=".pt of torch.jit.save, or .onnx",
            next_step="save it with torch.jit.trace(...).save(...)",
        ) from error
    return module


def _onnx(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        import onnxruntime
    except ImportError as error:
        raise SetupError(
            "An ONNX encoder needs onnxruntime", got="not installed", next_step="pip install 'synthbank[onnx]'"
        ) from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own that it does not export
        raise InputError("The encoder is no ONNX file", got=str(path), next_step="export it again") from error
    name = session.get_inputs()[0].name

    def run(images: Tensor) -> Tensor:
        out: NDArray[np.float32] = session.run(None, {name: images.numpy()})[0]
        return torch.from_numpy(np.asarray(out))

    return run
