"""Utility by cross-validation, for sets too small to hold a test part out: a generator for every fold.

A generator that saw a test group would hand the classifier what it is tested on. So each fold is a data set of its own
in the same bank (same files, other split), a generator is trained on its training part alone, and its images serve this
fold only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from synthbank.catalogue import DatasetRow, NewOriginal, OriginalRow, queries
from synthbank.config import TrainConfig, read_train_config
from synthbank.data import assign_splits
from synthbank.errors import OptionError
from synthbank.fingerprint import set_fingerprint
from synthbank.metrics.utility import Fold, UtilityConclusion, UtilityPlan, leave_one_group_out, split_folds
from synthbank.records import ImageSpec, ModelCard, Score, Split
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import require_dataset
from synthbank.workflows.evaluation.folds import UtilityLimits, control_draws, load_fold, score_folds
from synthbank.workflows.generation.generate import GenerateRequest, generate
from synthbank.workflows.models.load import origin_of
from synthbank.workflows.training.requests import TrainRequest
from synthbank.workflows.training.train import train

JobOfFold = Callable[[DatasetRow], str]
"""Trains a generator on the training part of a fold's data set, generates, and gives the job's id."""
_VALIDATION = 0.1
"""Share of a fold's training groups that chooses the snapshot."""


@dataclass(frozen=True)
class CrossReport:
    """Scores over all folds; they are catalogue rows of the data set."""

    dataset: DatasetRow
    folds: tuple[str, ...]
    """Names of the folds' data sets."""
    jobs: tuple[str, ...]
    conclusions: tuple[UtilityConclusion, ...]
    scores: tuple[Score, ...]
    left_out: tuple[str, ...]
    seconds: float

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence a classifier."""
        return tuple(c.sentence for c in self.conclusions)


def cross_utility(
    bank: Bank,
    dataset_name: str,
    job_of_fold: JobOfFold,
    *,
    n_folds: int | None,
    plan: UtilityPlan | None = None,
    limits: UtilityLimits | None = None,
    on_stage: Callable[[str], None] = lambda text: None,
) -> CrossReport:
    """Run the whole protocol with every original tested once, by classifiers and generators that never saw its group.

    Args:
        bank: where the data set is; folds, models and jobs are added to it, and used again when this is repeated.
        dataset_name: newest version of it; all its originals take part, whatever their split.
        job_of_fold: trains a fold's generator; `trained_job` makes one.
        n_folds: folds over groups; `None`: each group is left out once (2 to 12 groups).
        plan: regimes, classifiers and seeds; its seed is that of the partition too. `None`: the usual ones.
        limits: bounds on the effort; the budget is that of the classifiers alone. `None`: the usual ones.
        on_stage: called with the name of each step as it begins.
    """
    start = time.perf_counter()
    plan, limits = plan or UtilityPlan(), limits or UtilityLimits()
    dataset = require_dataset(bank, dataset_name)
    parts = fold_datasets(bank, dataset, n_folds, seed=plan.seed)
    folds: list[Fold] = []
    jobs: list[str] = []
    names: tuple[str, ...] = ()
    for i, part in enumerate(parts):
        on_stage(f"generator of fold {i + 1} of {len(parts)}")
        jobs.append(job_of_fold(part))
        fold, names = load_fold(bank, part, jobs[-1:], max_images=limits.max_images)
        folds.append(fold)
        with bank.catalogue.session(read_only=True) as session:
            model = queries.get_model(queries.get_job(jobs[-1], session=session).model_id, session=session)
        plan = replace(plan, affine=control_draws(model))  # the same for all folds, as their recipe is
    result = score_folds(bank, folds, plan, names, limits=limits, on_stage=on_stage)
    with bank.catalogue.session() as session:
        queries.add_scores(
            result.scores,
            subject_kind="dataset",
            subject_id=str(dataset.id),
            reference_fingerprint=dataset.fingerprint,
            session=session,
        )
    return CrossReport(
        dataset,
        tuple(part.name for part in parts),
        tuple(jobs),
        result.conclusions,
        result.scores,
        result.left_out,
        seconds=time.perf_counter() - start,
    )


def cross_utility_of_job(
    bank: Bank,
    job_id: str,
    *,
    n_folds: int | None,
    plan: UtilityPlan,
    limits: UtilityLimits | None = None,
    generator_sec: float | None = None,
    on_stage: Callable[[str], None] = lambda text: None,
) -> CrossReport:
    """Cross-validate the recipe behind a job: each fold's generator is trained as the job's model was.

    Args:
        bank: where it is.
        job_id: a generation job; its model's configuration and its number of images a class are used.
        n_folds: as of `cross_utility`, like `plan` and `limits`.
        plan: regimes, classifiers and seeds.
        limits: bounds on the effort.
        generator_sec: training time of each generator; `None`: steps or time of the model's own configuration.
        on_stage: called with the name of each step as it begins.
    """
    job, model, dataset = origin_of(bank, job_id)
    per_class = max(job.n_requested // max(len(model.class_names), 1), 1)
    config = read_train_config(ModelCard.from_json(model.card).training)
    if generator_sec is not None:
        config = replace(config, steps=None, time_budget_sec=generator_sec)
    make = trained_job(bank, config, n=per_class, seed=job.seed)
    return cross_utility(bank, dataset.name, make, n_folds=n_folds, plan=plan, limits=limits, on_stage=on_stage)


def trained_job(bank: Bank, config: TrainConfig, *, n: int, device: str = "auto", seed: int = 0) -> JobOfFold:
    """The usual generator of a fold: trained with `config`, then `n` accepted images of each class."""

    def make(part: DatasetRow) -> str:
        report = train(bank, TrainRequest(part.name, config=config, device=device))
        if report.model is None:
            raise OptionError("The training of a fold was stopped", got=part.name, next_step="run the same again")
        return generate(bank, GenerateRequest(report.model.id, n, seed=seed), device="cpu").job.id

    return make


def fold_datasets(bank: Bank, dataset: DatasetRow, n_folds: int | None, *, seed: int) -> list[DatasetRow]:
    """A data set for every fold: the same stored originals, the fold's groups as test; made once."""
    with bank.catalogue.session(read_only=True) as session:
        rows = sorted(queries.originals(dataset.id, session=session), key=lambda r: r.name)
    groups = [row.group_id or row.name for row in rows]
    numbers = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    labels = np.array([dataset.class_names.index(row.class_name or "") for row in rows], np.int64)
    masks = (
        leave_one_group_out(numbers, labels) if n_folds is None else split_folds(labels, numbers, n_folds, seed=seed)
    )
    kind = "group-out" if n_folds is None else f"fold-of-{n_folds}"
    return [_fold_dataset(bank, dataset, rows, mask, f"{kind}-s{seed}-{i}", seed) for i, mask in enumerate(masks)]


def _fold_dataset(
    bank: Bank, dataset: DatasetRow, rows: Sequence[OriginalRow], tested: NDArray[np.bool_], suffix: str, seed: int
) -> DatasetRow:
    splits = assign_splits(
        [row.class_name or "" for row in rows],
        [row.group_id or row.name for row in rows],
        shares=(1.0 - _VALIDATION, _VALIDATION, 0.0),
        seed=seed,
        suggested=[Split.TEST if held else None for held in tested],  # the rest is split by groups again
    ).splits
    originals = [
        NewOriginal(
            name=row.name,
            accepted=True,
            sha256=row.sha256,
            key=row.key,
            class_name=row.class_name,
            group_id=row.group_id,
            split=split,
            findings=row.findings,
        )
        for row, split in zip(rows, splits, strict=True)
    ]
    hashes = {s: [o.sha256 or "" for o in originals if o.split == s] for s in Split}
    with bank.catalogue.session() as session:
        return queries.add_dataset(
            name=f"{dataset.name}-v{dataset.version}-{suffix}",
            class_names=dataset.class_names,
            spec=ImageSpec(dataset.size, dataset.channels, dataset.microns_per_pixel),
            fingerprint=dataset.fingerprint,
            split_fingerprints={s.value: set_fingerprint(h) for s, h in hashes.items()},
            licence=dataset.licence,
            source=f"fold of {dataset.name} version {dataset.version}: {dataset.source or 'source not recorded'}",
            options={**dataset.options, "fold_of": dataset.name, "fold_seed": seed},
            originals=originals,
            session=session,
        )
