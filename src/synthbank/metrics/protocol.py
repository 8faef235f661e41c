"""The evaluation protocol: every registered metric, over all classes and for each class, with interval and floor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import OptionError
from synthbank.metrics._checks import Features, check_features
from synthbank.metrics._products import Products, products_of
from synthbank.metrics._registry import metrics
from synthbank.metrics.resampling import MINIMUM, interval_about, resamples, stand_ins, widening, wilson_interval
from synthbank.records import Score

FEW_IMAGES = 2048
_MOST_IMAGES = 4096
_SLOW_ABOVE = 512
_SLOW_RESAMPLES = 40
_LEVEL = 0.95
_BIASED_NOTE = f"biased below {FEW_IMAGES} images; read KID first"


def evaluate_features(
    *,
    real: NDArray[Any],
    fake: NDArray[Any],
    floor_real: NDArray[Any],
    real_labels: NDArray[np.int64],
    fake_labels: NDArray[np.int64],
    floor_labels: NDArray[np.int64],
    class_names: Sequence[str],
    network: str,
    input_size: int,
    rng: np.random.Generator,
    n_resamples: int = 200,
) -> list[Score]:
    """Every metric over all classes, then for each class; KID first.

    The id of a score is `metric-network-size`, such as `kid-lite1-64`. KID is given times 1000. Intervals and floors are
    those of `metrics.resampling`; a share of images is never given a narrower interval than Wilson's. The copy rate
    compares with `floor_real`, and its floor is the rate of `real`. A set of more than 4096 images is thinned to that.

    Args:
        real: `[N, D]`, features of the test originals.
        fake: `[M, D]`, of the synthetic images.
        floor_real: `[T, D]`, of the training originals, which share no image with `real`.
        real_labels: `[N]`, index into `class_names`; the next two alike.
        fake_labels: `[M]`.
        floor_labels: `[T]`.
        class_names: one score set for each.
        network: name of the feature network, for the id.
        input_size: image side in pixels, for the id.
        rng: draws resamples and stand-ins.
        n_resamples: for each interval.

    Returns:
        One score per metric and group; a metric without enough images has no value and a note that says so.

    Raises:
        OptionError: features that are not finite, unlike widths, or labels that do not fit them.
    """
    sets = (
        _labelled("real", real, real_labels, len(class_names)),
        _labelled("fake", fake, fake_labels, len(class_names)),
        _labelled("floor", floor_real, floor_labels, len(class_names)),
    )
    _check_widths([s[0] for s in sets])
    scores: list[Score] = []
    for label in (None, *range(len(class_names))):
        test, synthetic, train = (f if label is None else f[labels == label] for f, labels in sets)
        group = _Group(test, synthetic, train, rng, n_resamples)
        name = None if label is None else class_names[label]
        scores += [group.score(metric, f"{metric}-{network}-{input_size}", name) for metric in ordered_metrics()]
    return scores


def ordered_metrics() -> list[str]:
    """Names of the registered metrics in the order of tables."""
    return sorted(metrics, key=lambda name: (metrics.facts(name)["order"], name))


@dataclass(frozen=True)
class _Measured:
    """One metric of one pair of sets."""

    value: float | None
    low: float | None = None
    high: float | None = None
    seconds: float = 0.0


class _Group:
    """The images of one class, or all: each pair of sets is multiplied and resampled once for all metrics."""

    def __init__(
        self, test: Features, fake: Features, train: Features, rng: np.random.Generator, n_resamples: int
    ) -> None:
        test, fake, train = (_thinned(features, rng) for features in (test, fake, train))
        self.test, self.fake, self.train = test, fake, train
        self.stand_in = train[stand_ins(len(train), len(fake), rng)]
        pairs = {
            ("test", "score"): (test, fake),
            ("test", "floor"): (test, self.stand_in),
            ("train", "score"): (train, fake),
            ("train", "floor"): (train, test),
        }
        self._measured = {key: _measure(key[0], x, y, rng, n_resamples) for key, (x, y) in pairs.items()}

    def score(self, metric: str, metric_id: str, class_name: str | None) -> Score:
        facts = metrics.facts(metric)
        reference = self.test if facts["against"] == "test" else self.train
        ours = self._measured[facts["against"], "score"][metric]
        floor = self._measured[facts["against"], "floor"][metric]
        return Score(
            metric=metric_id,
            value=ours.value,
            low=ours.low,
            high=ours.high,
            floor=floor.value,
            floor_low=floor.low,
            floor_high=floor.high,
            n_real=len(reference),
            n_fake=len(self.fake),
            class_name=class_name,
            higher_is_better=facts["higher_is_better"],
            seconds=ours.seconds + floor.seconds,
            note=self._note(metric, facts, len(reference), ours),
        )

    def _note(self, metric: str, facts: dict[str, Any], n_real: int, ours: _Measured) -> str | None:
        if ours.value is None:
            return (
                f"not computed: {n_real} {facts['against']} originals and {len(self.fake)} synthetic images; "
                f"needs at least {facts['minimum_real']} and {facts['minimum_fake']}"
            )
        notes = [facts["note"]] if facts["note"] else []
        if metric == "fd" and min(n_real, len(self.fake)) < FEW_IMAGES:
            notes.append(_BIASED_NOTE)
        if facts["biased"] and len(self.stand_in) < len(self.fake):
            notes.append(f"floor with {len(self.stand_in)} originals in place of {len(self.fake)} images")
        return "; ".join(notes) or None


def _measure(
    against: str, real: Features, fake: Features, rng: np.random.Generator, n_resamples: int
) -> dict[str, _Measured]:
    """Every metric of this pair of sets that is asked of it."""
    names = [name for name in ordered_metrics() if metrics.facts(name)["against"] == against]
    enough = {name: _enough(metrics.facts(name), len(real), len(fake)) for name in names}
    measured = {name: _Measured(None) for name in names}
    if not any(enough.values()):
        return measured
    products = products_of(real=real, fake=fake)
    resampled = [name for name in names if enough[name] and against == "test"]
    draws, seconds = _draw(resampled, products, rng, n_resamples)
    for name in (name for name in names if enough[name]):
        start = time.perf_counter()
        value = metrics.get(name)(products)
        low, high = _interval(name, value, draws.get(name), products)
        measured[name] = _Measured(value, low, high, seconds.get(name, 0.0) + time.perf_counter() - start)
    return measured


def _draw(
    names: Sequence[str], products: Products, rng: np.random.Generator, n_resamples: int
) -> tuple[dict[str, Features], dict[str, float]]:
    """Values of each metric on each resample, NaN where it was left out to save time; and the seconds each took."""
    n, m = products.cross.shape
    draws, seconds = {name: np.full(n_resamples, np.nan) for name in names}, dict.fromkeys(names, 0.0)
    if not names:
        return draws, seconds
    for i, (kept_real, kept_fake) in enumerate(resamples(n, m, rng=rng, n_resamples=n_resamples)):
        part = products.take(kept_real, kept_fake)
        for name in names:
            if name == "fd" and i >= _SLOW_RESAMPLES and min(n, m) > _SLOW_ABOVE:
                continue
            start = time.perf_counter()
            draws[name][i] = metrics.get(name)(part)
            seconds[name] += time.perf_counter() - start
    return draws, seconds


def _interval(name: str, value: float, draws: Features | None, products: Products) -> tuple[float, float]:
    """Resampled where there are draws, at least as wide as Wilson's for shares, inside the metric's bounds."""
    facts = metrics.facts(name)
    low, high = value, value
    if draws is not None:
        low, high = interval_about(value, draws, widening(*products.cross.shape), level=_LEVEL)
    if facts["proportion_of"] is not None:
        n = len(products.real if facts["proportion_of"] == "real" else products.fake)
        narrowest = wilson_interval(value, n, level=_LEVEL)
        low, high = min(low, narrowest[0]), max(high, narrowest[1])
    smallest, largest = facts["bounds"]
    low = low if smallest is None else max(low, smallest)
    high = high if largest is None else min(high, largest)
    return low, high


def _enough(facts: dict[str, Any], n_real: int, n_fake: int) -> bool:
    resampled = MINIMUM if facts["against"] == "test" else 1
    return n_real >= max(facts["minimum_real"], resampled) and n_fake >= max(facts["minimum_fake"], resampled)


def _thinned(features: Features, rng: np.random.Generator) -> Features:
    return features[stand_ins(len(features), _MOST_IMAGES, rng)] if len(features) > _MOST_IMAGES else features


def _labelled(
    name: str, features: NDArray[Any], labels: NDArray[np.int64], n_classes: int
) -> tuple[Features, NDArray[np.int64]]:
    array, label_array = check_features(features, minimum=0, name=name), np.asarray(labels)
    fits = label_array.shape == (len(array),) and ((label_array >= 0) & (label_array < n_classes)).all()
    if not fits:
        raise OptionError(
            f"The {name} labels do not fit the features",
            got=f"labels of shape {label_array.shape} for {len(array)} images",
            allowed=f"one integer from 0 to {n_classes - 1} per image",
        )
    return array, label_array


def _check_widths(sets: Sequence[Features]) -> None:
    widths = {features.shape[1] for features in sets}
    if len(widths) > 1:
        raise OptionError(
            "The feature sets come from different networks", got=widths, allowed="the same number of values per image"
        )
