"""Tiny published generators, originals of two kinds, and copies that no constant of the gate was chosen with."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

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


FILLS = {"reflected": ("reflect", 0), "edge": ("nearest", 0), "black": ("constant", 0), "white": ("constant", 255)}


def warped(image, matrix, shift=(0, 0), *, fill="reflected", order=1):
    """`[C, S, S]` moved: `matrix` maps places of the copy to places of the original, about the middle."""
    middle = np.full(2, (image.shape[-1] - 1) / 2)
    offset = middle - matrix @ middle + np.array(shift) * image.shape[-1]
    mode, value = FILLS[fill]
    moved = [
        ndimage.affine_transform(c.astype(float), matrix, offset, order=order, mode=mode, cval=value) for c in image
    ]
    return whole(np.stack(moved))


def whole(x):
    """To grey levels."""
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def turn(degrees):
    """Matrix of a rotation."""
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def rotation(image, rng):
    return warped(image, turn(rng.uniform(0, 360)), fill=str(rng.choice(list(FILLS))))


def zoom(image, rng):
    return warped(image, np.eye(2) / rng.uniform(0.75, 1.3), fill=str(rng.choice(list(FILLS))), order=3)


def shift(image, rng):
    return warped(image, np.eye(2), rng.uniform(0.1, 0.2, 2) * rng.choice([-1, 1], 2))


def crop(image, rng):
    side = rng.uniform(0.75, 0.85)
    return warped(image, np.eye(2) * side, rng.uniform(-(1 - side) / 2, (1 - side) / 2, 2), order=3)


def mirror_and_zoom(image, rng):
    return warped(image[..., ::-1], np.eye(2) / rng.choice([1.3, 1 / 1.3]))


def stretch(image, rng):
    return warped(image, np.diag(rng.permutation([1.0, 1 / 1.2])))


def blur(image, rng):
    return whole(np.stack([ndimage.gaussian_filter(c.astype(float), 3 * image.shape[-1] / 64) for c in image]))


def noise(image, rng):
    return whole(image + rng.normal(0, 20, image.shape))


def jpeg(image, rng):
    buffer = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(buffer, "JPEG", quality=10)
    pixels = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def elastic(image, rng):
    size = image.shape[-1]
    field = [ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 8) for _ in range(2)]
    places = np.mgrid[:size, :size] + np.stack(field) / np.abs(field).max() * 4 * size / 64
    return whole(np.stack([ndimage.map_coordinates(c.astype(float), places, order=1, mode="reflect") for c in image]))


def colour_matrix(image, rng):
    mixing = np.eye(len(image)) + rng.uniform(-0.3, 0.3, (len(image), len(image)))
    mean = image.mean(axis=(1, 2), keepdims=True)
    return whole(np.einsum("ij,jhw->ihw", mixing, image - mean) + mean + rng.uniform(-25, 25, (len(image), 1, 1)))


KINDS_OF_COPY = {
    "rotation": rotation,
    "zoom": zoom,
    "shift": shift,
    "crop": crop,
    "mirror and zoom": mirror_and_zoom,
    "stretch": stretch,
    "blur": blur,
    "noise": noise,
    "JPEG": jpeg,
    "elastic": elastic,
    "colour matrix": colour_matrix,
}


@pytest.fixture(scope="session")
def copy_of():
    """Maker of copies of images by a kind that the calibration does not know: SciPy interpolates, every fill occurs."""
    return lambda images, kind, rng: np.stack([KINDS_OF_COPY[kind](image, rng) for image in images])
