"""Pictures and pages made of catalogue rows and stored figures; no torch."""

from synthbank.reports.commands import commands_again, train_command
from synthbank.reports.conclusion import Conclusions, Statement, Tone, conclude
from synthbank.reports.content import (
    ClassCounts,
    ClassSample,
    Curve,
    DataPart,
    EventLine,
    ExpansionPart,
    FindingLine,
    GatePart,
    JobPart,
    MapGroup,
    MapPart,
    NearestPart,
    Pair,
    ReportData,
    SnapshotLine,
    TrainingPart,
)
from synthbank.reports.grids import image_grid, labelled_grid
from synthbank.reports.html import render_report
from synthbank.reports.parts import data_part, expansion_part, gate_part, job_part, training_part
from synthbank.reports.plots import project
from synthbank.reports.reader_sheet import SheetItem, render_reader_sheet
from synthbank.reports.regimes import RegimeGroup, RegimeRow, is_evidence, regime_groups
from synthbank.reports.scorecard import Conclusion, Criterion, Line, Scorecard, scorecard

__all__ = [
    "ClassCounts",
    "ClassSample",
    "Conclusion",
    "Conclusions",
    "Criterion",
    "Curve",
    "DataPart",
    "EventLine",
    "ExpansionPart",
    "FindingLine",
    "GatePart",
    "JobPart",
    "Line",
    "MapGroup",
    "MapPart",
    "NearestPart",
    "Pair",
    "RegimeGroup",
    "RegimeRow",
    "ReportData",
    "Scorecard",
    "SheetItem",
    "SnapshotLine",
    "Statement",
    "Tone",
    "TrainingPart",
    "commands_again",
    "conclude",
    "data_part",
    "expansion_part",
    "gate_part",
    "image_grid",
    "is_evidence",
    "job_part",
    "labelled_grid",
    "project",
    "regime_groups",
    "render_reader_sheet",
    "render_report",
    "scorecard",
    "train_command",
    "training_part",
]
