"""Ingest and augment: from the user's files to a catalogued, split data set with its affine expansion."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sqlalchemy.orm import Session

from synthbank.catalogue import DatasetRow, NewOriginal, queries
from synthbank.data import (
    DEFAULT_SHARES,
    IngestOptions,
    IngestResult,
    divide,
    ingest_source,
    parse_shares,
)
from synthbank.errors import SourceError
from synthbank.fingerprint import set_fingerprint
from synthbank.records import GroupFacts, Split, group_facts
from synthbank.storage import encode_png, layout, local_path_of, open_filesystem, translate_errors
from synthbank.workflows.bank import Bank

__all__ = [
    "DEFAULT_SHARES",
    "FileFinding",
    "IngestOptions",
    "IngestReport",
    "default_name",
    "ingest",
    "parse_shares",
]


@dataclass(frozen=True)
class FileFinding:
    """What a check said about one file."""

    name: str
    check: str
    effect: str
    """reject, convert or warn."""
    message: str


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did; `counts[class][split]` are accepted originals."""

    dataset: DatasetRow
    is_new: bool
    """`False`: the same files with the same options were there already."""
    n_files: int
    counts: dict[str, dict[str, int]]
    groups: GroupFacts
    n_rejected: int
    findings: dict[str, int]
    """How often each finding was made, by "check/severity"."""
    files: tuple[FileFinding, ...]
    """Every finding with its file, those of rejected files first."""
    notes: tuple[str, ...]
    """What was decided while reading, such as the channels."""
    warnings: tuple[str, ...]
    """What the user should know before training, such as a class too small to split."""


def ingest(
    bank: Bank,
    source: str | Path,
    *,
    name: str,
    options: IngestOptions | None = None,
    shares: tuple[float, float, float] = DEFAULT_SHARES,
    seed: int = 0,
) -> IngestReport:
    """Read, check, split and catalogue a set of originals; the same call again changes nothing.

    Args:
        bank: where to.
        source: folder, archive or `.npz`, or a URL of one (gs://…), or a built-in sample such as "sample:ihc".
        name: of the data set; other files under the same name become its next version.
        options: size, fit, channels, grouping.
        shares: train, validation and test.
        seed: of the split.
    """
    options = options or IngestOptions()
    layout.check_name(name, "data set name")
    with _at_hand(source) as here:
        result = ingest_source(here, options)
    if here != source:
        result = replace(result, source=str(source))
    result, split = divide(result, options, shares=shares, seed=seed)
    recorded = {**asdict(options), "shares": list(shares), "split_seed": seed}
    twins = [r.original for r in result.rejected if r.original is not None]
    for original in (*result.originals, *twins):
        key = layout.original_key(name, original.sha256)
        if not bank.store.exists(key):
            bank.store.put(key, encode_png(original.pixels))
    with bank.catalogue.session() as session:
        n_before = len(queries.list_datasets(session=session))
        dataset = _record(session, name, result, split.splits, recorded)
        is_new = len(queries.list_datasets(session=session)) > n_before
    return _report(dataset, is_new, result, split.splits, split.warnings)


@contextmanager
def _at_hand(source: str | Path) -> Iterator[str | Path]:
    """A local copy of a remote source for as long as it is read; anything else as it is."""
    if "://" not in str(source) or local_path_of(source) is not None:
        yield source
        return
    filesystem, root = open_filesystem(str(source))
    with tempfile.TemporaryDirectory(prefix="synthbank-") as folder:
        here = Path(folder) / (Path(root).name or "source")
        with translate_errors(str(source)):
            if not filesystem.exists(root):
                raise SourceError("There is nothing at this URL", got=str(source), next_step="check bucket and path")
            filesystem.get(f"{root.rstrip('/')}/" if filesystem.isdir(root) else root, str(here), recursive=True)
        yield here


def default_name(source: str | Path | None) -> str:
    """A data set name made from a source's file name, or of a built-in sample's own."""
    stem = Path(source or "data").resolve().name
    for suffix in (".zip", ".npz", ".gz", ".tgz", ".tar"):
        stem = stem.removesuffix(suffix)
    return layout.slugify(stem)


def _record(
    session: Session, name: str, result: IngestResult, splits: Sequence[Split], options: dict[str, object]
) -> DatasetRow:
    accepted = [
        NewOriginal(
            name=o.name,
            accepted=True,
            sha256=o.sha256,
            key=layout.original_key(name, o.sha256),
            class_name=o.class_name,
            group_id=o.group,
            split=s,
            findings=o.findings,
        )
        for o, s in zip(result.originals, splits, strict=True)
    ]
    rejected = [
        NewOriginal(
            name=r.name,
            accepted=False,
            sha256=None if r.original is None else r.original.sha256,
            key=None if r.original is None else layout.original_key(name, r.original.sha256),
            class_name=r.class_name,
            group_id=None if r.original is None else r.original.group,
            reason="; ".join(f.message for f in r.findings),
            findings=r.findings,
        )
        for r in result.rejected
    ]
    per_split = {s: [o.sha256 for o in accepted if o.split == s and o.sha256] for s in Split}
    return queries.add_dataset(
        name=name,
        class_names=result.class_names,
        spec=result.spec,
        fingerprint=set_fingerprint(o.sha256 for o in result.originals),
        split_fingerprints={s.value: set_fingerprint(h) for s, h in per_split.items()},
        licence=result.licence,
        source=result.source,
        options=options,
        originals=[*accepted, *rejected],
        session=session,
    )


def _report(
    dataset: DatasetRow, is_new: bool, result: IngestResult, splits: Sequence[Split], warnings: Sequence[str]
) -> IngestReport:
    counts = {c: dict.fromkeys((s.value for s in Split), 0) for c in result.class_names}
    for original, split in zip(result.originals, splits, strict=True):
        counts[original.class_name][split.value] += 1
    files = tuple(
        FileFinding(item.name, f.check, f.severity.value, f.message)
        for items in (result.rejected, result.originals)
        for item in items
        for f in item.findings
    )
    findings = Counter(f"{f.check}/{f.effect}" for f in files)
    return IngestReport(
        dataset,
        is_new,
        result.n_files,
        counts,
        group_facts(
            [o.group for o in result.originals],
            [o.name for o in result.originals],
            rule=dataset.options.get("group_by"),
        ),
        len(result.rejected),
        dict(sorted(findings.items())),
        files,
        tuple(result.notes),
        tuple(warnings),
    )
