"""Class folders of PNG files with `metadata.csv`, as Hugging Face `imagefolder` and torch-style folder loaders read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from synthbank.export.base import ExportFacts, ExportItem, exporters
from synthbank.export.card import CARD_JSON, dataset_card, dataset_card_json
from synthbank.export.sinks import MARKER, Sink
from synthbank.storage.layout import class_folders

_COLUMNS = (
    "file_name",
    "label",
    "image_id",
    "model",
    "job",
    "class_index",
    "index",
    "seed",
    "truncation",
    "sha256",
    "nearest_distance",
    "screened",
)


@exporters.register("folder", description="class folders of PNG files with metadata.csv")
def write_folder(items: Iterator[ExportItem], *, sink: Sink, facts: ExportFacts) -> None:
    """Write `<class>/<image id>.png`, `metadata.csv` and the card (Markdown and JSON)."""
    folders = class_folders(list(facts.counts))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for item in items:
        row = item.row
        name = f"{folders[row.class_name]}/{row.id}.png"
        sink.write(name, item.data)
        origin = (row.id, row.model_id, row.job_id, row.class_index, row.index, row.seed, row.truncation)
        writer.writerow((name, row.class_name, *origin, row.sha256, row.nearest_distance, str(row.screened).lower()))
    sink.write("metadata.csv", table.getvalue().encode())
    sink.write(CARD_JSON, dataset_card_json(facts, layout="imagefolder"))
    sink.write(MARKER, dataset_card(facts, layout="imagefolder").encode())
