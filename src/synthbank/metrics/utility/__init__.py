"""What the images do to a diagnostic classifier: five regimes, two classifiers, and the statistics that fit them.

No file, no catalogue and no generator is known here: originals, synthetic images and features are handed in.
"""

from synthbank.metrics.utility.affine import AffineDraws
from synthbank.metrics.utility.classifiers import TrainingSet, balanced_weights, classifiers
from synthbank.metrics.utility.experiment import (
    CONTROL,
    FIVE,
    PRIMARY,
    REGIMES,
    Fold,
    Trials,
    UtilityPlan,
    each_group_out,
    run_trials,
    split_folds,
)
from synthbank.metrics.utility.intervals import Difference, corrected_t, resampled
from synthbank.metrics.utility.results import Judgement, utility_scores
from synthbank.metrics.utility.scores import class_scores, overall_scores
from synthbank.metrics.utility.selection import Selector
from synthbank.metrics.utility.shifts import shifts

__all__ = [
    "CONTROL",
    "FIVE",
    "PRIMARY",
    "REGIMES",
    "AffineDraws",
    "Difference",
    "Fold",
    "Judgement",
    "Selector",
    "TrainingSet",
    "Trials",
    "UtilityPlan",
    "balanced_weights",
    "class_scores",
    "classifiers",
    "corrected_t",
    "each_group_out",
    "overall_scores",
    "resampled",
    "run_trials",
    "shifts",
    "split_folds",
    "utility_scores",
]
