"""The symmetries of the square, for images whose label does not depend on their orientation."""

from __future__ import annotations

import torch
from torch import Tensor

from synthbank.models.draws import integers

SYMMETRIES = {"none": 1, "flip": 2, "dihedral": 8}
"""Number of members of each group of symmetries; code 0 leaves the image as it is."""


def turn(images: Tensor, codes: Tensor) -> Tensor:
    """Each image in the orientation of its code; values only change places.

    Args:
        images: `[N, C, S, S]`.
        codes: int64 `[N]`, 0..7; bit 0 mirrors left-right, bit 1 upside down, bit 2 along the diagonal.
    """
    left_right, upside_down, diagonal = (((codes >> bit) & 1).bool().view(-1, 1, 1, 1) for bit in range(3))
    images = torch.where(left_right, images.flip(3), images)
    images = torch.where(upside_down, images.flip(2), images)
    return torch.where(diagonal, images.transpose(2, 3), images)


def draw_codes(n: int, kind: str, rng: torch.Generator) -> Tensor:
    """`n` members of a group of symmetries, int64 `[n]`, on the generator's device."""
    return integers(0, SYMMETRIES[kind], (n,), rng)
