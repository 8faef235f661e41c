"""Folds over groups, for cross-validation of the utility experiment."""

from __future__ import annotations

import numpy as np

from synthbank.errors import OptionError
from synthbank.metrics._checks import Labels, Mask

MOST_GROUPS_OUT = 12
"""Groups that are left out one by one; each costs a generator and a full set of classifiers."""


def split_folds(labels: Labels, groups: Labels, n_folds: int, *, seed: int) -> list[Mask]:
    """Cut groups into folds with each class spread evenly.

    Args:
        labels: `[N]`, int64, class of each original.
        groups: `[N]`, int64, patient, slide or source of each original.
        n_folds: 2 or more.
        seed: of the partition.

    Returns:
        One mask `[N]` a fold, true where tested; every original is tested once.

    Raises:
        OptionError: a class has fewer groups than folds, so some fold could not test (or train on) it.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    # images of one patient in training and test would let a classifier recognise the patient
    fewest = min(len(np.unique(groups[labels == c])) for c in np.unique(labels))
    if not 2 <= n_folds <= fewest:
        raise OptionError(
            "The number of folds does not fit the groups",
            got=n_folds,
            allowed=f"2 to {fewest}, the groups of the rarest class",
            next_step="use fewer folds, or bring more groups of that class",
        )
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    folds = []
    for _, test_index in splitter.split(labels, labels, groups):
        mask = np.zeros(len(labels), np.bool_)
        mask[test_index] = True
        folds.append(mask)
    return folds


def leave_one_group_out(groups: Labels, labels: Labels) -> list[Mask]:
    """Make one fold of each group (centre, scanner), to test a classifier where it has never been.

    Args:
        groups: `[N]`, int64, the group of each original.
        labels: `[N]`, int64, its class.

    Returns:
        One mask `[N]` a group, true where tested.

    Raises:
        OptionError: fewer than two groups, more than 12, or a class that lives in one group alone.
    """
    names = np.unique(groups)
    if not 2 <= len(names) <= MOST_GROUPS_OUT:
        raise OptionError(
            "Leaving one group out needs few, large groups",
            got=f"{len(names)} groups",
            allowed=f"2 to {MOST_GROUPS_OUT}, such as centres or scanners",
            next_step="use folds instead",
        )
    # left out, such a class would be unknown to the classifier that is tested on it
    for label in np.unique(labels):
        if len(np.unique(groups[labels == label])) < 2:
            raise OptionError("A class lives in one group alone", got=int(label), next_step="use folds instead")
    return [groups == name for name in names]
