"""Which original an image shows, however it was turned, cut, moved or recoloured; and how alike the two are.

Two images are laid over each other as outlines: grey, 32 pixels wide, slow changes taken off, one length. Their
correlation at the best place does not depend on brightness or contrast. To find that place among many originals:

1. The strength of an outline's spatial frequencies does not change when the image is moved or turned by half. So few
   orientations and a handful of zoomed and tilted views of each original are compared by inner products.
2. For the originals that come out best, all shifts are tried at once by the correlation theorem.

Source: Lewis 1995, "Fast normalized cross-correlation" (step 2); the Fourier magnitude as a shift-invariant is
textbook knowledge (Oppenheim and Lim 1981).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from synthbank.records import UInt8Images

SIDE = 32
VIEWS = ((1.0, 0.0), (0.95, 0.0), (0.9, 0.0), (1.0, 7.0), (1.0, -7.0))
"""Zoom (below 1 shows a part) and tilt in degrees of the views that are kept of every original."""
_BLUR = 3.0
"""Pixels of the outline; changes slower than this are taken off."""
_CUT = 12
"""Highest frequency that step 1 looks at, in cycles an image; above lie noise and compression."""
_CANDIDATES = 8
_MOST_SHIFT = SIDE // 8
_CHUNK = 64
_QUARTERS = ((False, 0), (False, 1), (True, 0), (True, 1))
"""Mirrored or not, and quarter turns: with the half turns of step 2, the eight symmetries of the square."""


def descriptors(images: UInt8Images) -> NDArray[np.float16]:
    """The views of originals that a matcher needs, float16 `[M, len(VIEWS), 32, 32]`."""
    grey = _grey(images)
    views = [_descriptor(grey if (zoom, tilt) == (1.0, 0.0) else _seen(grey, zoom, tilt)) for zoom, tilt in VIEWS]
    return torch.stack(views, dim=1).half().numpy()


class Matcher:
    """Finds the nearest of M originals.

    Args:
        views: of `outlines`, float16 `[M, V, 32, 32]`, M >= 1.
    """

    def __init__(self, views: NDArray[np.float16]) -> None:
        outline = torch.from_numpy(views).float()
        self._spectra = torch.fft.rfft2(outline)  # [M, V, 32, 17]
        self._strengths = _strength(self._spectra)  # [M, V, F]

    def nearest(
        self, images: UInt8Images, *, own: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """How unlike each image is to the original most like it, and which that is.

        Args:
            images: `[N, C, S, S]`, uint8.
            own: `[N]`, an original that is no match for each image; `None`: all may match.

        Returns:
            Distance `[N]`, 1 less the correlation: 0 is laid over exactly, 1 is unrelated (all of them where no other
            original is left); and position `[N]`.
        """
        parts = [
            self._nearest(images[i : i + _CHUNK], None if own is None else own[i : i + _CHUNK])
            for i in range(0, len(images), _CHUNK)
        ]
        if not parts:
            return np.zeros(0), np.zeros(0, np.int64)
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    @torch.inference_mode()
    def _nearest(
        self, images: UInt8Images, own: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        outline = _descriptor(_grey(images))
        turned = [_laid(outline, mirrored, turns) for mirrored, turns in _QUARTERS]
        spectra = torch.fft.rfft2(torch.stack(turned, dim=1))  # [N, 4, 32, 17]
        n, (m, v) = len(images), self._strengths.shape[:2]
        alike = _strength(spectra).flatten(0, 1) @ self._strengths.flatten(0, 1).T
        alike = alike.view(n, 4, m, v).transpose(1, 2).flatten(2)  # [N, M, 4 * V]
        alike, best = alike.max(dim=2)
        if own is not None:
            alike[torch.arange(n), torch.from_numpy(own)] = -math.inf
        score, original = alike.topk(min(_CANDIDATES, m), dim=1)  # [N, K]
        chosen = best.gather(1, original)
        ours = spectra[torch.arange(n)[:, None], chosen // v]  # [N, K, 32, 17]
        correlation = _best_place(ours, self._spectra[original, chosen % v])
        correlation[score == -math.inf] = 0.0
        found, rank = correlation.max(dim=1)
        distance = (1.0 - found.double()).clamp_min(0.0)
        return distance.numpy(), original[torch.arange(n), rank].numpy()


def _best_place(ours: Tensor, theirs: Tensor) -> Tensor:
    """Highest correlation `[N, K]` over all small shifts, of outlines given by their spectra; half turns as well."""
    # a half turn of a real image conjugates its spectrum, up to a shift by one pixel
    both = torch.stack([ours * theirs.conj(), ours.conj() * theirs.conj()], dim=2)
    laid = torch.fft.irfft2(both, s=(SIDE, SIDE))  # [N, K, 2, 32, 32]
    near = torch.cat([laid[..., : _MOST_SHIFT + 1, :], laid[..., -_MOST_SHIFT - 1 :, :]], dim=-2)
    near = torch.cat([near[..., : _MOST_SHIFT + 1], near[..., -_MOST_SHIFT - 1 :]], dim=-1)
    return near.amax(dim=(2, 3, 4))


def _grey(images: UInt8Images) -> Tensor:
    """`[N, 1, S, S]`, mean over channels: luma hides what stains differ in, and caught fewer moved copies."""
    return torch.from_numpy(np.ascontiguousarray(images)).float().mean(dim=1, keepdim=True)


def _seen(grey: Tensor, zoom: float, tilt: float) -> Tensor:
    """Images seen closer (zoom below 1) or tilted; what lies outside is reflected."""
    along, across = zoom * math.cos(math.radians(tilt)), zoom * math.sin(math.radians(tilt))
    matrix = torch.tensor([[along, -across, 0.0], [across, along, 0.0]]).expand(len(grey), 2, 3)
    places = functional.affine_grid(matrix, list(grey.shape), align_corners=False)
    seen: Tensor = functional.grid_sample(grey, places, mode="bicubic", padding_mode="reflection", align_corners=False)
    return seen


def _descriptor(grey: Tensor) -> Tensor:
    """`[N, 1, S, S]` to `[N, 32, 32]`: slow changes off, mean zero, length one; zero for a flat image."""
    small = functional.interpolate(grey, size=(SIDE, SIDE), mode="area")
    x = (small - _blurred(small))[:, 0]
    x = x - x.mean(dim=(1, 2), keepdim=True)
    unit: Tensor = x / torch.linalg.vector_norm(x, dim=(1, 2)).clamp_min(1e-3)[:, None, None]
    return unit


def _blurred(x: Tensor) -> Tensor:
    radius = int(3 * _BLUR)
    kernel = torch.exp(-torch.arange(-radius, radius + 1).float().square() / (2 * _BLUR**2))
    kernel = kernel / kernel.sum()
    x = functional.pad(x, (radius, radius, radius, radius), mode="reflect")
    return functional.conv2d(functional.conv2d(x, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))


def _laid(outline: Tensor, mirrored: bool, turns: int) -> Tensor:
    return torch.rot90(outline.flip(-1) if mirrored else outline, turns, (-2, -1))


def _strength(spectra: Tensor) -> Tensor:
    """Roots of the magnitudes of the lower frequencies `[..., 32, 17]` to `[..., F]`, mean zero and length one."""
    root = spectra.abs().sqrt()
    low = torch.cat([root[..., : _CUT + 1, : _CUT + 1], root[..., -_CUT:, : _CUT + 1]], dim=-2).flatten(-2)
    low = low - low.mean(dim=-1, keepdim=True)
    unit: Tensor = low / torch.linalg.vector_norm(low, dim=-1, keepdim=True).clamp_min(1e-6)
    return unit
