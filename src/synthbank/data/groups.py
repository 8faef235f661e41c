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


def merge_groups(groups: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """Give images that belong together one group.

    Args:
        groups: `[N]`, group of each image.
        pairs: positions of images that must not be parted; their whole groups are joined.

    Returns:
        `[N]`, groups; joined ones carry the first of their names.

    >>> merge_groups(["a", "b", "c", "b"], [(0, 3)])
    ['a', 'a', 'c', 'a']
    """
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    for one, two in pairs:
        first, second = sorted((root(groups[one]), root(groups[two])))
        parent[second] = first
    return [root(group) for group in groups]
