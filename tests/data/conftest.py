"""Images and files made on the spot."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def picture(seed: int, height: int = 64, width: int = 64) -> np.ndarray:
    """A smooth random colour image `[H, W, 3]`: neither blank nor blurred nor like another seed's."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)


def encoded(image: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    shown = image if isinstance(image, Image.Image) else Image.fromarray(image)
    shown.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(name="picture")
def picture_fixture() -> Callable[..., np.ndarray]:
    return picture


@pytest.fixture(name="encoded")
def encoded_fixture() -> Callable[..., bytes]:
    return encoded


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    """Two classes of four images."""
    root = tmp_path / "cells"
    for label, name in enumerate(("round", "spiky")):
        (root / name).mkdir(parents=True)
        for i in range(4):
            (root / name / f"p{i // 2}_{i}.png").write_bytes(encoded(picture(10 * label + i)))
    return root
