"""Fidelity, diversity and copying, measured on feature arrays: no model, no file and no catalogue is known here."""

from synthbank.metrics._registry import metrics
from synthbank.metrics.copying import copy_rate, copy_threshold, nearest_neighbours
from synthbank.metrics.diversity import density_coverage, pairwise_diversity, precision_recall
from synthbank.metrics.fidelity import frechet_distance, inception_score, kernel_distance, subset_kernel_distance
from synthbank.metrics.protocol import evaluate_features
from synthbank.metrics.readers import Answer, ReaderScore, reader_scores
from synthbank.metrics.resampling import Estimate, bootstrap_interval, real_floor, wilson_interval

__all__ = [
    "Answer",
    "Estimate",
    "ReaderScore",
    "bootstrap_interval",
    "copy_rate",
    "copy_threshold",
    "density_coverage",
    "evaluate_features",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "metrics",
    "nearest_neighbours",
    "pairwise_diversity",
    "precision_recall",
    "reader_scores",
    "real_floor",
    "subset_kernel_distance",
    "wilson_interval",
]
