"""The nearest original of an image, however the image was turned, cut, moved or recoloured, and their distance.

Images are compared by descriptors: grey, 32 pixels wide, band-passed, mean zero, length one. For descriptors `a` and
`b` the normalised cross-correlation at shift `u` is

    (1)  c(u) = sum_x a(x) b(x - u),   from -1 to 1; brightness and contrast have dropped out of it.

The distance is 1 - max_u c(u). To find that maximum among many originals:

    (2)  F[a(x - s)](k) = exp(-2 pi i k s) F[a](k): a shift leaves the magnitudes |F[a]| as they are (shift theorem).
    (3)  F[a(-x)] = conj F[a] for a real image: half a turn leaves them as well.
    (4)  c = inverse F[ F[a] conj F[b] ]: one inverse transform gives all shifts at once (correlation theorem).

Step 1 compares magnitudes by inner products, so by (2) and (3) few orientations and a handful of zoomed and tilted
views of each original are enough. Step 2 takes (4) for the originals that come out best.

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
"""Standard deviation of the Gaussian, in pixels of the descriptor; changes slower than this are taken off."""
_CUT = 12
"""Highest frequency that step 1 looks at, in cycles an image; above lie noise and compression."""
_CANDIDATES = 8
"""Originals of each image that go on from step 1 to step 2."""
_MOST_SHIFT = SIDE // 8
"""Largest shift, in pixels of the descriptor: an eighth of the side. Shifts are circular: more would wrap too much."""
_CHUNK = 64
"""Images that are compared at once; bounds the memory."""
_QUARTERS = ((False, 0), (False, 1), (True, 0), (True, 1))
"""Mirrored or not, and quarter turns: with the half turns of step 2, the eight symmetries of the square."""


def descriptors(images: UInt8Images) -> NDArray[np.float16]:
    """Descriptors of all views of originals `[M, C, S, S]` uint8: float16 `[M, len(VIEWS), 32, 32]`."""
    grey = _grey(images)
    # the plain view is not resampled, so that an unchanged copy has a distance of 0, up to rounding
    views = [_descriptor(grey if (zoom, tilt) == (1.0, 0.0) else _view(grey, zoom, tilt)) for zoom, tilt in VIEWS]
    return torch.stack(views, dim=1).half().numpy()


class Matcher:
    """Finds the nearest of M originals.

    Args:
        views: of `descriptors`, float16 `[M, V, 32, 32]`, M >= 1.
    """

    def __init__(self, views: NDArray[np.float16]) -> None:
        self._spectra = torch.fft.rfft2(torch.from_numpy(views).float())  # [M, V, 32, 17]
        self._magnitudes = _magnitudes(self._spectra)  # [M, V, F]

    def nearest(
        self, images: UInt8Images, *, own: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The distance from each image to the nearest original, and the position of that original.

        Args:
            images: `[N, C, S, S]`, uint8.
            own: `[N]`, an original that is no match for each image, such as the image itself; `None`: all may match.

        Returns:
            Distance `[N]`, 1 less the correlation (1): 0 is the same picture, 1 is unrelated (all of them where no
            other original is left); and position `[N]`, 0..M-1.
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
        descriptor = _descriptor(_grey(images))
        turned = [_turned(descriptor, mirrored, turns) for mirrored, turns in _QUARTERS]
        spectra = torch.fft.rfft2(torch.stack(turned, dim=1))  # [N, 4, 32, 17]
        n, (m, v) = len(images), self._magnitudes.shape[:2]
        # step 1: cosines of magnitude spectra, every orientation of an image with every view of an original
        alike = _magnitudes(spectra).flatten(0, 1) @ self._magnitudes.flatten(0, 1).T  # [N * 4, M * V]
        alike = alike.view(n, 4, m, v).transpose(1, 2).flatten(2)  # [N, M, 4 * V]
        alike, best = alike.max(dim=2)  # `best` numbers the pair: orientation * V + view
        if own is not None:
            alike[torch.arange(n), torch.from_numpy(own)] = -math.inf
        score, original = alike.topk(min(_CANDIDATES, m), dim=1)  # [N, K]
        # step 2: correlation of each candidate in its best orientation and view, over all small shifts
        chosen = best.gather(1, original)
        ours = spectra[torch.arange(n)[:, None], chosen // v]  # [N, K, 32, 17]
        correlation = _best_correlation(ours, self._spectra[original, chosen % v])
        correlation[score == -math.inf] = 0.0  # with fewer than K others, topk returns the excluded one as well
        highest, rank = correlation.max(dim=1)
        distance = (1.0 - highest.double()).clamp_min(0.0)  # rounding may put a correlation just above 1
        return distance.numpy(), original[torch.arange(n), rank].numpy()


def _best_correlation(ours: Tensor, theirs: Tensor) -> Tensor:
    """Highest correlation `[N, K]` over all small shifts, of descriptors given by their spectra; half turns as well."""
    # (4) for the image as it is, and by (3) for the image turned by half; on a grid of even size that half turn is off
    # by one pixel, hence one shift more at the negative end
    both = torch.stack([ours * theirs.conj(), ours.conj() * theirs.conj()], dim=2)
    correlations = torch.fft.irfft2(both, s=(SIDE, SIDE))  # [N, K, 2, 32, 32]
    # shifts are circular: 0, 1, ... stand at the front of an axis and ..., -2, -1 at its end
    near = torch.cat([correlations[..., : _MOST_SHIFT + 1, :], correlations[..., -_MOST_SHIFT - 1 :, :]], dim=-2)
    near = torch.cat([near[..., : _MOST_SHIFT + 1], near[..., -_MOST_SHIFT - 1 :]], dim=-1)
    return near.amax(dim=(2, 3, 4))


def _grey(images: UInt8Images) -> Tensor:
    """Mean over channels, float32 `[N, 1, S, S]`, 0..255."""
    # not luma: it hides the colours by which stains differ, and caught fewer moved copies
    return torch.from_numpy(np.ascontiguousarray(images)).float().mean(dim=1, keepdim=True)


def _view(grey: Tensor, zoom: float, tilt: float) -> Tensor:
    """Images `[N, 1, S, S]` closer (zoom below 1) or tilted (degrees); what lies outside is reflected."""
    along, across = zoom * math.cos(math.radians(tilt)), zoom * math.sin(math.radians(tilt))
    matrix = torch.tensor([[along, -across, 0.0], [across, along, 0.0]]).expand(len(grey), 2, 3)
    places = functional.affine_grid(matrix, list(grey.shape), align_corners=False)
    view: Tensor = functional.grid_sample(grey, places, mode="bicubic", padding_mode="reflection", align_corners=False)
    return view


def _descriptor(grey: Tensor) -> Tensor:
    """Descriptors `[N, 32, 32]` of grey images `[N, 1, S, S]`; zero for a flat image."""
    # area means drop fine grain and JPEG blocks, the difference to a blur drops shading and vignetting: a band-pass
    small = functional.interpolate(grey, size=(SIDE, SIDE), mode="area")
    x = (small - _blurred(small))[:, 0]
    # mean zero and length one make the inner product (1) a correlation coefficient
    x = x - x.mean(dim=(1, 2), keepdim=True)
    unit: Tensor = x / torch.linalg.vector_norm(x, dim=(1, 2)).clamp_min(1e-3)[:, None, None]
    return unit


def _blurred(x: Tensor) -> Tensor:
    """Gaussian blur of `[N, 1, H, W]`, one axis after the other, borders reflected."""
    radius = int(3 * _BLUR)
    kernel = torch.exp(-torch.arange(-radius, radius + 1).float().square() / (2 * _BLUR**2))
    kernel = kernel / kernel.sum()
    x = functional.pad(x, (radius, radius, radius, radius), mode="reflect")
    return functional.conv2d(functional.conv2d(x, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))


def _turned(descriptor: Tensor, mirrored: bool, turns: int) -> Tensor:
    return torch.rot90(descriptor.flip(-1) if mirrored else descriptor, turns, (-2, -1))


def _magnitudes(spectra: Tensor) -> Tensor:
    """Roots of the magnitudes of the lower frequencies `[..., 32, 17]` to `[..., F]`, mean zero and length one."""
    # roots, as the lowest frequencies of a photograph are far stronger than the others and would decide alone
    root = spectra.abs().sqrt()
    # of the real transform's half plane: rows 0..12 and -12..-1, columns 0..12
    low = torch.cat([root[..., : _CUT + 1, : _CUT + 1], root[..., -_CUT:, : _CUT + 1]], dim=-2).flatten(-2)
    low = low - low.mean(dim=-1, keepdim=True)
    unit: Tensor = low / torch.linalg.vector_norm(low, dim=-1, keepdim=True).clamp_min(1e-6)
    return unit
