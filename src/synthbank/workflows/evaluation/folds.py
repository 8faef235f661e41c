"""Folds of a utility experiment: loaded from the bank, and scored by the whole protocol."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthbank.catalogue import DatasetRow, ModelRow
from synthbank.data import AffineRanges
from synthbank.metrics.utility import (
    AffineDraws,
    Fold,
    Trial,
    UtilityConclusion,
    UtilityPlan,
    run_trials,
    utility_scores,
)
from synthbank.records import MAX_IMAGES, SCORING_NETWORK, ModelCard, Score, Split
from synthbank.storage import write_atomic
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import load_split
from synthbank.workflows.evaluation.sets import check_accepted, check_test_originals, join_sets, load_synthetic
from synthbank.workflows.features import Embedder, feature_cache

PROBE_NETWORK = SCORING_NETWORK
"""Not the network that `projected` looks through, nor the one that selects."""


@dataclass(frozen=True)
class UtilityLimits:
    """Bounds on the effort of a utility experiment."""

    budget_sec: float | None = None
    """No new classifier is begun after so many seconds; the first seed is always finished. `None`: all."""
    max_images: int = MAX_IMAGES
    """Accepted images of each job that are used, the same number of each class."""
    n_resamples: int = 1000
    """Of the bootstrap."""


@dataclass(frozen=True)
class FoldScores:
    """Outcome of the whole protocol on some folds."""

    scores: tuple[Score, ...]
    conclusions: tuple[UtilityConclusion, ...]
    """One for each classifier."""
    left_out: tuple[str, ...]
    """Steps that the budget did not allow."""


def load_fold(
    bank: Bank, dataset: DatasetRow, job_ids: Sequence[str], *, max_images: int = MAX_IMAGES
) -> tuple[Fold, tuple[str, ...]]:
    """The catalogued split with the accepted images of some jobs, and the names behind its group numbers.

    Validation originals are learned from too: they shaped the generator, so they are no test images either way.

    Raises:
        StateError: there is no test original, or nothing was accepted.
    """
    splits = [load_split(bank, dataset, split) for split in Split]
    names = sorted({row.group_id or row.name for part in splits for row in part.rows})
    number = {name: i for i, name in enumerate(names)}
    groups = [np.array([number[r.group_id or r.name] for r in part.rows], np.int64) for part in splits]
    train, validation, test = (part.images for part in splits)  # in the order of `Split`
    check_test_originals(dataset.name, len(test), least=1)
    synthetic = [load_synthetic(bank, job, dataset.class_names, max_images=max_images) for job in job_ids]
    check_accepted(sum(map(len, synthetic)), job_ids)
    fold = Fold(
        train=join_sets([train, validation]),
        train_groups=np.concatenate(groups[:2]),
        test=test,
        test_groups=groups[2],
        synthetic=join_sets(synthetic),
    )
    return fold, tuple(names)


def score_folds(
    bank: Bank,
    folds: Sequence[Fold],
    plan: UtilityPlan,
    group_names: Sequence[str],
    *,
    limits: UtilityLimits,
    on_stage: Callable[[str], None],
) -> FoldScores:
    """Train every classifier of the plan on every fold, and test it on held-out originals.

    Answers of finished classifiers are kept in the bank's run folder, so that the same call resumes there.

    Args:
        bank: its cache holds features, its run folder the answers.
        folds: one, or those of a cross-validation.
        plan: regimes, classifiers and seeds.
        group_names: names behind the folds' group numbers.
        limits: bounds on the effort.
        on_stage: called with the name of each classifier as it begins.
    """
    start = time.perf_counter()
    trials = run_trials(
        folds,
        plan,
        Embedder(PROBE_NETWORK, cache=feature_cache(bank)),
        memory=StoredTrials(bank.runs_dir / "utility"),
        # the first seed is always finished, whatever the budget
        deadline=lambda: limits.budget_sec is not None and time.perf_counter() - start > limits.budget_sec,
        on_trial=on_stage,
    )
    scores, conclusions = utility_scores(trials, folds, plan, group_names=group_names, n_resamples=limits.n_resamples)
    return FoldScores(tuple(scores), tuple(conclusions), trials.left_out)


def control_draws(model: ModelRow) -> AffineDraws:
    """The expansion's distribution, and the symmetries that the generator was trained with.

    So the control regime knows as much about the images as the generator did.
    """
    ranges = AffineRanges()
    symmetry = str(ModelCard.from_json(model.card).training.get("augment_real", "none"))
    return AffineDraws(ranges.scale, ranges.rotation_deg, ranges.shift, ranges.probability, symmetry)


class StoredTrials:
    """Answers of finished classifiers, a file each: a `TrialMemory`.

    Args:
        folder: made when the first is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self, key: str) -> Trial | None:
        """The trial that was kept under this key; `None`: none, or its file is damaged."""
        try:
            with np.load(self._folder / f"{key}.npz", allow_pickle=False) as file:
                shifted = {name.removeprefix("shift-"): file[name] for name in file.files if name.startswith("shift-")}
                return Trial(**json.loads(str(file["facts"])), probabilities=file["answers"], shifted=shifted)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def keep(self, key: str, trial: Trial) -> None:
        """Write a finished trial."""
        self._folder.mkdir(parents=True, exist_ok=True)
        names = ("classifier", "cell", "fold", "seed", "n_real", "n_synthetic", "seconds")
        facts = json.dumps({name: getattr(trial, name) for name in names})
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {f"shift-{name}": shifted for name, shifted in trial.shifted.items()}
        np.savez_compressed(buffer, facts=np.array(facts), answers=trial.probabilities, **arrays)
        write_atomic(self._folder / f"{key}.npz", buffer.getvalue())
