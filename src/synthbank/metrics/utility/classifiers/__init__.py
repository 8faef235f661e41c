"""Diagnostic classifiers, one file each; they register themselves."""

from synthbank.metrics.utility.classifiers._base import (
    Classifier,
    ClassifierSpec,
    Embed,
    Predictor,
    TrainingSet,
    balanced_weights,
    classifiers,
)

__all__ = ["Classifier", "ClassifierSpec", "Embed", "Predictor", "TrainingSet", "balanced_weights", "classifiers"]
