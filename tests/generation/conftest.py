"""Tiny published generators and originals of two kinds."""

import numpy as np
import pytest
import torch

from synthbank.fingerprint import pixel_sha256
from synthbank.models import ModelSpec, architectures, fused_state, load_fused
from synthbank.records import LabelledImages

OPTIONS = {
    "dcgan": {"base": 4},
    "diffusion": {"base": 4, "sampling_steps": 4},
    "projected": {"width": 0.125},
    "r3gan": {"base": 4, "depth": 1},
    "sagan": {"base": 4},
    "stylegan2": {"base": 4},
}


def make_generator(architecture="projected", *, seed=0, size=32, channels=3, class_names=("a", "b")):
    """A baked generator whose every weight was moved at random, so that classes and noise have an effect."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        spec = ModelSpec(
            architecture, size, channels, class_names, latent_dim=16, options=OPTIONS.get(architecture, {})
        )
        generator = architectures.get(architecture).generator(spec).eval()
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        return load_fused(spec, fused_state(generator))


def make_pictures(n, *, seed=0, size=32, channels=3):
    """Pictures of a few coloured discs, `[n, C, size, size]` uint8; each is unlike the others and its own mirrors."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    images = np.empty((n, channels, size, size))
    for image in images:
        image[:] = rng.uniform(60, 200, channels)[:, None, None]
        for _ in range(5):
            y, x, radius = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(size / 10, size / 3)
            disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
            image[:, disc] = rng.uniform(0, 255, channels)[:, None]
    return np.clip(images + rng.normal(0, 3, images.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def build_generator():
    """`make_generator`, for tests that need more than one."""
    return make_generator


@pytest.fixture(scope="session")
def build_pictures():
    """`make_pictures`, for tests that need more than one set."""
    return make_pictures


@pytest.fixture(scope="session")
def label():
    """Maker of a labelled set with pixel hashes, as the catalogue hands it over."""

    def make(images):
        hashes = tuple(pixel_sha256(image) for image in images)
        return LabelledImages(images, np.zeros(len(images), np.int64), ("a",), hashes)

    return make
