"""The registry of metrics that the protocols walk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from synthbank.metrics._checks import Features
from synthbank.metrics._gram import GramMatrices, ResampleMasks, ResampleValues, ThreeWayGram
from synthbank.records import UInt8Images
from synthbank.registry import Registry

GramFunction = Callable[[GramMatrices], float]
"""NaN where the metric does not hold for these sets."""
ResampledFunction = Callable[[GramMatrices, ResampleMasks, ResampleMasks], ResampleValues]


@dataclass(frozen=True, slots=True)
class ThreeWayResult:
    """Value of a metric of three sets, which brings its own interval."""

    value: float
    low: float | None = None
    high: float | None = None
    note: str | None = None


ThreeWayFunction = Callable[[ThreeWayGram], ThreeWayResult]


class PixelMetric(Protocol):
    """Looks at pixels: every image is described once, then sets of descriptions are compared."""

    def describe(self, images: UInt8Images) -> Features:
        """`[N, D]`, float64, from images `[N, C, H, W]` of one class; NaN where an image gives nothing to measure."""

    def compare(self, *, real: Features, fake: Features) -> float:
        """One number from the descriptions `[N, D]` and `[M, D]`."""

    def inapplicable_reason(self, real: Features) -> str | None:
        """Why this metric does not hold for these originals, in words; `None`: it holds."""


metrics: Registry[Any] = Registry("metric", package="synthbank.metrics", entry_point_group="synthbank.metrics")
"""Metrics, each of the kind that its fact `consumes` names:

- "gram": a `GramFunction` of the inner products of two feature sets.
- "three_way_gram": a `ThreeWayFunction` of training, test and synthetic features.
- "pixels": a `PixelMetric`.

Facts, all of them required:

- `order`: position in tables; KID is first.
- `higher_is_better`: direction.
- `minimum_real`, `minimum_fake`: fewest images it is computed for; below, its score says so and has no value.
- `bounds`: smallest and largest possible value, `None` where open.
- `symmetric`: does swapping real and fake leave the value?
- `against`: "test", or "train" for questions of copying.
- `looks_at`: "both" sets, or the "fake" one alone.
- `proportion_of`: "real" or "fake" where the value is a share of these images, else `None`.
- `biased`: does the expected value depend on the number of images (for "train": of fakes)?
- `resampled`: a `ResampledFunction` that gives the same values for many resamples at once (NaN where it leaves one out
  to save time), or `None`: the metric is called once a resample.
- `citation`, `note`: source, and what every score says about itself (`None`: nothing).
"""


def metrics_that_consume(kind: str) -> list[str]:
    """Names of the registered metrics of one kind, in the order of tables."""
    names = [name for name in metrics if metrics.facts(name)["consumes"] == kind]
    return sorted(names, key=lambda name: (metrics.facts(name)["order"], name))
