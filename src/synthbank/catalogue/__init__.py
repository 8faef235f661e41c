"""The catalogue: what the bank knows about data, runs, models, jobs and images. It stores keys and knows no files."""

from synthbank.catalogue.database import Catalogue
from synthbank.catalogue.rows import (
    DatasetRow,
    Dependents,
    EvaluationRow,
    ExpansionRow,
    ExportRow,
    ImageFile,
    ImageRow,
    JobRow,
    ModelRow,
    NewOriginal,
    OriginalRow,
    ReaderAnswerRow,
    RunRow,
    SearchHit,
    SnapshotRow,
    WithdrawalReport,
)

__all__ = [
    "Catalogue",
    "DatasetRow",
    "Dependents",
    "EvaluationRow",
    "ExpansionRow",
    "ExportRow",
    "ImageFile",
    "ImageRow",
    "JobRow",
    "ModelRow",
    "NewOriginal",
    "OriginalRow",
    "ReaderAnswerRow",
    "RunRow",
    "SearchHit",
    "SnapshotRow",
    "WithdrawalReport",
]
