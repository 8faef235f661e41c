"""Export: accepted images in the formats the field uses, one file a format."""

from synthbank.export.base import Exporter, ExporterSpec, ExportFacts, ExportItem, exporters
from synthbank.export.model_card import model_card_markdown
from synthbank.export.run import ExportRequest, ExportResult, export_images
from synthbank.export.sinks import Sink

__all__ = [
    "ExportFacts",
    "ExportItem",
    "ExportRequest",
    "ExportResult",
    "Exporter",
    "ExporterSpec",
    "Sink",
    "export_images",
    "exporters",
    "model_card_markdown",
]
