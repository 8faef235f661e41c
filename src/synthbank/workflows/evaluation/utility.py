"""Utility: what the images of a job do to a diagnostic classifier that is tested on held-out originals."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbank.catalogue import DatasetRow, JobRow, ModelRow, queries
from synthbank.data import AffineRanges
from synthbank.errors import InputError, StateError
from synthbank.metrics.utility import (
    AffineDraws,
    Fold,
    Trial,
    UtilityConclusion,
    UtilityPlan,
    run_trials,
    utility_scores,
)
from synthbank.metrics.utility import shifts as all_shifts
from synthbank.records import MAX_IMAGES, LabelledImages, Score, Split
from synthbank.reports import regime_groups
from synthbank.storage import write_atomic
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import load_split
from synthbank.workflows.evaluation.evaluate import load_synthetic
from synthbank.workflows.features import Embedder, feature_cache
from synthbank.workflows.models.load import origin_of

PROBE_NETWORK = "lite1"
"""Not the network that `projected` looks through, nor the one that selects."""
CURVE_SHARES = (0.1, 0.25, 0.5, 1.0)
CURVE_RATIOS = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class UtilityReport:
    """Scores of a job's images in a classifier; all of them are catalogue rows as well."""

    job: JobRow
    dataset: DatasetRow
    conclusions: tuple[UtilityConclusion, ...]
    scores: tuple[Score, ...]
    left_out: tuple[str, ...]
    """What the budget did not allow."""
    n_train: int
    n_test: int
    n_synthetic: int
    seconds: float

    @property
    def verdict(self) -> tuple[str, ...]:
        """One sentence a classifier."""
        return tuple(c.sentence for c in self.conclusions)


def utility(
    bank: Bank,
    job_id: str,
    *,
    plan: UtilityPlan | None = None,
    budget_sec: float | None = None,
    max_synthetic: int = MAX_IMAGES,
    n_resamples: int = 1000,
    on_stage: Callable[[str], None] = lambda text: None,
) -> UtilityReport:
    """Train every regime on the training originals and the job's images; test on the test originals.

    Args:
        bank: where they are.
        job_id: a generation job.
        plan: see `UtilityPlan`; its affine draws are replaced by those of the data room, with the symmetries that the
            generator was trained with, so that the control knows as much as the generator did.
        budget_sec: no new classifier is begun after so many seconds; the first seed is always finished. `None`: all.
        max_synthetic: accepted images that are looked at, the same number of each class.
        n_resamples: of the bootstrap.
        on_stage: told what is going on.

    Raises:
        StateError: nothing was accepted, or there is no test original.
    """
    start = time.perf_counter()
    job, model, dataset = origin_of(bank, job_id)
    fold, names = fold_of(bank, dataset, [job_id], max_synthetic=max_synthetic)
    plan = replace(plan or UtilityPlan(), affine=control_draws(model))
    scores, conclusions, left_out = score_folds(
        bank, [fold], plan, names, budget_sec=budget_sec, n_resamples=n_resamples, on_stage=on_stage
    )
    with bank.catalogue.session() as session:
        queries.add_scores(
            scores,
            subject_kind="job",
            subject_id=job_id,
            reference_fingerprint=dataset.split_fingerprints[Split.TEST.value],
            session=session,
        )
    sizes = (len(fold.train), len(fold.test), len(fold.synthetic))
    return UtilityReport(job, dataset, tuple(conclusions), tuple(scores), left_out, *sizes, time.perf_counter() - start)


def utility_plan(
    *,
    seeds: int = 5,
    select: float | None = None,
    curves: bool = False,
    shifts: bool = False,
    seed: int = 0,
) -> UtilityPlan:
    """A plan from the few choices a user makes."""
    return UtilityPlan(
        n_seeds=seeds,
        select=select,
        real_shares=CURVE_SHARES if curves else (1.0,),
        ratios=CURVE_RATIOS if curves else (),
        shifts=tuple(all_shifts) if shifts else (),
        seed=seed,
    )


def regime_table(scores: Sequence[Score]) -> list[tuple[str, str, str, str, str, str, str]]:
    """Lines of the table of regimes: classifier, training images, macro-F1, interval, gain, interval, p-value."""
    return [
        (
            group.classifier,
            row.words,
            "not computed" if row.value is None else f"{row.value:.3f}",
            row.interval,
            "" if row.gain is None else f"{row.gain:+.3f}",
            row.gain_interval,
            "" if row.p_value is None else f"{row.p_value:.2g}",
        )
        for group in regime_groups(scores)
        for row in group.rows
    ]


def score_folds(
    bank: Bank,
    folds: Sequence[Fold],
    plan: UtilityPlan,
    group_names: Sequence[str],
    *,
    budget_sec: float | None,
    n_resamples: int,
    on_stage: Callable[[str], None],
) -> tuple[list[Score], list[UtilityConclusion], tuple[str, ...]]:
    """The whole protocol on folds that are in memory: scores, conclusions, and what the budget left out.

    Answers of finished classifiers are kept in the bank's run folder, so that the same call resumes there.
    """
    start = time.perf_counter()
    trials = run_trials(
        folds,
        plan,
        Embedder(PROBE_NETWORK, cache=feature_cache(bank)),
        memory=StoredTrials(bank.runs_dir / "utility"),
        deadline=lambda: budget_sec is not None and time.perf_counter() - start > budget_sec,
        on_trial=on_stage,
    )
    scores, conclusions = utility_scores(trials, folds, plan, group_names=group_names, n_resamples=n_resamples)
    return scores, conclusions, trials.left_out


class StoredTrials:
    """Answers of finished classifiers, a file each.

    Args:
        folder: made when the first is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self, key: str) -> Trial | None:
        """See `TrialMemory`; a damaged file counts as none."""
        try:
            with np.load(self._folder / f"{key}.npz", allow_pickle=False) as file:
                shifted = {name.removeprefix("shift-"): file[name] for name in file.files if name.startswith("shift-")}
                return Trial(**json.loads(str(file["facts"])), probabilities=file["answers"], shifted=shifted)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def keep(self, key: str, trial: Trial) -> None:
        """See `TrialMemory`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        names = ("classifier", "cell", "fold", "seed", "n_real", "n_synthetic", "seconds")
        facts = json.dumps({name: getattr(trial, name) for name in names})
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {f"shift-{name}": answers for name, answers in trial.shifted.items()}
        np.savez_compressed(buffer, facts=np.array(facts), answers=trial.probabilities, **arrays)
        write_atomic(self._folder / f"{key}.npz", buffer.getvalue())


def fold_of(
    bank: Bank, dataset: DatasetRow, job_ids: Sequence[str], *, max_synthetic: int = MAX_IMAGES
) -> tuple[Fold, tuple[str, ...]]:
    """The catalogued split with the accepted images of some jobs, and the names behind its group numbers.

    Validation originals are learned from too: they shaped the generator, so they are no test images either way.
    """
    splits = [load_split(bank, dataset, split) for split in Split]
    names = sorted({row.group_id or row.name for part in splits for row in part.rows})
    number = {name: i for i, name in enumerate(names)}
    groups = [np.array([number[r.group_id or r.name] for r in part.rows], np.int64) for part in splits]
    train, validation, test = (part.images for part in splits)
    if not len(test):
        raise StateError(
            f"Data set '{dataset.name}' has no test originals to test a classifier on",
            got=0,
            next_step="ingest it again with a larger test share (--split 60/20/20)",
        )
    synthetic = [load_synthetic(bank, job, dataset.class_names, max_images=max_synthetic) for job in job_ids]
    found = [images for images in synthetic if len(images)]
    if not found:
        raise StateError("The job has no accepted images", got=list(job_ids), next_step="synthbank generate")
    fold = Fold(
        train=joined([train, validation]),
        train_groups=np.concatenate(groups[:2]),
        test=test,
        test_groups=groups[2],
        synthetic=joined(found),
    )
    return fold, tuple(names)


def control_draws(model: ModelRow) -> AffineDraws:
    """The expansion's distribution, and the symmetries that the generator was trained with."""
    ranges = AffineRanges()
    symmetry = str(model.card.get("training", {}).get("augment_real", "none"))
    return AffineDraws(ranges.scale, ranges.rotation_deg, ranges.shift, ranges.probability, symmetry)


def joined(sets: Sequence[LabelledImages]) -> LabelledImages:
    """One set out of several with the same classes."""
    kept = [s for s in sets if len(s)]
    if not kept:
        raise InputError("There is no image", got=0)
    images = np.concatenate([s.images for s in kept])
    labels: NDArray[np.int64] = np.concatenate([s.labels for s in kept])
    return LabelledImages(images, labels, kept[0].class_names, tuple(i for s in kept for i in s.ids))
