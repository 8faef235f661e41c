"""Input formats, one file each; each yields the same sorted listing of entries."""

from synthbank.data.sources._base import Listing, SourceEntry, SourceLimits
from synthbank.data.sources._registry import SourceSpec, open_source, sample_names, sources

__all__ = ["Listing", "SourceEntry", "SourceLimits", "SourceSpec", "open_source", "sample_names", "sources"]
