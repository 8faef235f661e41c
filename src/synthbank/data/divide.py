"""Divide ingested originals into train, validation and test, and keep near duplicates on one side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from synthbank.data.held_out import named, twin_finding, twins_outside
from synthbank.data.ingest import IngestOptions, IngestResult
from synthbank.data.splits import DEFAULT_SHARES, Shares, SplitResult, assign_splits
from synthbank.records import Rejected

LARGE_GROUP_SHARE = 0.1


def divide(
    result: IngestResult, options: IngestOptions, *, shares: Shares = DEFAULT_SHARES, seed: int
) -> tuple[IngestResult, SplitResult]:
    """Assign splits by group, then leave out near duplicates of held-out images that no group holds together.

    Args:
        result: originals with their groups.
        options: those of the ingest.
        shares: train, validation and test.
        seed: of the split.

    Returns:
        The ingest without what was left out, and the split of each original that stays.
    """
    split = assign_splits(
        [o.class_name for o in result.originals],
        [o.group for o in result.originals],
        shares=shares,
        seed=seed,
        suggested=result.suggested_splits,
    )
    warnings = [*result.warnings, *split.warnings, *_large_group_warnings(result)]
    place = {o.name: i for i, o in enumerate(result.originals)}
    twins = twins_outside([(place[a], place[b]) for a, b in result.near_duplicate_pairs], split.splits)
    names = [result.originals[i].name for i in sorted(twins)]
    if twins and options.near_duplicates == "ignore":
        text = f"Near duplicates of held-out images were kept, as asked, so scores may be too kind: {named(names)}"
        return result, replace(split, warnings=(*warnings, text))
    if twins:
        warnings.append(f"Left out as near duplicates of held-out images: {named(names)}")
    stays = [i for i in range(len(result.originals)) if i not in twins]
    splits = tuple(split.splits[i] for i in stays)
    return _without(result, twins, split), SplitResult(splits, tuple(warnings))


def _without(result: IngestResult, twins: dict[int, int], split: SplitResult) -> IngestResult:
    left_out = []
    for i, kept in twins.items():
        original = result.originals[i]
        finding = twin_finding(result.originals[kept].name, split.splits[kept])
        left_out.append(Rejected(original.name, original.class_name, (*original.findings, finding), original))
    originals = tuple(o for i, o in enumerate(result.originals) if i not in twins)
    names = {o.name for o in originals}
    return replace(
        result,
        originals=originals,
        rejected=tuple(sorted((*result.rejected, *left_out), key=lambda r: r.name)),
        class_names=tuple(sorted({o.class_name for o in originals})),
        near_duplicate_pairs=tuple(pair for pair in result.near_duplicate_pairs if names.issuperset(pair)),
        suggested_splits=tuple(s for i, s in enumerate(result.suggested_splits) if i not in twins),
    )


def _large_group_warnings(result: IngestResult) -> list[str]:
    """One sentence for each class of which a group holds more than a tenth."""
    group_of = {o.name: o.group for o in result.originals}
    joined = {group_of[a] for a, b in result.near_duplicate_pairs if group_of[a] == group_of[b]}
    return large_group_warnings(
        [o.class_name for o in result.originals], [o.group for o in result.originals], near_duplicates=joined
    )


def large_group_warnings(
    class_names: Sequence[str], groups: Sequence[str], *, near_duplicates: Iterable[str] = ()
) -> list[str]:
    """Sentences about groups of several images that hold more than a tenth of a class of several groups.

    Args:
        class_names: `[N]`, class of each image.
        groups: `[N]`, group of each image.
        near_duplicates: groups that hold near duplicates.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, group in zip(class_names, groups, strict=True):
        counts[name][group] += 1
    joined, warnings = set(near_duplicates), []
    for name, sizes in sorted(counts.items()):
        total = sizes.total()
        large = sorted((-n, group) for group, n in sizes.items() if n > max(LARGE_GROUP_SHARE * total, 1))
        if len(sizes) == 1 or not large:
            continue
        n, group = -large[0][0], large[0][1]
        more = f", and {len(large) - 1} more groups hold over a tenth each" if len(large) > 1 else ""
        why = " It holds near duplicates (--near-duplicates says what becomes of them)." if group in joined else ""
        warnings.append(
            f"Group '{group}' holds {n} of {total} images of class '{name}'{more}: its split is coarse, and scores "
            f"rest on few groups.{why}"
        )
    return warnings
