"""Do the images of a set have a middle, as photographs of single cells do, or none, as windows on tissue?"""

from __future__ import annotations

import numpy as np

from synthbank.records import UInt8Images


def variance_by_place(images: UInt8Images) -> float:
    """Share of the variance of all pixels that their place in the image explains.

    Where every place is like every other (tissue), the mean of many images is flat and the share is about one over
    their number; a centred object shows in the mean image. Turned and mirrored images count as the same.

    Args:
        images: `[N, C, S, S]` uint8.

    Returns:
        0..1; 0 for constant images, and for none.
    """
    if not len(images):
        return 0.0
    total = float(images.var(axis=(0, 2, 3), dtype=np.float64).mean())
    if total == 0:
        return 0.0
    mean = images.mean(axis=0, dtype=np.float64)  # [C, S, S]
    turned = [np.rot90(mean, k, axes=(1, 2)) for k in range(4)]
    folded = np.mean([*turned, *(t[:, :, ::-1] for t in turned)], axis=0)
    return float(folded.var(axis=(1, 2)).mean()) / total
