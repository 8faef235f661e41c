"""Training: from a data set to a published model."""
