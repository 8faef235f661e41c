"""The affine expansion of the originals, with lineage: which parent, which transform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import OptionError
from synthbank.fingerprint import stable_seed
from synthbank.records import AffineParameters, Expansion, UInt8Images

_NEUTRAL = AffineParameters()


@dataclass(frozen=True, slots=True)
class AffineRanges:
    """Ranges of the three transforms; each is drawn with `probability`, else it stays neutral."""

    scale: tuple[float, float] = (0.85, 1.15)
    """Factor; above 1 enlarges."""
    rotation_deg: tuple[float, float] = (-30.0, 30.0)
    """Counter-clockwise, in degrees."""
    shift: tuple[float, float] = (-0.1, 0.1)
    """Fraction of the side, drawn for each axis."""
    probability: float = 0.5

    def __post_init__(self) -> None:
        for name in ("scale", "rotation_deg", "shift"):
            low, high = getattr(self, name)
            if not low < high:
                raise OptionError(f"The range of {name} is empty", got=(low, high), allowed="low below high")
        if self.scale[0] <= 0:
            raise OptionError("A scale must be above zero", got=self.scale)
        if not 0 < self.probability <= 1:
            raise OptionError("A probability is out of range", got=self.probability, allowed="above 0, at most 1")


def default_expansion_target(n_originals: int) -> int:
    """Images after the expansion, originals included: 185 originals become about 700, as in the paper.

    >>> default_expansion_target(185)
    703
    """
    return round(3.8 * n_originals)


def plan_expansion(
    n_originals: int, *, to: int, seed: int, ranges: AffineRanges | None = None
) -> tuple[Expansion, ...]:
    """Draw the copies that bring `n_originals` images to `to` images.

    The originals themselves stay as they are and are no part of the plan. Copies are spread evenly over the parents
    (counts differ by at most one); a draw in which nothing changes is drawn again.

    Args:
        n_originals: length of the training list.
        to: images wanted after the expansion, originals included.
        seed: the same seed gives the same plan.
        ranges: `None`: the defaults of `AffineRanges`.

    Returns:
        `to - n_originals` copies, ordered by parent.

    Raises:
        OptionError: no originals, or fewer images wanted than there are.

    Source: Berezsky et al., arXiv 2405.16119: random scaling, rotation and translation, each with probability 0.5.
    """
    if n_originals < 1 or to < n_originals:
        raise OptionError("The expansion target is too small", got=to, allowed=f"at least {max(n_originals, 1)}")
    ranges = ranges or AffineRanges()
    rng = np.random.default_rng(stable_seed(seed, "expansion"))
    parents = _spread(to - n_originals, n_originals, rng)
    return tuple(Expansion(parent, _draw(ranges, rng)) for parent in parents)


def apply_affine(pixels: NDArray[np.uint8], affine: AffineParameters) -> NDArray[np.uint8]:
    """Scale and rotate about the image centre, then shift; what comes in at the border is mirrored.

    Args:
        pixels: `[C, H, W]`, uint8, 0..255.
        affine: neutral parameters give identical pixels.

    Returns:
        `[C, H, W]`, uint8, by cubic splines.
    """
    if affine == _NEUTRAL:
        return pixels.copy()
    from scipy import ndimage

    matrix, offset = _inverse_map(affine, pixels.shape[1], pixels.shape[2])
    warped = [
        ndimage.affine_transform(channel.astype(np.float64), matrix, offset, order=3, mode="reflect")
        for channel in pixels
    ]
    rounded: NDArray[np.uint8] = np.clip(np.rint(np.stack(warped)), 0, 255).astype(np.uint8)
    return rounded


def expand(images: UInt8Images, plan: Sequence[Expansion]) -> UInt8Images:
    """The copies of a plan, in its order.

    Args:
        images: `[N, C, H, W]`, uint8: the training list that the plan's parents point into.
        plan: as drawn by `plan_expansion`.

    Returns:
        `[len(plan), C, H, W]`, uint8.
    """
    copies = np.empty((len(plan), *images.shape[1:]), np.uint8)
    for i, item in enumerate(plan):
        copies[i] = apply_affine(images[item.parent], item.affine)
    return copies


def _spread(n_copies: int, n_parents: int, rng: np.random.Generator) -> list[int]:
    rounds, rest = divmod(n_copies, n_parents)
    extra = rng.permutation(n_parents)[:rest]
    return sorted([*(p for p in range(n_parents) for _ in range(rounds)), *map(int, extra)])


def _draw(ranges: AffineRanges, rng: np.random.Generator) -> AffineParameters:
    while True:
        scaled, rotated, shifted = rng.random(3) < ranges.probability
        shift_y, shift_x = rng.uniform(*ranges.shift, size=2) if shifted else (0.0, 0.0)
        drawn = AffineParameters(
            scale=float(rng.uniform(*ranges.scale)) if scaled else 1.0,
            rotation_deg=float(rng.uniform(*ranges.rotation_deg)) if rotated else 0.0,
            shift_y=float(shift_y),
            shift_x=float(shift_x),
        )
        if drawn != _NEUTRAL:
            return drawn


def _inverse_map(affine: AffineParameters, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix and offset that send output (y, x) to input (y, x)."""
    angle = np.deg2rad(affine.rotation_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, sin], [-sin, cos]]) / affine.scale  # y points down, so the sign differs from the textbook
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    shift = np.array([affine.shift_y * height, affine.shift_x * width])
    return matrix, centre - matrix @ (centre + shift)
