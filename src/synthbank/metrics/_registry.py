"""The registry of metrics that `evaluate_features` walks."""

from __future__ import annotations

from collections.abc import Callable

from synthbank.metrics._products import Kept, Products, Values
from synthbank.registry import Registry

MetricFunction = Callable[[Products], float]
ResampledFunction = Callable[[Products, Kept, Kept], Values]

metrics: Registry[MetricFunction] = Registry(
    "metric", package="synthbank.metrics", entry_point_group="synthbank.metrics"
)
"""Functions of inner products. Facts, all of them required:

- `order`: position in tables; KID is first.
- `higher_is_better`: direction.
- `minimum_real`, `minimum_fake`: fewest images it is computed for; below, its score says so and has no value.
- `bounds`: smallest and largest possible value, `None` where open.
- `symmetric`: does swapping real and fake leave the value?
- `against`: "test", or "train" for questions of copying.
- `proportion_of`: "real" or "fake" where the value is a share of these images, else `None`.
- `biased`: does the expected value depend on the number of images (for "train": of fakes)?
- `resampled`: a `ResampledFunction` that gives the same values for many resamples at once (NaN where it leaves one out
  to save time), or `None`: the metric is called once a resample.
- `citation`, `note`: source, and what every score says about itself (`None`: nothing).
"""
