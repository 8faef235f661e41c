"""From a folder, archive or sample to accepted originals: read, decode, check, fit, label, group.

One bad file never stops an ingest; it is listed with the reason. Only a source with nothing usable is an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthbank.data.decode import MAX_FILE_BYTES, MAX_PIXELS, Decoded, DecodeLimits, decode_image
from synthbank.data.fit import FITS, fit_image
from synthbank.data.groups import compile_group_pattern, match_group, merge_groups
from synthbank.data.modes import to_channels
from synthbank.data.quality import Candidate, checks_at, image_findings, set_findings
from synthbank.data.sources import Listing, SourceEntry, SourceLimits, open_source
from synthbank.errors import OptionError, SourceError, UnknownNameError
from synthbank.fingerprint import pixel_sha256
from synthbank.records import Finding, ImageSpec, Original, Rejected, Severity, Split

Progress = Callable[[int, int], None]


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
    keep_near_duplicates: bool = True
    """Keep near duplicates (in one group, with a warning); `False`: reject all but the first."""
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
    """Names of accepted images that are nearly the same; each pair shares a group."""
    suggested_splits: tuple[Split | None, ...]
    """The source's own split of each original."""
    n_files: int
    """Files looked at; side files of the operating system do not count."""
    source: str
    licence: str | None
    notes: tuple[str, ...]
    """What a person should know about the source as a whole."""


@dataclass
class _Draft:
    """A candidate with what was found about it so far."""

    entry: SourceEntry
    candidate: Candidate
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_rejected(self) -> bool:
        return any(f.severity is Severity.REJECT for f in self.findings)

    def as_rejected(self) -> Rejected:
        return Rejected(self.candidate.name, self.candidate.class_name, tuple(self.findings))


def ingest_source(
    location: str | Path, options: IngestOptions | None = None, *, on_progress: Progress | None = None
) -> IngestResult:
    """Read every file of a source and keep what can be used.

    Args:
        location: folder, archive, `.npz`, or the name of a sample such as "ihc".
        options: `None`: the defaults.
        on_progress: called with (files done, files in all).

    Raises:
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
    groups = merge_groups(_groups(drafts, options), pairs)
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
    """Run the checks on the whole set; the pairs are positions of near duplicates among the survivors."""
    related: list[tuple[_Draft, _Draft]] = []
    for name in checks_at("set"):
        for item in set_findings(name, [d.candidate for d in drafts]):
            finding = item.finding
            if name == "near_duplicate" and not options.keep_near_duplicates:
                finding = replace(finding, severity=Severity.REJECT)
            drafts[item.index].findings.append(finding)
            if item.other is not None and finding.severity is not Severity.REJECT:
                related.append((drafts[item.other], drafts[item.index]))
        drafts = _survivors(drafts, rejected)
    place = {id(draft): i for i, draft in enumerate(drafts)}
    return drafts, [(place[id(a)], place[id(b)]) for a, b in related if id(a) in place and id(b) in place]


def _survivors(drafts: list[_Draft], rejected: list[Rejected]) -> list[_Draft]:
    rejected.extend(d.as_rejected() for d in drafts if d.is_rejected)
    return [d for d in drafts if not d.is_rejected]


def _groups(drafts: Sequence[_Draft], options: IngestOptions) -> list[str]:
    pattern = compile_group_pattern(options.group_by) if options.group_by is not None else None
    return [_group(draft, pattern) for draft in drafts]


def _group(draft: _Draft, pattern: re.Pattern[str] | None) -> str:
    matched = match_group(pattern, draft.entry.name) if pattern is not None else None
    if pattern is not None and matched is None:
        message = f"the group pattern '{pattern.pattern}' does not match; the file is its own group"
        draft.findings.append(Finding("no_group", Severity.WARN, message))
    return matched or draft.entry.group or draft.candidate.file


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
