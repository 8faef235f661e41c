"""The protocol of export formats, their registry, and the images that they are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from synthbank.catalogue import DatasetRow, EvaluationRow, ImageRow, ModelRow
from synthbank.errors import OptionError
from synthbank.export.sinks import Sink
from synthbank.registry import Registry


@dataclass(frozen=True, slots=True)
class ExportItem:
    """One accepted image: its row, and its file's bytes after the hash check."""

    row: ImageRow
    data: bytes


@dataclass(frozen=True, slots=True)
class ExportFacts:
    """Facts about an export before its first image."""

    title: str
    """Id of the job or name of the model."""
    model: ModelRow
    dataset: DatasetRow | None
    """Data set that the model was trained on; `None`: the model comes from elsewhere."""
    counts: Mapping[str, int]
    """Class name to number of images, in class order."""
    scores: tuple[EvaluationRow, ...]
    withdrawn: int = 0
    """Images of the same selection that were withdrawn and are therefore not exported."""

    @property
    def total(self) -> int:
        """Number of images."""
        return sum(self.counts.values())


class Exporter(Protocol):
    """A format: writes items, in the order given, as files of a sink."""

    def __call__(self, items: Iterator[ExportItem], *, sink: Sink, facts: ExportFacts) -> None:
        """Write everything; the sink makes it visible in one step afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterSpec:
    """Declared facts of an export format."""

    description: str
    """Files that it writes, in words."""
    single_file: bool = False
    """It writes one file; `False`: a folder of files, or a zip of them."""

    def __post_init__(self) -> None:
        if not self.description:
            raise OptionError("An export format says what it writes", got=self)


exporters: Registry[Exporter, ExporterSpec] = Registry(
    "export format", ExporterSpec, package="synthbank.export.formats", entry_point_group="synthbank.exporters"
)
