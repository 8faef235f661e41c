"""Utility: what the images of a job do to a diagnostic classifier that is tested on held-out originals."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from synthbank.catalogue import DatasetRow, JobRow, queries
from synthbank.metrics.utility import UtilityConclusion, UtilityPlan
from synthbank.metrics.utility import shifts as all_shifts
from synthbank.records import Score, Split
from synthbank.reports import regime_groups
from synthbank.workflows.bank import Bank
from synthbank.workflows.evaluation.cross_validation import CrossReport, cross_utility_of_job
from synthbank.workflows.evaluation.folds import UtilityLimits, control_draws, load_fold, score_folds
from synthbank.workflows.evaluation.requests import UtilityRequest, fold_count
from synthbank.workflows.models.load import origin_of

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
    """Steps that the budget did not allow."""
    n_train: int
    n_test: int
    n_synthetic: int
    seconds: float

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence a classifier."""
        return tuple(c.sentence for c in self.conclusions)


def utility(
    bank: Bank, request: UtilityRequest, *, on_stage: Callable[[str], None] = lambda text: None
) -> UtilityReport | CrossReport:
    """Train classifiers with and without a job's images, on the data set's own split or by cross-validation.

    Args:
        bank: where they are.
        request: the job and the choices.
        on_stage: called with the name of each step as it begins.

    Raises:
        StateError: nothing was accepted, or there is no test original.
    """
    plan = utility_plan(request)
    limits = UtilityLimits(request.budget_sec, request.max_images, request.n_resamples)
    if request.folds is None:
        return split_utility(bank, request.job_id, plan, limits=limits, on_stage=on_stage)
    return cross_utility_of_job(
        bank,
        request.job_id,
        n_folds=fold_count(request.folds),
        plan=plan,
        generator_sec=request.generator_sec,
        limits=limits,
        on_stage=on_stage,
    )


def split_utility(
    bank: Bank,
    job_id: str,
    plan: UtilityPlan,
    *,
    limits: UtilityLimits | None = None,
    on_stage: Callable[[str], None] = lambda text: None,
) -> UtilityReport:
    """Train every regime on the training originals and the job's images; test on the test originals.

    Args:
        bank: where they are.
        job_id: a generation job.
        plan: its affine draws are replaced by `control_draws` of the job's model.
        limits: bounds on the effort; `None`: the usual ones.
        on_stage: called with the name of each classifier as it begins.

    Raises:
        StateError: nothing was accepted, or there is no test original.
    """
    start = time.perf_counter()
    limits = limits or UtilityLimits()
    job, model, dataset = origin_of(bank, job_id)
    fold, names = load_fold(bank, dataset, [job_id], max_images=limits.max_images)
    plan = replace(plan, affine=control_draws(model))
    result = score_folds(bank, [fold], plan, names, limits=limits, on_stage=on_stage)
    with bank.catalogue.session() as session:
        queries.add_scores(
            result.scores,
            subject_kind="job",
            subject_id=job_id,
            reference_fingerprint=dataset.split_fingerprints[Split.TEST.value],
            session=session,
        )
    return UtilityReport(
        job,
        dataset,
        result.conclusions,
        result.scores,
        result.left_out,
        n_train=len(fold.train),
        n_test=len(fold.test),
        n_synthetic=len(fold.synthetic),
        seconds=time.perf_counter() - start,
    )


def utility_plan(request: UtilityRequest) -> UtilityPlan:
    """The plan of an experiment from the few choices of a request."""
    plan = UtilityPlan(
        n_seeds=request.seeds,
        select=request.select,
        real_shares=CURVE_SHARES if request.curves else (1.0,),
        ratios=CURVE_RATIOS if request.curves else (),
        shifts=tuple(all_shifts) if request.shifts else (),
        seed=request.seed,
    )
    return plan if request.classifiers is None else replace(plan, classifiers=request.classifiers)


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
