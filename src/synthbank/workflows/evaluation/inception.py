"""Inception Score and FID with the published Inception weights; never another network under their name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from synthbank.metrics import frechet_distance, inception_score, metrics
from synthbank.models.features.inception import load_inception
from synthbank.records import FD_BIASED_BELOW, Score, UInt8Images

_MISSING = "not computed: Inception weights missing (set SYNTHBANK_INCEPTION to inception-2015-12-05.pt)"
_BIASED = f"biased below {FD_BIASED_BELOW} images: read KID first"


def inception_scores(weights: Path | None, *, real: UInt8Images, fake: UInt8Images) -> Sequence[Score]:
    """FID and Inception Score over all classes.

    Args:
        weights: path of `inception-2015-12-05.pt`; `None`: both are reported as not computed.
        real: `[N, C, H, W]`, uint8.
        fake: `[M, C, H, W]`, uint8.
    """
    fid_score, is_score = (
        partial(
            Score,
            f"{name}-inception-299",
            n_real=len(real),
            n_fake=len(fake),
            higher_is_better=metrics.spec(name).higher_is_better,
        )
        for name in ("fid", "is")
    )
    if weights is None:
        return [fid_score(None, note=_MISSING), is_score(None, note=_MISSING)]
    start = time.perf_counter()
    network = load_inception(weights)
    real_features, _ = network(real)
    fake_features, probabilities = network(fake)
    note = _BIASED if min(len(real), len(fake)) < FD_BIASED_BELOW else None
    seconds = time.perf_counter() - start
    fid = frechet_distance(real=real_features, fake=fake_features)
    mean, deviation = inception_score(
        # ten splits as published, fewer where a split would hold less than 50 images
        probabilities,
        splits=max(1, min(10, len(fake) // 50)),
        rng=np.random.default_rng(0),
    )
    spread = 1.96 * deviation  # normal interval over the splits of the published protocol
    return [
        fid_score(fid, note=note, seconds=seconds),
        is_score(mean, mean - spread, mean + spread, seconds=seconds),
    ]
