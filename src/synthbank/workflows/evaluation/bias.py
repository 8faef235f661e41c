"""Bias: are rare kinds, single groups and the labels themselves served as well as the average?"""

from __future__ import annotations

from dataclasses import dataclass

from synthbank.catalogue import JobRow, queries
from synthbank.metrics.utility import agreement_scores, mode_scores
from synthbank.models import scoring_size
from synthbank.records import Score, Split
from synthbank.workflows.bank import Bank
from synthbank.workflows.evaluation.folds import PROBE_NETWORK, load_fold
from synthbank.workflows.evaluation.requests import BiasRequest
from synthbank.workflows.features import Embedder, feature_cache
from synthbank.workflows.models.load import origin_of


@dataclass(frozen=True)
class BiasReport:
    """Scores of a job; all of them are catalogue rows as well."""

    job: JobRow
    scores: tuple[Score, ...]


def bias(bank: Bank, request: BiasRequest) -> BiasReport:
    """Coverage of rare modes and of groups, and agreement of a real-trained classifier with the labels.

    Args:
        bank: where they are.
        request: the job and the choices.

    Raises:
        StateError: nothing was accepted, or there is no test original.
    """
    job, _, dataset = origin_of(bank, request.job_id)
    fold, names = load_fold(bank, dataset, [job.id], max_images=request.max_images)
    embed = Embedder(PROBE_NETWORK, cache=feature_cache(bank))
    protocol = f"{PROBE_NETWORK}-{scoring_size(dataset.size)}"
    scores = mode_scores(
        train=embed(fold.train.images),
        test=embed(fold.test.images),
        fake=embed(fold.synthetic.images),
        groups=[names[g] for g in fold.train_groups],
        protocol=protocol,
        seed=request.seed,
    )
    scores += agreement_scores(
        train=fold.train,
        test=fold.test,
        fake=fold.synthetic,
        train_groups=fold.train_groups,
        embed=embed,
        protocol=protocol,
        seed=request.seed,
    )
    with bank.catalogue.session() as session:
        queries.add_scores(
            scores,
            subject_kind="job",
            subject_id=job.id,
            reference_fingerprint=dataset.split_fingerprints[Split.TEST.value],
            session=session,
        )
    return BiasReport(job, tuple(scores))
