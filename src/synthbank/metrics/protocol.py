"""Evaluation protocol of features: every registered metric, over all classes and for each, with interval and floor.

The Gram matrices of a pair of sets are computed once and resampled once; all its metrics read from them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from synthbank.errors import OptionError
from synthbank.metrics._checks import Features, Floats, Index, Labels, Mask, RawFeatures, check_features
from synthbank.metrics._gram import GramMatrices, ThreeWayGram
from synthbank.metrics._registry import MetricSpec, metrics, ordered, three_sample, two_sample
from synthbank.metrics.resampling import (
    MINIMUM,
    baseline_sample,
    interval_about,
    random_subset,
    resamples,
    widening,
    wilson_interval,
)
from synthbank.records import FD_BIASED_BELOW, INSIDE_DISCRIMINATOR, MAX_IMAGES, Score

_LEVEL = 0.95
"""Coverage that every interval aims at."""
_BIASED_NOTE = f"biased below {FD_BIASED_BELOW} images; read KID first"


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of a set of images with their classes."""

    features: RawFeatures
    """`[N, D]`, one row per image."""
    labels: Labels
    """`[N]`, int64, index into `class_names`."""
    class_names: tuple[str, ...]


def evaluate_features(
    *,
    train: LabelledFeatures,
    test: LabelledFeatures,
    fake: LabelledFeatures,
    protocol: str,
    rng: np.random.Generator,
    n_resamples: int = 200,
    inside_discriminator: bool = False,
) -> list[Score]:
    """Score a synthetic set by every metric of features, over all classes and then for each class; KID first.

    The id of a score is `metric-protocol`, such as `kid-lite1-64`. KID is given times 1000. Intervals and floors are
    those of `metrics.resampling`; the interval of a share is at least Wilson's. The copy rate compares with `train`,
    and its floor is the rate of `test`. Metrics of three sets bring their own interval; their baseline is part of the
    value, so they have no floor. A set of more than `MAX_IMAGES` images is thinned to that number.

    Args:
        train: features of the training originals, which share no image with `test`.
        test: of the test originals; width and classes as of `train`.
        fake: of the synthetic images, alike.
        protocol: feature network and image side in pixels, such as "lite1-64".
        rng: draws resamples and baseline samples.
        n_resamples: for each interval.
        inside_discriminator: the model that made `fake` was trained against this very network; every score says so.

    Returns:
        One score per metric and class; a metric without enough images has no value and a note that says so.

    Raises:
        OptionError: features that are not finite, unlike widths or classes, or labels that do not fit them.
    """
    sets = [_check_set(name, images) for name, images in (("train", train), ("test", test), ("fake", fake))]
    class_names = _class_names(train, test, fake)
    _check_widths([features for features, _ in sets])
    names = ordered("two-sample", "three-sample")
    scores: list[Score] = []
    for label in (None, *range(len(class_names))):
        # all images and those of the only class are the same: one scorer serves both
        if label is None or len(class_names) > 1:
            of_class = [features if label is None else features[labels == label] for features, labels in sets]
            scorer = _ClassScorer(*of_class, rng=rng, n_resamples=n_resamples)
        class_name = None if label is None else class_names[label]
        scores += [scorer.score(metric, f"{metric}-{protocol}", class_name) for metric in names]
    return (
        [replace(s, note=join_notes(INSIDE_DISCRIMINATOR, s.note)) for s in scores] if inside_discriminator else scores
    )


def join_notes(*notes: str | None) -> str | None:
    """Join notes by semicolons; `None` where there are none."""
    return "; ".join(note for note in notes if note) or None


@dataclass(frozen=True)
class _Measurement:
    """One metric of one pair of sets, or of three sets."""

    value: float | None
    low: float | None = None
    high: float | None = None
    seconds: float = 0.0
    n_draws: int | None = None
    """Resamples behind the interval; `None`: there were none."""
    note: str | None = None


class _ClassScorer:
    """Measurements of one class, or of all images, from which scores are read."""

    def __init__(
        self, train: Features, test: Features, fake: Features, *, rng: np.random.Generator, n_resamples: int
    ) -> None:
        # this order of draws is part of what a seed stands for
        test, fake, train = (_thin(features, rng) for features in (test, fake, train))
        self.test, self.fake, self.train, self.n_resamples = test, fake, train, n_resamples
        # training originals in the place of the synthetic images: the floor of what compares with test originals
        chosen = baseline_sample(len(train), len(fake), rng)
        self.baseline = train[chosen]
        within_test, within_fake, within_train = (features @ features.T for features in (test, fake, train))
        cross, width = test @ train.T, test.shape[1]
        # what compares with training originals has all test originals in the place of the synthetic images
        pairs = {
            ("test", "score"): GramMatrices(within_test, within_fake, test @ fake.T, width),
            ("test", "floor"): GramMatrices(within_test, within_train[np.ix_(chosen, chosen)], cross[:, chosen], width),
            ("train", "score"): GramMatrices(within_train, within_fake, train @ fake.T, width),
            ("train", "floor"): GramMatrices(within_train, within_test, cross.T, width),
        }
        self._two_sample = {key: _measure_pair(key[0], gram, rng, n_resamples) for key, gram in pairs.items()}
        three_way = ThreeWayGram(pairs["train", "score"], pairs["train", "floor"], pairs["test", "score"])
        self._three_way = {name: _measure_three_way(name, three_way) for name in ordered("three-sample")}

    def score(self, metric: str, metric_id: str, class_name: str | None) -> Score:
        spec = metrics.spec(metric)
        real = self.test if spec.against == "test" else self.train
        if spec.kind == "three-sample":
            measured, floor = self._three_way[metric], _Measurement(None)
        else:
            measured = self._two_sample[spec.against, "score"][metric]
            floor = self._two_sample[spec.against, "floor"][metric]
        return Score(
            metric=metric_id,
            value=measured.value,
            low=measured.low,
            high=measured.high,
            floor=floor.value,
            floor_low=floor.low,
            floor_high=floor.high,
            n_real=len(real),
            n_fake=len(self.fake),
            class_name=class_name,
            higher_is_better=spec.higher_is_better,
            seconds=measured.seconds + floor.seconds,
            note=self._note(metric, spec, len(real), measured, floor),
        )

    def _note(
        self, metric: str, spec: MetricSpec, n_real: int, measured: _Measurement, floor: _Measurement
    ) -> str | None:
        if measured.value is None:
            return not_computed_note(spec, n_real, len(self.fake), measured.note)
        notes = [note for note in (spec.note, measured.note) if note]
        if metric == "fd" and min(n_real, len(self.fake)) < FD_BIASED_BELOW:
            notes.append(_BIASED_NOTE)
        if measured.n_draws is not None and measured.n_draws < self.n_resamples:
            notes.append(f"interval from {measured.n_draws} resamples")
        if spec.kind == "three-sample":
            notes.append(f"{len(self.test)} test originals")
        elif floor.value is None:
            n_others = len(self.baseline if spec.against == "test" else self.test)
            notes.append(f"no floor: only {n_others} originals for a baseline sample")
        elif spec.biased and len(self.baseline) < len(self.fake):
            notes.append(f"floor with {len(self.baseline)} originals in place of {len(self.fake)} images")
        return "; ".join(notes) or None


def not_computed_note(spec: MetricSpec, n_real: int, n_fake: int, reason: str | None = None) -> str:
    """Note of a metric without value: too few images, or a reason of its own."""
    return f"not computed: {n_real} {spec.against} originals and {n_fake} synthetic images; " + (
        reason or f"needs at least {spec.minimum_real} and {spec.minimum_fake}"
    )


def _measure_three_way(metric: str, gram: ThreeWayGram) -> _Measurement:
    """Measure one metric of three sets."""
    spec = metrics.spec(metric)
    n_train, n_test, n_fake = gram.sizes
    if not _enough(spec, n_train, n_fake):
        return _Measurement(None)
    if n_test < spec.minimum_real:
        return _Measurement(None, note=f"needs at least {spec.minimum_real} test originals, got {n_test}")
    start = time.perf_counter()
    result = three_sample(metric)(gram)
    seconds = time.perf_counter() - start
    return _Measurement(result.value, result.low, result.high, seconds, note=result.note)


def _measure_pair(
    against: str, gram: GramMatrices, rng: np.random.Generator, n_resamples: int
) -> dict[str, _Measurement]:
    """Measure every metric of a pair of sets whose real set is the test or the training originals (`against`)."""
    names = [name for name in ordered("two-sample") if metrics.spec(name).against == against]
    enough = {name: _enough(metrics.spec(name), *gram.cross.shape) for name in names}
    measured = {name: _Measurement(None) for name in names}
    if not any(enough.values()):
        return measured
    # leaving training originals out would change what is being measured, copies of them; shares have Wilson's interval
    resampled = [name for name in names if enough[name] and against == "test"]
    draws, seconds = _draw(resampled, gram, rng, n_resamples)
    for name in (name for name in names if enough[name]):
        start = time.perf_counter()
        value = two_sample(name)(gram)
        if np.isnan(value) or (name in draws and np.isnan(draws[name]).all()):
            measured[name] = _Measurement(None, note=f"does not hold for so few images of {gram.dimensions} features")
            continue
        low, high = metric_interval(name, value, draws.get(name), *gram.cross.shape)
        n_draws = int(np.isfinite(draws[name]).sum()) if name in draws else None
        measured[name] = _Measurement(value, low, high, seconds.get(name, 0.0) + time.perf_counter() - start, n_draws)
    return measured


def _draw(
    names: Sequence[str], gram: GramMatrices, rng: np.random.Generator, n_resamples: int
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Values `[R]` of each metric, NaN where a resample was left out to save time, and the seconds each took."""
    draws: dict[str, Floats] = {}
    seconds: dict[str, float] = {}
    if not names:
        return draws, seconds
    n, m = gram.cross.shape
    index_pairs = list(resamples(n, m, rng=rng, n_resamples=n_resamples))
    real_masks, fake_masks = _masks([real for real, _ in index_pairs], n), _masks([fake for _, fake in index_pairs], m)
    for name in names:
        start = time.perf_counter()
        resampled = metrics.spec(name).resampled
        if resampled is not None:
            draws[name] = resampled(gram, real_masks, fake_masks)
        else:
            draws[name] = np.array([two_sample(name)(gram.take(real, fake)) for real, fake in index_pairs])
        seconds[name] = time.perf_counter() - start
    return draws, seconds


def _masks(indices: Sequence[Index], n: int) -> Mask:
    """Turn R index vectors into masks `[R, n]`."""
    masks = np.zeros((len(indices), n), np.bool_)
    np.put_along_axis(masks, np.stack(indices), True, axis=1)
    return masks


def metric_interval(name: str, value: float, draws: Floats | None, n_real: int, n_fake: int) -> tuple[float, float]:
    """Compute the 95% interval of a metric.

    Args:
        name: of the metric.
        value: of the full sets.
        draws: `[R]`, values of resamples; `None`: there are none.
        n_real: images of the real set.
        n_fake: images of the fake set.

    Returns:
        Lower and upper bound. At least as wide as Wilson's for a share, and inside the metric's bounds.
    """
    spec = metrics.spec(name)
    low, high = value, value
    if draws is not None:
        low, high = interval_about(value, draws, widening(n_real, n_fake), level=_LEVEL)
    # at 0 and 1 all resamples agree, which says nothing about the share among further images
    if spec.proportion_of is not None:
        n = n_real if spec.proportion_of == "real" else n_fake
        narrowest = wilson_interval(value, n, level=_LEVEL)
        low, high = min(low, narrowest[0]), max(high, narrowest[1])
    smallest, largest = spec.bounds
    low = low if smallest is None else max(low, smallest)
    high = high if largest is None else min(high, largest)
    return low, high


def _enough(spec: MetricSpec, n_real: int, n_fake: int) -> bool:
    # what is compared with test originals is resampled, which takes at least `MINIMUM` images of each set
    resampled = MINIMUM if spec.against == "test" else 1
    enough_real: bool = n_real >= max(spec.minimum_real, resampled)
    enough_fake: bool = n_fake >= max(spec.minimum_fake, resampled)
    return enough_real and enough_fake


def _thin(features: Features, rng: np.random.Generator) -> Features:
    return features[random_subset(len(features), MAX_IMAGES, rng)] if len(features) > MAX_IMAGES else features


def _check_set(name: str, images: LabelledFeatures) -> tuple[Features, Labels]:
    """Features as float64, and labels that fit them."""
    features, labels = check_features(images.features, minimum=0, name=name), np.asarray(images.labels)
    n_classes = len(images.class_names)
    fits = labels.shape == (len(features),) and ((labels >= 0) & (labels < n_classes)).all()
    if not fits:
        raise OptionError(
            f"The {name} labels do not fit the features",
            got=f"labels of shape {labels.shape} for {len(features)} images",
            allowed=f"one integer from 0 to {n_classes - 1} per image",
            next_step="number the classes in the order of class_names",
        )
    return features, labels


def _class_names(*sets: LabelledFeatures) -> tuple[str, ...]:
    """Class names that all sets share."""
    if len({images.class_names for images in sets}) > 1:
        raise OptionError(
            "The feature sets have different classes",
            got=[images.class_names for images in sets],
            allowed="the same class names in the same order",
            next_step="number the classes of all three sets alike",
        )
    return sets[0].class_names


def _check_widths(sets: Sequence[Features]) -> None:
    widths = {features.shape[1] for features in sets}
    if len(widths) > 1:
        raise OptionError(
            "The feature sets come from different networks",
            got=widths,
            allowed="the same number of values per image",
            next_step="embed all of them with one network",
        )
