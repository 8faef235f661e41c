"""Evaluation protocol of pixels: each image is described once, then descriptions are resampled like features."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from synthbank.errors import OptionError
from synthbank.metrics._checks import Features, Labels
from synthbank.metrics._registry import PixelMetric, metrics, ordered, pixels
from synthbank.metrics.protocol import join_notes, metric_interval, not_computed_note
from synthbank.metrics.resampling import MINIMUM, baseline_sample, resamples
from synthbank.records import LabelledImages, Score


@dataclass(frozen=True)
class _Described:
    """Descriptions of one set by one metric, `[N, D]`, and the class of each image, `[N]`."""

    rows: Features
    labels: Labels

    def of(self, label: int | None) -> Features:
        """Rows of one class; `None`: of all."""
        return self.rows if label is None else self.rows[self.labels == label]


def evaluate_pixels(
    *,
    train: LabelledImages,
    test: LabelledImages,
    fake: LabelledImages,
    rng: np.random.Generator,
    n_resamples: int = 200,
) -> list[Score]:
    """Score a synthetic set by every pixel metric, over all classes and then for each class, with interval and floor.

    The id of a score is `metric-pixels-size`, such as `spectrum-pixels-64`. Where a metric does not hold for the
    originals, its score has no value and its note says why.

    Args:
        train: training originals.
        test: test originals; classes, channels and size as of `train`.
        fake: synthetic images, alike.
        rng: draws resamples and baseline samples.
        n_resamples: for each interval.

    Returns:
        One score per metric and class; a metric that does not hold for these originals has no value.

    Raises:
        OptionError: unlike sizes, channels or classes, or images that are not uint8.
    """
    sets = {"train": train, "test": test, "fake": fake}
    _check_alike(sets)
    class_names = test.class_names
    scores: list[Score] = []
    for name in ordered("pixels"):
        start = time.perf_counter()
        described = {key: _describe(pixels(name), images) for key, images in sets.items()}
        seconds = time.perf_counter() - start
        for label in (None, *range(len(class_names))):
            parts = {key: d.of(label) for key, d in described.items()}
            score = _score(name, f"{name}-pixels-{test.images.shape[-1]}", parts, rng, n_resamples, seconds)
            scores.append(score if label is None else replace(score, class_name=class_names[label]))
            seconds = 0.0  # describing is counted once, with the score over all classes
    # a stable sort: all classes first, then class by class, each with the metrics in the order of tables
    return sorted(scores, key=lambda s: s.class_name is not None and class_names.index(s.class_name) + 1)


def _describe(metric: PixelMetric, images: LabelledImages) -> _Described:
    """Describe a set class by class, as a metric may compare images within a class; rows in the order of the set."""
    rows: Features | None = None
    for label in range(len(images.class_names)):
        place = np.flatnonzero(images.labels == label)
        if len(place):
            part = metric.describe(images.images[place])
            rows = np.full((len(images), part.shape[1]), np.nan) if rows is None else rows
            rows[place] = part
    return _Described(np.zeros((0, 1)) if rows is None else rows, images.labels)


def _score(
    name: str,
    metric_id: str,
    parts: dict[str, Features],
    rng: np.random.Generator,
    n_resamples: int,
    seconds: float,
) -> Score:
    """Score one metric on the descriptions of the three sets, all of one class or of all classes."""
    spec, metric = metrics.spec(name), pixels(name)
    n, m = len(parts["test"]), len(parts["fake"])
    blank = Score(metric_id, None, n_real=n, n_fake=m, higher_is_better=spec.higher_is_better, seconds=seconds)
    if n < spec.minimum_real or m < spec.minimum_fake:
        return replace(blank, note=not_computed_note(spec, n, m))
    reason = metric.inapplicable_reason(parts["test"])
    if reason is not None:
        return replace(blank, note=f"not computed: {reason}")
    start = time.perf_counter()
    value, low, high = _estimate(name, parts["test"], parts["fake"], rng, n_resamples)
    baseline = parts["train"][baseline_sample(len(parts["train"]), m, rng)]
    floor: tuple[float | None, float | None, float | None] = (None, None, None)
    notes = [spec.note]
    if len(baseline) >= spec.minimum_fake:
        floor = _estimate(name, parts["test"], baseline, rng, n_resamples)
        if spec.biased and len(baseline) < m:
            notes.append(f"floor with {len(baseline)} originals in place of {m} images")
    else:
        notes.append(f"no floor: only {len(baseline)} originals for a baseline sample")
    return replace(
        blank,
        value=value,
        low=low,
        high=high,
        floor=floor[0],
        floor_low=floor[1],
        floor_high=floor[2],
        seconds=seconds + time.perf_counter() - start,
        note=join_notes(*notes),
    )


def _estimate(
    name: str, real: Features, fake: Features, rng: np.random.Generator, n_resamples: int
) -> tuple[float, float | None, float | None]:
    """Value of a pixel metric on descriptions `[N, D]` and `[M, D]`, and its bounds; `None` for too few images."""
    metric = pixels(name)
    value = metric.compare(real=real, fake=fake)
    if min(len(real), len(fake)) < MINIMUM:
        return value, None, None
    # descriptions are resampled, not images: describing is the slow part
    index_pairs = resamples(len(real), len(fake), rng=rng, n_resamples=n_resamples)
    draws = np.array([metric.compare(real=real[i], fake=fake[j]) for i, j in index_pairs])
    return value, *metric_interval(name, value, draws, len(real), len(fake))


def _check_alike(sets: dict[str, LabelledImages]) -> None:
    shapes = {name: images.images.shape[1:] for name, images in sets.items() if len(images)}
    kinds = {images.images.dtype for images in sets.values() if len(images)}
    if len(set(shapes.values())) > 1 or any(len(shape) != 3 for shape in shapes.values()):
        raise OptionError(
            "The image sets differ in channels or size",
            got=", ".join(f"{name} {shape}" for name, shape in shapes.items()),
            allowed="one shape [N, C, H, W] for all of them",
            next_step="bring the sets to one size and one number of channels",
        )
    if kinds - {np.dtype(np.uint8)}:
        raise OptionError("Pixel metrics look at 8-bit images", got=sorted(map(str, kinds)), allowed="uint8")
    if len({images.class_names for images in sets.values()}) > 1:
        raise OptionError(
            "The image sets have different classes",
            got=[images.class_names for images in sets.values()],
            allowed="the same class names in the same order",
        )
