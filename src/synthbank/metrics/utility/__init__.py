"""Utility: the effect of synthetic images on a diagnostic classifier, with the statistics that fit the design.

No file, no catalogue and no generator is known here: originals, synthetic images and features are arguments.
"""

from synthbank.metrics.utility.affine import AffineDraws
from synthbank.metrics.utility.classifiers import TrainingSet, balanced_weights, classifiers
from synthbank.metrics.utility.experiment import (
    CONTROL_REGIME,
    DEFAULT_REGIMES,
    PRIMARY_REGIME,
    REGIMES,
    Fold,
    Trial,
    Trials,
    UtilityPlan,
    run_trials,
)
from synthbank.metrics.utility.folds import leave_one_group_out, split_folds
from synthbank.metrics.utility.intervals import Difference, bootstrap_difference, corrected_t
from synthbank.metrics.utility.modes import Modes, agreement_scores, coverage_mask, find_modes, mode_scores
from synthbank.metrics.utility.rejection import DensityRatio
from synthbank.metrics.utility.results import PRIMARY_SCORE, UtilityConclusion, utility_scores
from synthbank.metrics.utility.scores import class_scores, overall_scores
from synthbank.metrics.utility.selection import Selector
from synthbank.metrics.utility.shifts import shifts

__all__ = [
    "CONTROL_REGIME",
    "DEFAULT_REGIMES",
    "PRIMARY_REGIME",
    "PRIMARY_SCORE",
    "REGIMES",
    "AffineDraws",
    "DensityRatio",
    "Difference",
    "Fold",
    "Modes",
    "Selector",
    "TrainingSet",
    "Trial",
    "Trials",
    "UtilityConclusion",
    "UtilityPlan",
    "agreement_scores",
    "balanced_weights",
    "bootstrap_difference",
    "class_scores",
    "classifiers",
    "corrected_t",
    "coverage_mask",
    "find_modes",
    "leave_one_group_out",
    "mode_scores",
    "overall_scores",
    "run_trials",
    "shifts",
    "split_folds",
    "utility_scores",
]
