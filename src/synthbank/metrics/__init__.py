"""Fidelity, diversity, copying and privacy, measured on arrays: no model, no file and no catalogue is known here."""

from synthbank.metrics._registry import MetricSpec, metrics
from synthbank.metrics.copying import copy_rate, copy_threshold, nearest_neighbours
from synthbank.metrics.diversity import density_coverage, pairwise_diversity, precision_recall
from synthbank.metrics.fidelity import (
    KID_SCALE,
    frechet_distance,
    inception_score,
    kernel_distance,
    subset_kernel_distance,
)
from synthbank.metrics.pixel_protocol import evaluate_pixels
from synthbank.metrics.privacy import (
    authenticity,
    copying_statistic,
    distance_to_closest_record,
    membership_inference,
    novelty,
)
from synthbank.metrics.protocol import LabelledFeatures, evaluate_features
from synthbank.metrics.readers import Answer, ReaderScore, reader_scores
from synthbank.metrics.resampling import Estimate, bootstrap_interval, real_floor, wilson_interval
from synthbank.metrics.structural import multi_scale_similarity
from synthbank.metrics.vendi import vendi_score

__all__ = [
    "KID_SCALE",
    "Answer",
    "Estimate",
    "LabelledFeatures",
    "MetricSpec",
    "ReaderScore",
    "authenticity",
    "bootstrap_interval",
    "copy_rate",
    "copy_threshold",
    "copying_statistic",
    "density_coverage",
    "distance_to_closest_record",
    "evaluate_features",
    "evaluate_pixels",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "membership_inference",
    "metrics",
    "multi_scale_similarity",
    "nearest_neighbours",
    "novelty",
    "pairwise_diversity",
    "precision_recall",
    "reader_scores",
    "real_floor",
    "subset_kernel_distance",
    "vendi_score",
    "wilson_interval",
]
