"""The unit of splitting: which images must stay together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from synthbank.errors import OptionError


def compile_group_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a `group_by` pattern; the group named `group`, else the first one, gives the group id.

    Raises:
        OptionError: not a regular expression, or one without a capture group.
    """
    example = r"a pattern with one group, such as '(patient\d+)_'"
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        what = "The group pattern is not a regular expression"
        raise OptionError(what, got=f"{pattern} ({error})", allowed=example) from error
    if compiled.groups == 0:
        raise OptionError("The group pattern captures nothing", got=pattern, allowed=example)
    return compiled


def match_group(pattern: re.Pattern[str], name: str) -> str | None:
    """The group id in a file name; `None`: the pattern does not match.

    >>> match_group(re.compile(r"(patient\\d+)_"), "tumour/patient07_3.png")
    'patient07'
    """
    match = pattern.search(name)
    if match is None:
        return None
    return match["group" if "group" in pattern.groupindex else 1] or None


def join_groups(groups: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """Join the groups of near duplicates, without chains (complete linkage).

    Two groups are linked where a pair joins an image of one to an image of the other. Groups become one only when
    each of them is linked to each: of A ~ B and B ~ C alone, the first pair counts, and C stays by itself.

    Args:
        groups: `[N]`, group of each image.
        pairs: positions of near duplicates, the surest first.

    Returns:
        `[N]`, groups; joined ones carry the first of their names.

    >>> join_groups(["a", "b", "c", "b"], [(0, 3), (3, 2)])
    ['a', 'a', 'c', 'a']
    >>> join_groups(["a", "b", "c"], [(0, 1), (1, 2), (0, 2)])
    ['a', 'a', 'a']
    """
    links = dict.fromkeys(_ordered(groups[one], groups[two]) for one, two in pairs if groups[one] != groups[two])
    members = {group: [group] for link in links for group in link}  # shared by all groups of a cluster
    for first, second in links:
        ours, theirs = members[first], members[second]
        if ours is theirs or not all(_ordered(a, b) in links for a in ours for b in theirs):
            continue
        ours += theirs
        for group in theirs:
            members[group] = ours
    return [min(members.get(group, [group])) for group in groups]


def _ordered(one: str, two: str) -> tuple[str, str]:
    return (one, two) if one < two else (two, one)
