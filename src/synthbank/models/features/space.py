"""The frozen network that scores images, and the size at which it sees them."""

from __future__ import annotations

from synthbank.records import SCORING_NETWORK

__all__ = ["SCORING_NETWORK", "scoring_size"]


def scoring_size(size: int) -> int:
    """Side in pixels at which frozen networks see images of this size.

    They were trained at 224 and more: fed 64 pixels, half of their channels see hardly anything and distances are
    ruled by a few outliers.
    """
    return min(max(size, 128), 256)
