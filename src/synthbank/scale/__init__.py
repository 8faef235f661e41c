"""The same workflow functions on many machines: generation and evaluation cut into tasks of a Ray cluster."""

from synthbank.scale.cluster import check_shared, cluster
from synthbank.scale.evaluate import evaluate
from synthbank.scale.generate import generate

__all__ = ["check_shared", "cluster", "evaluate", "generate"]
