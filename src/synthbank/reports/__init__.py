"""Pictures and pages made of catalogue rows and stored figures; no torch."""

from synthbank.reports.grids import image_grid, labelled_grid

__all__ = ["image_grid", "labelled_grid"]
