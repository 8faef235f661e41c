"""Images that a held-out part forbids elsewhere: near duplicates and members of its groups.

What the source or the user gave as test (or validation) stays there. The image on the other side is left out of the
data set, with a finding that names the held-out image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from synthbank.errors import OptionError
from synthbank.records import Finding, Severity, Split

_RANKS: Mapping[Split | None, int] = {Split.TEST: 0, Split.VALIDATION: 1}
_SHOWN = 3


def held_out_rank(split: Split | None) -> int:
    """0 for test, 1 for validation, 2 for training images and those without a split."""
    return _RANKS.get(split, 2)


def twins_outside(pairs: Iterable[tuple[int, int]], splits: Sequence[Split | None]) -> dict[int, int]:
    """Images with a near duplicate in a part that is held out more.

    Args:
        pairs: positions of near duplicates.
        splits: `[N]`, part of each image.

    Returns:
        Position of each image to leave out, with that of the held-out twin, which stays.

    >>> twins_outside([(0, 1), (1, 2)], [Split.TEST, Split.VALIDATION, Split.TRAIN])
    {1: 0}
    """
    crossing = []
    for pair in pairs:
        kept, left = sorted(pair, key=lambda i: (held_out_rank(splits[i]), i))
        if held_out_rank(splits[kept]) != held_out_rank(splits[left]):
            crossing.append((held_out_rank(splits[kept]), kept, left))
    twins: dict[int, int] = {}
    for _, kept, left in sorted(crossing):
        if kept not in twins:
            twins.setdefault(left, kept)
    return twins


def outside_of_groups(groups: Sequence[str], splits: Sequence[Split | None]) -> dict[int, int]:
    """Images whose group has others in a part that is held out more; position, with that of one of those others.

    >>> outside_of_groups(["p", "p", "q"], [Split.TRAIN, Split.TEST, Split.TRAIN])
    {0: 1}
    """
    members: dict[str, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    outside = {}
    for positions in members.values():
        first = min(positions, key=lambda i: (held_out_rank(splits[i]), i))
        least = held_out_rank(splits[first])
        outside.update({i: first for i in positions if held_out_rank(splits[i]) != least})
    return dict(sorted(outside.items()))


def twin_finding(kept: str, split: Split | None) -> Finding:
    """Finding of an image that is left out for its near duplicate `kept` in a held-out part."""
    message = f"nearly the same as '{kept}', which is a {split} image and stays; this one was left out"
    return Finding("held_out_twin", Severity.REJECT, message, other=kept)


def group_finding(group: str, kept: str, split: Split | None) -> Finding:
    """Finding of an image that is left out for a member of its group in a held-out part."""
    message = f"its group '{group}' has {split} images, such as '{kept}', which stay; this one was left out"
    return Finding("held_out_group", Severity.REJECT, message, other=kept)


def check_training_is_left(
    class_names: Sequence[str], splits: Sequence[Split | None], outside: Mapping[int, int], groups: Sequence[str]
) -> None:
    """Stop where the groups leave a class without a training image.

    Raises:
        OptionError: each training image of a class has a group that reaches into test or validation.
    """
    before = {name for name, split in zip(class_names, splits, strict=True) if held_out_rank(split) == 2}
    after = {
        name
        for i, (name, split) in enumerate(zip(class_names, splits, strict=True))
        if held_out_rank(split) == 2 and i not in outside
    }
    lost = sorted(before - after)
    if lost:
        shown = sorted({groups[i] for i in outside if class_names[i] == lost[0]})
        raise OptionError(
            f"No training image of class '{lost[0]}' is left: all of its groups have held-out images too",
            got=f"groups {named(shown)}",
            next_step="leave out --group-by to keep the source's own split, or give all images in one folder a class, "
            "without train and test folders, so that the split is made by group",
        )


def named(names: Sequence[str]) -> str:
    """The first names in quotes, and how many more there are.

    >>> named(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c' and 2 more"
    """
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
