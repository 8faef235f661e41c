"""Alignment of an image with an original by an affine map, and how alike the two are once laid over each other.

The map is found in two steps: the shift by phase-free correlation (Lewis 1995), then all six parameters by the enhanced
correlation coefficient (Evangelidis and Psarakis 2008, "Parametric image alignment using enhanced correlation
coefficient maximization", equations 19 and 20), which brightness and contrast do not disturb.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from synthbank.generation.descriptors import BAND_SIDE, COLOUR_SIDE, GREY_SIDE, Descriptors

_BEGUN, KEPT = 4, 2
"""Candidates of an image whose alignment is refined by the first steps, and by all of them."""
_FIRST_STEPS, _LAST_STEPS = 3, 5
_MOST_SHIFT = 11
"""Largest shift, in pixels of the band-passed picture: a third of the side."""
_LEAST_COVERAGE = 0.45
"""Least share of the image that must lie over the original."""
_LEAST_AREA, _MOST_AREA = 0.35, 2.6
"""Range of the determinant of the map; outside, a step is not taken."""
_LONGEST_STEP = 0.15
FEATURES = ("band", "fine", "colour", "coverage", "anisotropy")
"""Names of the features of an aligned pair, in order."""


@dataclass(frozen=True)
class Reference:
    """Filtered pictures of all originals."""

    band: Tensor
    fine: Tensor
    colours: Tensor

    @classmethod
    def of(cls, pictures: Descriptors) -> Reference:
        """From descriptors."""
        return cls(pictures.band(), pictures.fine(), pictures.soft_colours())


@dataclass(frozen=True)
class Aligned:
    """The best K of the candidates of N images, after alignment."""

    original: Tensor
    """`[N, K]`, int64."""
    features: Tensor
    """`[N, K, len(FEATURES)]`, float32."""


def align(images: Reference, originals: Reference, original: Tensor, pose: Tensor) -> Aligned:
    """Align images with their candidates.

    Args:
        images: of N images.
        originals: of all originals.
        original: candidates `[N, K]`.
        pose: first guess of the linear part, `[N, K, 2, 2]`; half a turn more is tried as well.
    """
    pose, original = torch.cat([pose, -pose], dim=1), torch.cat([original, original], dim=1)
    height, shift = _best_shift(images.band, originals.band[original.flatten()], pose)
    chosen = height.topk(min(_BEGUN, height.shape[1]), dim=1).indices
    rows = torch.arange(len(chosen))[:, None]
    original = original[rows, chosen]
    maps = torch.cat([pose[rows, chosen], shift[rows, chosen]], dim=-1)  # [N, K, 2, 3]
    correlation, maps = _refined(images, originals, original, maps, _FIRST_STEPS)
    chosen = correlation.topk(min(KEPT, correlation.shape[1]), dim=1).indices
    original, maps = original[rows, chosen], maps[rows, chosen]
    correlation, maps = _refined(images, originals, original, maps, _LAST_STEPS)
    features = _features(images, originals, original, correlation.flatten(), maps.flatten(0, 1))
    return Aligned(original, features.view(*original.shape, -1))


def _refined(
    images: Reference, originals: Reference, original: Tensor, maps: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Correlations `[N, K]` and maps `[N, K, 2, 3]` after some steps."""
    n, k = original.shape
    ours = images.band[torch.arange(n).repeat_interleave(k)]
    correlation, refined = _refine(ours, originals.band[original.flatten()], maps.flatten(0, 1), steps)
    return correlation.view(n, k), refined.view(n, k, 2, 3)


def _best_shift(band: Tensor, theirs: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Height of the correlation `[N, K]` at the best shift, and the shift as part of the map, `[N, K, 2, 1]`."""
    n, k = pose.shape[:2]
    maps = functional.pad(pose, (0, 1)).reshape(n * k, 2, 3)
    turned = _sampled(theirs, maps, BAND_SIDE, "zeros")[:, 0]
    turned = turned / torch.linalg.vector_norm(turned, dim=(1, 2)).clamp_min(1e-6)[:, None, None]
    ours = band[:, 0] / torch.linalg.vector_norm(band[:, 0], dim=(1, 2)).clamp_min(1e-6)[:, None, None]
    # padded by the largest shift, so that nothing wraps around
    padded = (BAND_SIDE + _MOST_SHIFT + 1, BAND_SIDE + _MOST_SHIFT + 1)
    product = (
        torch.fft.rfft2(ours, s=padded)[:, None] * torch.fft.rfft2(turned, s=padded).view(n, k, padded[0], -1).conj()
    )
    correlation = torch.fft.irfft2(product, s=padded)
    shifts = torch.cat([torch.arange(_MOST_SHIFT + 1), torch.arange(-_MOST_SHIFT, 0)])
    near = correlation[:, :, shifts % padded[0]][..., shifts % padded[0]]
    # where less of the two overlaps, the correlation of unrelated pictures spreads less, by the root of the overlap
    overlap = (1 - shifts.abs() / BAND_SIDE).sqrt()
    near = (near / (overlap[:, None] * overlap)).flatten(2)
    height, place = near.max(dim=2)
    move = torch.stack([shifts[place % len(shifts)], shifts[place // len(shifts)]], dim=-1) * (2.0 / BAND_SIDE)
    # image(x) = original(A (x - d))
    return height, -(pose @ move[..., None])


def _refine(ours: Tensor, theirs: Tensor, maps: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Correlation `[N]` and map `[N, 2, 3]` after the steps of the enhanced correlation coefficient."""
    side = BAND_SIDE
    middle = (torch.arange(side) + 0.5) * 2 / side - 1
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(-1, 3)  # [P, 3]
    slope_x = (torch.roll(theirs, -1, -1) - torch.roll(theirs, 1, -1)) * (side / 4)
    slope_y = (torch.roll(theirs, -1, -2) - torch.roll(theirs, 1, -2)) * (side / 4)
    picture = torch.cat([theirs, slope_x, slope_y], dim=1)
    flat = ours.flatten(1)
    best = torch.full((len(ours),), -2.0)
    best_maps = maps
    for step in range(steps + 1):
        grid = places @ maps.transpose(1, 2)  # [N, P, 2]
        inside = (grid.abs() <= 1 - 1 / side).all(dim=-1).float()
        warped = functional.grid_sample(
            picture, grid.view(-1, side, side, 2), padding_mode="border", align_corners=False
        ).flatten(2)
        a, b = _centred(flat, inside), _centred(warped[:, 0], inside)
        correlation = _cosine(a, b)
        correlation = torch.where(inside.mean(dim=1) > _LEAST_COVERAGE, correlation, -1.0)
        better = correlation > best
        best = torch.where(better, correlation, best)
        best_maps = torch.where(better[:, None, None], maps, best_maps)
        if step < steps:
            maps = _stepped(maps, a, b, warped[:, 1:], places, inside, best_maps)
    return best, best_maps


def _stepped(
    maps: Tensor, a: Tensor, b: Tensor, slopes: Tensor, places: Tensor, inside: Tensor, fallback: Tensor
) -> Tensor:
    """One step of the maps; `fallback` where it would shrink or blow up the picture."""
    jacobian = (slopes[:, :, None] * places.T[None, None]).flatten(1, 2) * inside[:, None]  # [N, 6, P]
    jacobian = jacobian - jacobian.sum(-1, keepdim=True) / inside.sum(1).clamp_min(1)[:, None, None] * inside[:, None]
    hessian = jacobian @ jacobian.transpose(1, 2)
    damping = 1e-3 * hessian.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-6
    hessian = hessian + torch.eye(6) * damping[:, None, None]
    onto = jacobian @ torch.stack([a, b], dim=-1)  # [N, 6, 2]
    solved = torch.linalg.solve(hessian, onto)
    # equation 20: the scale of the image at which the error is orthogonal to the picture
    top = (b * b).sum(1) - (onto[..., 1] * solved[..., 1]).sum(1)
    bottom = (a * b).sum(1) - (onto[..., 0] * solved[..., 1]).sum(1)
    scale = torch.where(bottom > 1e-6, top / bottom.clamp_min(1e-6), 1.0).clamp(0, 50)
    # equation 19, of the error scale * a - b; the solution is linear in it
    change = (scale[:, None] * solved[..., 0] - solved[..., 1]).view(-1, 2, 3)
    change = change * (_LONGEST_STEP / change.abs().amax(dim=(1, 2)).clamp_min(_LONGEST_STEP))[:, None, None]
    stepped = maps + change
    area = (stepped[:, 0, 0] * stepped[:, 1, 1] - stepped[:, 0, 1] * stepped[:, 1, 0]).abs()
    wild = (area < _LEAST_AREA) | (area > _MOST_AREA)
    return torch.where(wild[:, None, None], fallback, stepped)


def _features(images: Reference, originals: Reference, original: Tensor, correlation: Tensor, maps: Tensor) -> Tensor:
    """Features of each aligned pair, `[N * K, len(FEATURES)]`."""
    n, k = original.shape
    index, owner = original.flatten(), torch.arange(n).repeat_interleave(k)
    fine, inside = _sampled(originals.fine[index], maps, GREY_SIDE, "border"), _inside(maps, GREY_SIDE)
    a, b = _centred(images.fine.flatten(1)[owner], inside), _centred(fine.flatten(1), inside)
    colours, covered = _sampled(originals.colours[index], maps, COLOUR_SIDE, "border"), _inside(maps, COLOUR_SIDE)
    coverage = covered.mean(dim=1)
    linear = maps[..., :2]
    # singular values of a 2x2 matrix in closed form: s1 + s2 and s1 - s2 are the lengths of its two similar parts
    plus = torch.hypot(linear[:, 0, 0] + linear[:, 1, 1], linear[:, 1, 0] - linear[:, 0, 1])
    minus = torch.hypot(linear[:, 0, 0] - linear[:, 1, 1], linear[:, 1, 0] + linear[:, 0, 1])
    high, low = plus + minus, (plus - minus).abs().clamp_min(1e-3)
    return torch.stack(
        [
            _stretched(correlation),
            _stretched(_cosine(a, b)),
            _stretched(_explained(images.colours.flatten(2)[owner], colours.flatten(2), covered)),
            coverage,
            torch.log(high / low),
        ],
        dim=-1,
    )


def _explained(ours: Tensor, theirs: Tensor, covered: Tensor) -> Tensor:
    """Share of the colours `[N, C, P]` that a linear map of the original's explains, as a root, 0..1.

    A recolouring, even one that mixes channels, is such a map.
    """
    a, b = _centred(ours, covered[:, None]), _centred(theirs, covered[:, None])
    gram = b @ b.transpose(1, 2)
    ridge = 1e-2 * gram.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-3
    gram = gram + torch.eye(gram.shape[-1]) * ridge[:, None, None]
    rest = a - torch.linalg.solve(gram, b @ a.transpose(1, 2)).transpose(1, 2) @ b
    share = 1 - rest.square().sum((1, 2)) / a.square().sum((1, 2)).clamp_min(1e-3)
    root: Tensor = share.clamp(0, 1).sqrt()
    return root


def _sampled(pictures: Tensor, maps: Tensor, side: int, padding: str) -> Tensor:
    grid = functional.affine_grid(maps, [len(maps), 1, side, side], align_corners=False)
    sampled: Tensor = functional.grid_sample(pictures, grid, padding_mode=padding, align_corners=False)
    return sampled


def _inside(maps: Tensor, side: int) -> Tensor:
    """1 where a place of the image lies over the original, `[N, side * side]`."""
    grid = functional.affine_grid(maps, [len(maps), 1, side, side], align_corners=False)
    return (grid.abs() <= 1).all(dim=-1).float().flatten(1)


def _centred(x: Tensor, inside: Tensor) -> Tensor:
    """`[..., P]` less its mean over the places inside; zero outside."""
    masked = x * inside
    return masked - masked.sum(-1, keepdim=True) / inside.sum(-1, keepdim=True).clamp_min(1) * inside


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    lengths = torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
    cosine: Tensor = (a * b).sum(-1) / lengths.clamp_min(1e-3)
    return cosine


def _stretched(correlation: Tensor) -> Tensor:
    """Fisher's transformation, bounded: near one, small differences count."""
    return torch.atanh(correlation.clamp(-0.5, 0.995))
