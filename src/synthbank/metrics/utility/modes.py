"""Bias of a synthetic set: coverage of rare modes and of single groups, and agreement of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans

from synthbank.errors import OptionError
from synthbank.metrics._checks import Index, Labels, Mask, RawFeatures
from synthbank.metrics._registry import metrics
from synthbank.metrics.copying import nearest_neighbours
from synthbank.metrics.resampling import wilson_interval
from synthbank.metrics.utility.classifiers import Embed, TrainingSet, balanced_weights, classifiers
from synthbank.records import LabelledImages, Score

NEIGHBOURS = 5
"""Neighbour that sets the radius of coverage; 5 as for the metric `coverage`."""
FEWEST_OF_GROUP = 5
"""Originals of a group below which it gets no coverage of its own."""
_MOST_GROUPS = 40
"""Groups that are scored one by one."""
_RARE = 0.5
"""A cluster is rare when it holds fewer than this share of the mean cluster's members."""


@dataclass(frozen=True)
class Modes:
    """Clusters of the originals."""

    cluster: Index
    """`[N]`, number of the cluster of each original."""
    rare: Mask
    """`[N]`, members of a rare cluster."""
    sizes: tuple[int, ...]
    """Of every cluster, smallest first."""


def find_modes(features: RawFeatures, *, seed: int) -> Modes:
    """Cluster originals by k-means; small clusters are the rare modes.

    Args:
        features: `[N, D]`, N >= 8.
        seed: of the starts.

    Returns:
        The cluster of each original, and the members of clusters with under half of the mean size.

    Raises:
        OptionError: too few originals.
    """
    x = np.asarray(features, np.float64)
    if len(x) < 8:
        raise OptionError("There are too few originals for clusters", got=len(x), allowed="8 or more")
    # k = sqrt(N / 2), a rule of thumb: sqrt(2 N) originals a cluster, so that a rare one still holds several
    k = max(2, round((len(x) / 2) ** 0.5))
    cluster = KMeans(k, n_init=10, random_state=seed % 2**32).fit_predict(x).astype(np.int64)
    sizes = np.bincount(cluster, minlength=k)
    rare = sizes < _RARE * len(x) / k
    return Modes(cluster, rare[cluster], tuple(sorted(sizes.tolist())))


def coverage_mask(*, real: RawFeatures, fake: RawFeatures) -> Mask:
    """Originals with a synthetic image as near as originals typically have their fifth neighbour.

    All share one radius. A radius of each original's own, as in the usual coverage, is widest for isolated originals.
    It would count the members of a rare mode as covered by whatever lies between it and the rest.

    Args:
        real: `[N, D]`, N > 5.
        fake: `[M, D]`.

    Returns:
        `[N]`, true where covered; the mean of some members is their coverage, higher is better.

    Raises:
        OptionError: too few images, unlike widths, or values that are not finite.

    Source: Naeem et al. 2020, arXiv 2002.09797, section 3 (coverage).
    Deviates: the median of the radii in the place of each one's own.
    """
    radius, _ = nearest_neighbours(query=real, reference=real, k=NEIGHBOURS, exclude_self=True)
    nearest, _ = nearest_neighbours(query=real, reference=fake)
    # 1{min_j |x_i - y_j| <= r} with r the median of the distances to the fifth neighbour
    near: Mask = nearest[:, 0] <= np.median(radius[:, -1])
    return near


def mode_scores(
    *,
    train: RawFeatures,
    test: RawFeatures,
    fake: RawFeatures,
    groups: Sequence[str],
    protocol: str,
    seed: int,
) -> list[Score]:
    """Score the coverage of rare and of common modes, and of each group with enough originals.

    Args:
        train: `[T, D]`, features of the training originals.
        test: `[N, D]`, of the test originals; in the place of `fake` they give the floor.
        fake: `[M, D]`, of synthetic images.
        groups: T names, patient, slide or source of each training original.
        protocol: network and side, such as "lite1-128".
        seed: of the clustering.

    Returns:
        Shares of training originals that are covered, 0..1 with Wilson's interval; higher is better. One score without
        value where there are fewer than 8 training originals or no synthetic image.
    """
    if len(train) < 8 or not len(fake):
        note = f"not computed: {len(train)} training originals and {len(fake)} synthetic images; needs 8 and 1"
        higher = metrics.spec("rare-coverage").higher_is_better
        name = f"rare-coverage-{protocol}"
        return [Score(name, None, n_real=len(train), n_fake=len(fake), higher_is_better=higher, note=note)]
    modes = find_modes(train, seed=seed)
    by_fakes = coverage_mask(real=train, fake=fake)
    by_test = coverage_mask(real=train, fake=test) if len(test) else None
    details = {"clusters": len(modes.sizes), "sizes": list(modes.sizes), "neighbours": NEIGHBOURS}
    scores = []
    for name, members in (("rare", modes.rare), ("common", ~modes.rare)):
        scores.append(
            _share_score(f"{name}-coverage-{protocol}", by_fakes, by_test, members, len(fake), len(test), details)
        )
    names, counts = np.unique(np.array(groups), return_counts=True)
    for group in [n for n, c in zip(names, counts, strict=True) if c >= FEWEST_OF_GROUP][:_MOST_GROUPS]:
        members = np.array(groups) == group
        scores.append(
            _share_score(f"group-coverage-{protocol}", by_fakes, None, members, len(fake), 0, None, group=str(group))
        )
    return scores


def agreement_scores(
    *,
    train: LabelledImages,
    test: LabelledImages,
    fake: LabelledImages,
    train_groups: Labels,
    embed: Embed,
    protocol: str,
    seed: int,
) -> list[Score]:
    """Score how often a classifier trained on originals gives a synthetic image the label it was made for.

    The floor is its accuracy on test originals. A value far above the floor is no success: it says that the synthetic
    images are easier than real ones.

    Args:
        train: originals to learn from.
        test: test originals.
        fake: synthetic images with the labels they were made for.
        train_groups: `[T]`, int64, patient, slide or source of each training original.
        embed: frozen features, as the linear probe takes them.
        protocol: network and side, for the id.
        seed: of the choice of regularisation.

    Returns:
        Shares of synthetic images, 0..1 with Wilson's interval, over all classes and for each; higher is better. Empty
        for a data set of one class.
    """
    if len(train.class_names) < 2:
        return []  # one class alone: every label agrees
    weights = balanced_weights(train.labels, np.ones(len(train), np.bool_))
    learned = TrainingSet(train.images, train.labels, weights, train_groups, len(train.class_names))
    predict = classifiers.get("probe")(embed).fit(learned, seed=seed % 2**31)
    fake_agrees = predict(fake.images).argmax(axis=1) == fake.labels
    test_agrees = predict(test.images).argmax(axis=1) == test.labels
    scores = []
    for label in (None, *range(len(train.class_names))):
        of_fake = np.ones(len(fake_agrees), np.bool_) if label is None else fake.labels == label
        of_test = np.ones(len(test_agrees), np.bool_) if label is None else test.labels == label
        score = _share_score(f"label-agreement-{protocol}", fake_agrees, None, of_fake, 0, 0, None)
        floor = float(test_agrees[of_test].mean()) if of_test.any() else None
        low, high = wilson_interval(floor, int(of_test.sum())) if floor is not None else (None, None)
        scores.append(
            Score(
                score.metric,
                score.value,
                score.low,
                score.high,
                floor,
                low,
                high,
                n_real=int(of_test.sum()),
                n_fake=int(of_fake.sum()),
                class_name=None if label is None else train.class_names[label],
                higher_is_better=score.higher_is_better,
                note="floor: how often the same classifier is right about test originals",
            )
        )
    return scores


def _share_score(
    metric: str,
    holds: Mask,
    floor_holds: Mask | None,
    members: Mask,
    n_fake: int,
    n_test: int,
    details: dict[str, object] | None,
    group: str | None = None,
) -> Score:
    """Score the share of the members for which `holds` is true; the share of `floor_holds` is its floor."""
    n, higher = int(members.sum()), metrics.spec(metric.rsplit("-", 2)[0]).higher_is_better
    if not n:
        note = "not computed: there is no such image"
        return Score(metric, None, n_fake=n_fake, higher_is_better=higher, note=note, group_name=group, details=details)
    value = float(holds[members].mean())
    low, high = wilson_interval(value, n)
    floor = floor_low = floor_high = None
    if floor_holds is not None:
        floor = float(floor_holds[members].mean())
        floor_low, floor_high = wilson_interval(floor, n)
    return Score(
        metric,
        value,
        low,
        high,
        floor,
        floor_low,
        floor_high,
        n_real=n,
        n_fake=n_fake,
        higher_is_better=higher,
        note=f"floor with {n_test} test originals in place of {n_fake} images" if floor_holds is not None else None,
        group_name=group,
        details=details,
    )
