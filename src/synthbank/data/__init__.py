"""Data: read files as labelled, grouped, split and expanded images. Knows no torch, no catalogue and no storage."""

from synthbank.data.augment import AffineRanges, apply_affine, default_expansion_target, expand, plan_expansion
from synthbank.data.decode import Decoded, DecodeLimits, decode_image
from synthbank.data.divide import divide
from synthbank.data.ingest import IngestOptions, IngestResult, ingest_source
from synthbank.data.loader import EpochSampler
from synthbank.data.placement import variance_by_place
from synthbank.data.sources import sample_names
from synthbank.data.splits import DEFAULT_SHARES, SplitResult, assign_splits, parse_shares

__all__ = [
    "DEFAULT_SHARES",
    "AffineRanges",
    "DecodeLimits",
    "Decoded",
    "EpochSampler",
    "IngestOptions",
    "IngestResult",
    "SplitResult",
    "apply_affine",
    "assign_splits",
    "decode_image",
    "default_expansion_target",
    "divide",
    "expand",
    "ingest_source",
    "parse_shares",
    "plan_expansion",
    "sample_names",
    "variance_by_place",
]
