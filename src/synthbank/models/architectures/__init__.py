"""One file per paper; each registers itself with `synthbank.models.base.architectures`."""
