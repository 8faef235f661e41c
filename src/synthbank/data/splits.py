"""Train, validation and test: set once, by whole groups, before any augmentation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from synthbank.data.held_out import held_out_rank
from synthbank.errors import OptionError
from synthbank.fingerprint import stable_seed
from synthbank.records import Split

SPLITS = (Split.TRAIN, Split.VALIDATION, Split.TEST)
DEFAULT_SHARES = (0.7, 0.15, 0.15)
Shares = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class SplitResult:
    """The split of each image, in the order they were given, and what a person should know about it."""

    splits: tuple[Split, ...]
    warnings: tuple[str, ...]


def parse_shares(text: str) -> Shares:
    """Read "70/15/15" or "0.7/0.15/0.15" as train, validation and test shares that add up to one.

    >>> parse_shares("80/10/10")
    (0.8, 0.1, 0.1)

    Raises:
        OptionError: not three numbers, a negative one, no training share, or another sum.
    """
    allowed = "three numbers such as 70/15/15 that add up to 100 (or to 1)"
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError as error:
        raise OptionError("The split shares are not numbers", got=text, allowed=allowed) from error
    total = sum(numbers)
    whole = next((w for w in (1.0, 100.0) if abs(total - w) < 1e-6 * w), None)
    if len(numbers) != 3 or whole is None:
        raise OptionError("The split shares do not add up", got=f"{text} (sum {total:g})", allowed=allowed)
    train, validation, test = (n / whole for n in numbers)
    return _checked((train, validation, test))


def assign_splits(
    class_names: Sequence[str],
    groups: Sequence[str],
    *,
    shares: Shares = DEFAULT_SHARES,
    seed: int,
    suggested: Sequence[Split | None] | None = None,
) -> SplitResult:
    """Assign every image to a split; images of one group always land together.

    Groups are placed largest first where their classes lack most (ties by a hash of seed and name), so the outcome
    does not depend on the order of the input. A group that holds all of a class goes to training.

    Args:
        class_names: `[N]`, class of each image.
        groups: `[N]`, patient, slide or source of each image.
        shares: train, validation, test; add up to one. A share of 0 leaves that split empty.
        seed: another seed gives another assignment.
        suggested: `[N]`, the source's own split; respected where it is not `None`. A suggestion without any
            validation (or test) image gets one carved out of its training part. A group in several splits goes to
            test, else to validation: no image that was given as test ever leaves it.

    Raises:
        OptionError: lengths differ, or shares out of range.
    """
    shares = _checked(shares)
    suggestion = list(suggested) if suggested is not None else [None] * len(groups)
    if not len(class_names) == len(groups) == len(suggestion):
        raise OptionError("Classes, groups and suggestions differ in length", got=(len(class_names), len(groups)))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, group in zip(class_names, groups, strict=True):
        counts[group][name] += 1
    placed, warnings = _respect_suggestions(groups, suggestion, shares)
    _place_rest(counts, placed, shares, seed)
    splits = tuple(placed[group] for group in groups)
    return SplitResult(splits, (*warnings, *_class_warnings(class_names, groups, splits, shares)))


def _checked(shares: Shares) -> Shares:
    if len(shares) != 3 or min(shares) < 0 or shares[0] <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise OptionError("The split shares are out of range", got=shares, allowed="train above 0, sum 1, none below 0")
    return shares


def _respect_suggestions(
    groups: Sequence[str], suggestion: Sequence[Split | None], shares: Shares
) -> tuple[dict[str, Split], list[str]]:
    votes: dict[str, Counter[Split]] = defaultdict(Counter)
    for group, split in zip(groups, suggestion, strict=True):
        if split is not None:
            votes[group][split] += 1
    placed = {group: min(votes[group], key=held_out_rank) for group in votes}
    warnings = [
        f"Group '{group}' is in several splits of the source; all of it was put in {placed[group]}"
        for group in sorted(votes)
        if len(votes[group]) > 1
    ]
    missing = [s.value for s, share in zip(SPLITS, shares, strict=True) if share > 0 and s not in placed.values()]
    if placed and missing and Split.TRAIN in placed.values():
        placed = {group: split for group, split in placed.items() if split is not Split.TRAIN}
        parts = " and no ".join(missing)
        warnings.append(f"The source has no {parts} part; it was taken from its training part")
    return placed, warnings


def _place_rest(counts: dict[str, Counter[str]], placed: dict[str, Split], shares: Shares, seed: int) -> None:
    free = [group for group in counts if group not in placed]
    totals: Counter[str] = Counter()
    holders: Counter[str] = Counter()
    for group in free:
        totals.update(counts[group])
        holders.update(counts[group].keys())
    open_shares = _shares_of_free(placed, shares)
    lacking = {split: {c: share * n for c, n in totals.items()} for split, share in open_shares.items()}
    sole = {group for group in free if any(holders[c] == 1 for c in counts[group])}
    order = sorted(free, key=lambda g: (g not in sole, -counts[g].total(), stable_seed(seed, "split", g), g))
    for group in order:
        need = {s: sum(n * lacking[s][c] / totals[c] for c, n in sorted(counts[group].items())) for s in open_shares}
        chosen = Split.TRAIN if group in sole else max(open_shares, key=lambda s: need[s])
        placed[group] = chosen
        for name, n in counts[group].items():
            lacking[chosen][name] -= n


def _shares_of_free(placed: dict[str, Split], shares: Shares) -> dict[Split, float]:
    """Shares for the groups without a suggestion; held-out parts given by the source are left as they are."""
    given = set(placed.values())
    wanted = {s: share for s, share in zip(SPLITS, shares, strict=True) if share > 0}
    if given and Split.TRAIN not in given:
        wanted = {s: share for s, share in wanted.items() if s not in given}
    total = sum(wanted.values())
    return {s: share / total for s, share in wanted.items()}


def _class_warnings(
    class_names: Sequence[str], groups: Sequence[str], splits: Sequence[Split], shares: Shares
) -> list[str]:
    present: dict[str, set[Split]] = defaultdict(set)
    members: dict[str, set[str]] = defaultdict(set)
    for name, group, split in zip(class_names, groups, splits, strict=True):
        present[name].add(split)
        members[name].add(group)
    warnings = []
    for name in sorted(present):
        empty = [s.value for s, share in zip(SPLITS, shares, strict=True) if share > 0 and s not in present[name]]
        if empty:
            n_groups = len(members[name])
            counted = "1 group" if n_groups == 1 else f"{n_groups} groups"
            warnings.append(f"Class '{name}' has {counted}: no image of it is in {' or '.join(empty)}")
    return warnings
