"""Who is forgotten: rare kinds of original, single groups, and labels that a real-trained classifier would not give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from synthbank.errors import OptionError
from synthbank.metrics.copying import nearest_neighbours
from synthbank.metrics.resampling import wilson_interval
from synthbank.metrics.utility.classifiers import TrainingSet, balanced_weights, classifiers
from synthbank.records import LabelledImages, Score

NEIGHBOURS = 5
FEWEST_OF_GROUP = 5
_MOST_GROUPS = 40
_RARE = 0.5
"""A cluster is rare when it holds fewer than this share of the mean cluster's members."""


@dataclass(frozen=True)
class Modes:
    """Clusters of the originals."""

    cluster: NDArray[np.int64]
    """`[N]`"""
    rare: NDArray[np.bool_]
    """`[N]`, members of a rare cluster."""
    sizes: tuple[int, ...]
    """Of every cluster, smallest first."""


def find_modes(features: NDArray[Any], *, seed: int) -> Modes:
    """Cluster originals by k-means, k about the root of half their number; small clusters are the rare modes.

    Args:
        features: `[N, D]`, N >= 8.
        seed: of the starts.

    Raises:
        OptionError: too few originals.
    """
    x = np.asarray(features, np.float64)
    if len(x) < 8:
        raise OptionError("There are too few originals for clusters", got=len(x), allowed="8 or more")
    k = max(2, round((len(x) / 2) ** 0.5))
    cluster = KMeans(k, n_init=10, random_state=seed % 2**32).fit_predict(x).astype(np.int64)
    sizes = np.bincount(cluster, minlength=k)
    rare = sizes < _RARE * len(x) / k
    return Modes(cluster, rare[cluster], tuple(sorted(sizes.tolist())))


def coverage_mask(*, real: NDArray[Any], fake: NDArray[Any]) -> NDArray[np.bool_]:
    """Which originals have a synthetic image as near as originals typically have their fifth neighbour.

    One radius for all: a radius of each original's own, as in the usual coverage, is widest for the lonely ones, and
    would count the members of a rare mode as covered by whatever lies between it and the rest.

    Args:
        real: `[N, D]`, N > 5.
        fake: `[M, D]`.

    Returns:
        `[N]`.

    Source: Naeem et al. 2020, arXiv 2002.09797, eq. 6.
    Deviates: the median of the radii in the place of each one's own.
    """
    radius, _ = nearest_neighbours(query=real, reference=real, k=NEIGHBOURS, exclude_self=True)
    nearest, _ = nearest_neighbours(query=real, reference=fake)
    near: NDArray[np.bool_] = nearest[:, 0] <= np.median(radius[:, -1])
    return near


def mode_scores(
    *,
    train: NDArray[Any],
    test: NDArray[Any],
    fake: NDArray[Any],
    groups: Sequence[str],
    protocol: str,
    seed: int,
) -> list[Score]:
    """Coverage of rare and of common modes, and of each group with enough originals.

    Args:
        train: `[N, D]`, features of the training originals.
        test: `[T, D]`, of the test originals; in the place of `fake` they give the floor.
        fake: `[M, D]`, of synthetic images.
        groups: `[N]`, patient, slide or source of each training original.
        protocol: network and side, such as "lite1-128".
        seed: of the clustering and of the synthetic images that match the number of test originals.
    """
    if len(train) < 8 or not len(fake):
        note = f"not computed: {len(train)} training originals and {len(fake)} synthetic images; needs 8 and 1"
        return [Score(f"rare-coverage-{protocol}", None, n_real=len(train), n_fake=len(fake), note=note)]
    modes = find_modes(train, seed=seed)
    ours = coverage_mask(real=train, fake=fake)
    floor = coverage_mask(real=train, fake=test) if len(test) else None
    details = {"clusters": len(modes.sizes), "sizes": list(modes.sizes), "neighbours": NEIGHBOURS}
    scores = []
    for name, members in (("rare", modes.rare), ("common", ~modes.rare)):
        scores.append(_share(f"{name}-coverage-{protocol}", ours, floor, members, len(fake), len(test), details))
    names, counts = np.unique(np.array(groups), return_counts=True)
    for group in [n for n, c in zip(names, counts, strict=True) if c >= FEWEST_OF_GROUP][:_MOST_GROUPS]:
        members = np.array(groups) == group
        scores.append(_share(f"group-coverage-{protocol}", ours, None, members, len(fake), 0, None, group=str(group)))
    return scores


def agreement_scores(
    *,
    train: LabelledImages,
    test: LabelledImages,
    fake: LabelledImages,
    train_groups: NDArray[np.int64],
    embed: Any,
    protocol: str,
    seed: int,
) -> list[Score]:
    """How often a classifier trained on originals gives a synthetic image the label it was made for.

    The floor is how often it is right about test originals: no synthetic image can be asked for more. A value far
    above the floor is no triumph: it says that the synthetic images are easier than real ones.

    Args:
        train: originals to learn from.
        test: test originals.
        fake: synthetic images with the labels they were made for.
        train_groups: `[N]`, patient, slide or source of each training original.
        embed: frozen features, as the linear probe takes them.
        protocol: network and side, for the id.
        seed: of the choice of regularisation.
    """
    if len(train.class_names) < 2:
        return []  # one class alone: every label agrees
    weights = balanced_weights(train.labels, np.ones(len(train), np.bool_))
    learned = TrainingSet(train.images, train.labels, weights, train_groups, len(train.class_names))
    predict = classifiers.get("probe")(embed).fit(learned, seed=seed % 2**31)
    ours = predict(fake.images).argmax(axis=1) == fake.labels
    theirs = predict(test.images).argmax(axis=1) == test.labels
    scores = []
    for label in (None, *range(len(train.class_names))):
        here = np.ones(len(ours), np.bool_) if label is None else fake.labels == label
        there = np.ones(len(theirs), np.bool_) if label is None else test.labels == label
        score = _share(f"label-agreement-{protocol}", ours, None, here, 0, 0, None)
        floor = float(theirs[there].mean()) if there.any() else None
        low, high = wilson_interval(floor, int(there.sum())) if floor is not None else (None, None)
        scores.append(
            Score(
                score.metric,
                score.value,
                score.low,
                score.high,
                floor,
                low,
                high,
                n_real=int(there.sum()),
                n_fake=int(here.sum()),
                class_name=None if label is None else train.class_names[label],
                higher_is_better=True,
                note="floor: how often the same classifier is right about test originals",
            )
        )
    return scores


def _share(
    metric: str,
    ours: NDArray[np.bool_],
    floor: NDArray[np.bool_] | None,
    members: NDArray[np.bool_],
    n_fake: int,
    n_test: int,
    details: dict[str, Any] | None,
    group: str | None = None,
) -> Score:
    """Share of the members for which `ours` holds, beside the share for which `floor` holds."""
    n = int(members.sum())
    if not n:
        note = "not computed: there is no such image"
        return Score(metric, None, n_fake=n_fake, higher_is_better=True, note=note, group_name=group, details=details)
    value = float(ours[members].mean())
    low, high = wilson_interval(value, n)
    base = base_low = base_high = None
    if floor is not None:
        base = float(floor[members].mean())
        base_low, base_high = wilson_interval(base, n)
    return Score(
        metric,
        value,
        low,
        high,
        base,
        base_low,
        base_high,
        n_real=n,
        n_fake=n_fake,
        higher_is_better=True,
        note=f"floor with {n_test} test originals in place of {n_fake} images" if floor is not None else None,
        group_name=group,
        details=details,
    )
