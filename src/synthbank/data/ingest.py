"""From a folder, archive or sample to accepted originals: read, decode, check, fit, label, group.

One bad file never stops an ingest; it is listed with the reason. Only a source with nothing usable is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthbank.data.decode import MAX_FILE_BYTES, MAX_PIXELS, Decoded, DecodeLimits, decode_image
from synthbank.data.fit import FITS, fit_image
from synthbank.data.groups import compile_group_pattern, join_groups, match_group
from synthbank.data.held_out import (
    check_training_is_left,
    group_finding,
    held_out_rank,
    named,
    outside_of_groups,
    twin_finding,
    twins_outside,
)
from synthbank.data.modes import to_channels
from synthbank.data.quality import Candidate, SetFinding, checks_at, image_findings, set_findings
from synthbank.data.sources import Listing, SourceEntry, SourceLimits, open_source
from synthbank.errors import OptionError, SourceError, UnknownNameError
from synthbank.fingerprint import pixel_sha256
from synthbank.records import Finding, ImageSpec, Original, Rejected, Severity, Split

Progress = Callable[[int, int], None]
NEAR_DUPLICATES = ("join", "drop", "ignore")


@dataclass(frozen=True)
class IngestOptions:
    """Every choice of an ingest."""

    size: int = 64
    """Side of the originals, in pixels."""
    fit: str = "resize"
    """"resize": centre square, resized; "crop": centre square at native resolution; "tile": all squares."""
    tile_stride: int | None = None
    """Pixels between tiles; `None`: `size`, no overlap."""
    channels: int | None = None
    """1: grey, 3: RGB; `None`: what most files have."""
    group_by: str | None = None
    """Regular expression searched in each path; its group is the patient or slide. `None`: each file on its own."""
    ungrouped: str | None = None
    """"own": a file that `group_by` does not match is its own group; `None`: such a file is an error."""
    near_duplicates: str = "join"
    """"join": near duplicates share a group and never stand on both sides of the split; "drop": one of them is kept;
    "ignore": they are reported and nothing else."""
    max_pixels: int = MAX_PIXELS
    """Largest width times height of a file, checked before decoding."""
    max_file_bytes: int = MAX_FILE_BYTES
    """Largest file."""
    microns_per_pixel: float | None = None
    """Physical size of a pixel of the originals; `None`: unknown."""

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 1024:
            raise OptionError("The image size is out of range", got=self.size, allowed="8 to 1024 pixels")
        if self.fit not in FITS:
            raise UnknownNameError("fit", self.fit, FITS)
        if self.tile_stride is not None and (self.fit != "tile" or self.tile_stride < 1):
            raise OptionError("tile_stride needs fit 'tile' and at least 1 pixel", got=self.tile_stride)
        if self.channels not in (None, 1, 3):
            raise OptionError("The number of channels is not known", got=self.channels, allowed="1, 3 or auto")
        if self.near_duplicates not in NEAR_DUPLICATES:
            raise UnknownNameError("treatment of near duplicates", self.near_duplicates, NEAR_DUPLICATES)
        if self.ungrouped not in (None, "own"):
            raise UnknownNameError("treatment of ungrouped files", self.ungrouped, ("own",))
        if self.group_by is not None:
            compile_group_pattern(self.group_by)


@dataclass(frozen=True)
class IngestResult:
    """What an ingest accepted and what it left out."""

    originals: tuple[Original, ...]
    """Sorted by name."""
    rejected: tuple[Rejected, ...]
    """Sorted by name."""
    spec: ImageSpec
    class_names: tuple[str, ...]
    """Sorted; the position is the label."""
    near_duplicate_pairs: tuple[tuple[str, str], ...]
    """Names of accepted images that are nearly the same, the surest pair first."""
    suggested_splits: tuple[Split | None, ...]
    """The source's own split of each original."""
    n_files: int
    """Files looked at; side files of the operating system do not count."""
    source: str
    licence: str | None
    notes: tuple[str, ...]
    """What a person should know about the source as a whole."""
    warnings: tuple[str, ...] = ()
    """What a person should know about images that were left out for a held-out part of the source."""


@dataclass
class _Draft:
    """A candidate with what was found about it so far."""

    entry: SourceEntry
    candidate: Candidate
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_rejected(self) -> bool:
        return any(f.severity is Severity.REJECT for f in self.findings)

    def as_rejected(self, original: Original | None = None) -> Rejected:
        return Rejected(self.candidate.name, self.candidate.class_name, tuple(self.findings), original)


def ingest_source(
    location: str | Path, options: IngestOptions | None = None, *, on_progress: Progress | None = None
) -> IngestResult:
    """Read every file of a source and keep what can be used.

    Args:
        location: folder, archive, `.npz`, or the name of a sample such as "ihc".
        options: `None`: the defaults.
        on_progress: called with (files done, files in all).

    Raises:
        OptionError: `group_by` does not match all files, or groups leave a class without a training image.
        SourceError: nothing is there, or nothing of it can be used.
        UnsafeArchiveError: an archive that would escape its folder or exhaust the machine.
    """
    options = options or IngestOptions()
    limits = SourceLimits(tile_size=options.size, max_bytes=options.max_file_bytes)
    with open_source(location, limits) as listing:
        drafts, rejected = _read_all(listing, options, on_progress)
    drafts = _checked_alone(drafts, rejected, options)
    drafts, pairs = _checked_together(drafts, rejected, options)
    if not drafts:
        raise _nothing_usable(location, rejected)
    groups = _groups(drafts, options)
    drafts, groups, pairs, warnings = _held_out_first(drafts, groups, pairs, rejected, options)
    if options.near_duplicates == "join":
        groups = join_groups(groups, pairs)
    originals = tuple(_original(draft, group) for draft, group in zip(drafts, groups, strict=True))
    return IngestResult(
        originals=originals,
        rejected=tuple(sorted(rejected, key=lambda r: r.name)),
        spec=ImageSpec(options.size, originals[0].pixels.shape[0], options.microns_per_pixel),
        class_names=tuple(sorted({o.class_name for o in originals})),
        near_duplicate_pairs=tuple((originals[a].name, originals[b].name) for a, b in pairs),
        suggested_splits=tuple(d.entry.split for d in drafts),
        n_files=len(listing.entries) + len(listing.rejected),
        source=listing.source,
        licence=listing.licence,
        notes=_notes(listing, originals),
        warnings=tuple(warnings),
    )


def _read_all(
    listing: Listing, options: IngestOptions, on_progress: Progress | None
) -> tuple[list[_Draft], list[Rejected]]:
    """Decode and fit every entry, in the order that reads fastest; drafts come back sorted by name."""
    drafts: list[_Draft] = []
    rejected = list(listing.rejected)
    limits = DecodeLimits(options.max_pixels, options.max_file_bytes)
    for done, entry in enumerate(sorted(listing.entries, key=lambda e: (e.position, e.name)), start=1):
        decoded = _decode_entry(entry, limits)
        fitted = _fit_entry(entry, decoded, options)
        for draft in fitted:
            if draft.is_rejected:
                rejected.append(draft.as_rejected())
            else:
                drafts.append(draft)
        if not fitted:
            rejected.append(Rejected(entry.name, entry.class_name, decoded.findings))
        if on_progress is not None:
            on_progress(done, len(listing.entries))
    return sorted(drafts, key=lambda d: d.candidate.name), rejected


def _decode_entry(entry: SourceEntry, limits: DecodeLimits) -> Decoded:
    if entry.size_bytes is not None and entry.size_bytes > limits.max_bytes:
        return _refused("file_size", f"{entry.size_bytes} bytes; at most {limits.max_bytes}", float(entry.size_bytes))
    try:
        content = entry.read()
    except OSError as error:
        return _refused("unreadable", f"cannot be read: {error.strerror or error}")
    decoded = decode_image(content, entry.name, limits) if isinstance(content, bytes) else Decoded(content, ())
    if decoded.pixels is not None and entry.class_name is None:
        return _refused("no_class", "the image lies beside the class folders; move it into one")
    return decoded


def _refused(check: str, message: str, value: float | None = None) -> Decoded:
    return Decoded(None, (Finding(check, Severity.REJECT, message, value),))


def _fit_entry(entry: SourceEntry, decoded: Decoded, options: IngestOptions) -> list[_Draft]:
    """The squares of one file; a file that fails a check on its native size comes back as one rejected draft."""
    if decoded.pixels is None or entry.class_name is None:
        return []
    pixels = decoded.pixels
    native = Candidate(
        name=entry.name,
        class_name=entry.class_name,
        pixels=pixels,
        native_channels=pixels.shape[0],
        target_size=options.size,
        fit=options.fit,
        file=entry.name.rpartition("#")[0] if entry.group is not None and "#" in entry.name else entry.name,
    )
    whole = _Draft(entry, native, [*decoded.findings, *image_findings(native, "native")])
    if whole.is_rejected:
        return [whole]
    squares = fit_image(pixels, size=options.size, fit=options.fit, tile_stride=options.tile_stride)
    return [
        _Draft(
            entry,
            replace(native, name=entry.name + square.suffix, pixels=square.pixels),
            [*whole.findings, *square.findings],
        )
        for square in squares
    ]


def _checked_alone(drafts: list[_Draft], rejected: list[Rejected], options: IngestOptions) -> list[_Draft]:
    """Bring all drafts to one number of channels and run the checks that look at one image."""
    channels = options.channels or _majority_channels(drafts)
    for draft in drafts:
        pixels = to_channels(draft.candidate.pixels, channels)
        draft.candidate = replace(draft.candidate, pixels=pixels)
        draft.findings += image_findings(draft.candidate, "fitted")
    return _survivors(drafts, rejected)


def _majority_channels(drafts: Sequence[_Draft]) -> int:
    votes = Counter(d.candidate.native_channels for d in drafts)
    return 1 if votes[1] > votes[3] else 3


def _checked_together(
    drafts: list[_Draft], rejected: list[Rejected], options: IngestOptions
) -> tuple[list[_Draft], list[tuple[int, int]]]:
    """Run the checks on the whole set; the pairs are positions of near duplicates among the survivors.

    Held-out images come first, so that of two equal images the one in the test part is kept.
    """
    drafts = sorted(drafts, key=lambda d: (held_out_rank(d.entry.split), d.candidate.name))
    related: list[tuple[_Draft, _Draft]] = []
    for name in checks_at("set"):
        items = set_findings(name, [d.candidate for d in drafts])
        if name == "near_duplicate":
            surest = sorted(items, key=lambda item: (-(item.finding.value or 0.0), item.index))
            related = [(drafts[i.other], drafts[i.index]) for i in surest if i.other is not None]
            items = _repeats(items) if options.near_duplicates == "drop" else _one_an_image(surest)
        for item in items:
            drafts[item.index].findings.append(item.finding)
        drafts = _survivors(drafts, rejected)
    drafts = sorted(drafts, key=lambda d: d.candidate.name)
    place = {id(draft): i for i, draft in enumerate(drafts)}
    return drafts, [(place[id(a)], place[id(b)]) for a, b in related if id(a) in place and id(b) in place]


def _repeats(items: Sequence[SetFinding]) -> list[SetFinding]:
    """Findings that reject an image with an earlier near duplicate that is kept itself."""
    repeats: dict[int, SetFinding] = {}
    for item in sorted(items, key=lambda item: item.index):
        if item.index not in repeats and item.other not in repeats:
            repeats[item.index] = replace(item, finding=replace(item.finding, severity=Severity.REJECT))
    return list(repeats.values())


def _one_an_image(surest: Sequence[SetFinding]) -> list[SetFinding]:
    """The surest finding of each image, which says how many more there are."""
    counts = Counter(item.index for item in surest)
    first: dict[int, SetFinding] = {}
    for item in surest:
        if item.index not in first:
            more = counts[item.index] - 1
            message = item.finding.message + (f"; {more} more images are as near" if more else "")
            first[item.index] = replace(item, finding=replace(item.finding, message=message))
    return list(first.values())


def _held_out_first(
    drafts: list[_Draft],
    groups: list[str],
    pairs: list[tuple[int, int]],
    rejected: list[Rejected],
    options: IngestOptions,
) -> tuple[list[_Draft], list[str], list[tuple[int, int]], list[str]]:
    """Leave out what the source's own test and validation parts forbid elsewhere: their groups, then their twins."""
    splits = [draft.entry.split for draft in drafts]
    warnings = []
    outside = outside_of_groups(groups, splits)
    if outside:
        check_training_is_left([d.candidate.class_name for d in drafts], splits, outside, groups)
        for i, kept in outside.items():
            drafts[i].findings.append(group_finding(groups[i], drafts[kept].candidate.name, splits[kept]))
            rejected.append(drafts[i].as_rejected())
        warnings.append(
            f"Left out as their groups have images in a held-out part of the source: {_named(drafts, outside)}"
        )
    inside = [pair for pair in pairs if not outside.keys() & set(pair)]
    twins = twins_outside(inside, splits) if options.near_duplicates == "join" else {}
    for i, kept in twins.items():
        drafts[i].findings.append(twin_finding(drafts[kept].candidate.name, splits[kept]))
        rejected.append(drafts[i].as_rejected(_original(drafts[i], groups[i])))
    if twins:
        warnings.append(f"Left out as near duplicates of held-out images of the source: {_named(drafts, twins)}")
    stays = [i for i in range(len(drafts)) if i not in outside and i not in twins]
    place = {old: new for new, old in enumerate(stays)}
    left = [(place[a], place[b]) for a, b in pairs if a in place and b in place]
    return [drafts[i] for i in stays], [groups[i] for i in stays], left, warnings


def _named(drafts: Sequence[_Draft], positions: Iterable[int]) -> str:
    return named([drafts[i].candidate.name for i in sorted(positions)])


def _survivors(drafts: list[_Draft], rejected: list[Rejected]) -> list[_Draft]:
    rejected.extend(d.as_rejected() for d in drafts if d.is_rejected)
    return [d for d in drafts if not d.is_rejected]


def _groups(drafts: Sequence[_Draft], options: IngestOptions) -> list[str]:
    given = [draft.entry.group or draft.candidate.file for draft in drafts]
    if options.group_by is None:
        return given
    pattern = compile_group_pattern(options.group_by)
    matches = [match_group(pattern, draft.entry.name) for draft in drafts]
    missed = sorted({d.entry.name for d, match in zip(drafts, matches, strict=True) if match is None})
    if missed and options.ungrouped is None:
        n_files = len({draft.entry.name for draft in drafts})
        raise OptionError(
            f"The group pattern matches {n_files - len(missed)} of {n_files} files, not {named(missed)}",
            got=options.group_by,
            next_step="correct --group-by, or make each such file its own group with --ungrouped own",
        )
    for draft, match in zip(drafts, matches, strict=True):
        if match is None:
            message = f"the group pattern '{pattern.pattern}' does not match; the file is its own group"
            draft.findings.append(Finding("no_group", Severity.WARN, message))
    return [match or group for match, group in zip(matches, given, strict=True)]


def _original(draft: _Draft, group: str) -> Original:
    candidate = draft.candidate
    pixels: NDArray[np.uint8] = np.ascontiguousarray(candidate.pixels)
    return Original(
        sha256=pixel_sha256(pixels),
        name=candidate.name,
        class_name=candidate.class_name,
        group=group,
        pixels=pixels,
        findings=tuple(draft.findings),
    )


def _nothing_usable(location: str | Path, rejected: Sequence[Rejected]) -> SourceError:
    reasons = Counter(f.check for r in rejected for f in r.findings if f.severity is Severity.REJECT)
    counted = ", ".join(f"{n} {check}" for check, n in reasons.most_common(5))
    return SourceError(
        "No image of the source can be used",
        got=f"{location}: {counted or 'no files'}",
        allowed="PNG, JPEG, TIFF or BMP images in one sub-folder per class",
        next_step="look at the findings of the first files, or choose a smaller size",
        path=str(location),
        rejected=tuple(rejected),
    )


def _notes(listing: Listing, originals: Sequence[Original]) -> tuple[str, ...]:
    notes = list(listing.notes)
    if listing.n_side_files:
        notes.append(f"{listing.n_side_files} side files of the operating system were passed over")
    accepted = {o.class_name for o in originals}
    lost = {e.class_name for e in listing.entries if e.class_name is not None} - accepted
    notes += [f"No file of class '{name}' was accepted" for name in sorted(lost)]
    if len(accepted) == 1:
        notes.append(f"There is one class only: '{next(iter(accepted))}'")
    return tuple(notes)
