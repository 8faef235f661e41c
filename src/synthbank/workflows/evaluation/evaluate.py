"""Evaluate: synthetic against held-out originals, beside what real against real scores at the same n."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthbank.catalogue import DatasetRow, JobRow, ModelRow, queries
from synthbank.fingerprint import stable_seed
from synthbank.metrics import LabelledFeatures, evaluate_features, evaluate_pixels, novelty
from synthbank.models import (
    SCORING_NETWORK,
    FeatureNetwork,
    ModelSpec,
    feature_networks,
    load_encoder,
    load_feature_network,
    networks_inside,
    scoring_size,
)
from synthbank.records import LabelledImages, ModelCard, Score, Split
from synthbank.reports.scores import order_scores
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import load_split
from synthbank.workflows.evaluation.feature_map import store_map
from synthbank.workflows.evaluation.inception import inception_scores
from synthbank.workflows.evaluation.requests import EvaluateRequest
from synthbank.workflows.evaluation.sets import check_accepted, check_test_originals, load_synthetic
from synthbank.workflows.features import Backend, Embedder, embed_batches, feature_cache
from synthbank.workflows.models.load import origin_of


@dataclass(frozen=True)
class EvaluateReport:
    """Scores of a job; all of them are catalogue rows as well."""

    job: JobRow
    dataset: DatasetRow
    scores: tuple[Score, ...]
    n_real: int
    """Test originals."""
    n_fake: int
    """Synthetic images."""
    seconds: float


@dataclass(frozen=True)
class _Sets:
    """The three sets of an evaluation, with the same classes."""

    train: LabelledImages
    test: LabelledImages
    fake: LabelledImages


def evaluate(
    bank: Bank,
    request: EvaluateRequest,
    *,
    on_stage: Callable[[str], None] = lambda text: None,
    backend: Backend = embed_batches,
) -> EvaluateReport:
    """Score the accepted images of a job against the test originals of the data set its model was trained on.

    A job of some classes is compared with the originals of these classes alone.

    Args:
        bank: where they are.
        request: the job and the choices.
        on_stage: called with the name of each step as it begins.
        backend: computes features, here or elsewhere.

    Raises:
        StateError: nothing was accepted, or the data set has no test originals.
    """
    start = time.perf_counter()
    job, model, dataset = origin_of(bank, request.job_id)
    sets = _load_sets(bank, dataset, request)
    scores: list[Score] = []
    for network, inside in _spaces(model, request.encoder or bank.settings.encoder):
        on_stage(f"features and scores in {network.name}")
        scores += _score_space(bank, network, sets, request, inside=inside, backend=backend)
    on_stage("pixels")
    # each space has a seed of its own, so that one more space changes no score of another
    rng = np.random.default_rng(stable_seed(request.seed, "pixels"))
    scores += evaluate_pixels(
        train=sets.train, test=sets.test, fake=sets.fake, rng=rng, n_resamples=request.n_resamples
    )
    on_stage("Inception")
    scores += inception_scores(bank.settings.inception, real=sets.test.images, fake=sets.fake.images)
    scores = order_scores(scores, sets.test.class_names)
    with bank.catalogue.session() as session:
        queries.add_scores(
            scores,
            subject_kind="job",
            subject_id=request.job_id,
            reference_fingerprint=dataset.split_fingerprints[Split.TEST.value],
            session=session,
        )
    return EvaluateReport(job, dataset, tuple(scores), len(sets.test), len(sets.fake), time.perf_counter() - start)


def _load_sets(bank: Bank, dataset: DatasetRow, request: EvaluateRequest) -> _Sets:
    with bank.catalogue.session(read_only=True) as session:
        counts = queries.count_images(job_id=request.job_id, session=session)
    class_names = tuple(name for name in dataset.class_names if name in counts) or dataset.class_names
    test, train = (
        load_split(bank, dataset, split).images.of_classes(class_names) for split in (Split.TEST, Split.TRAIN)
    )
    check_test_originals(dataset.name, len(test))
    fake = load_synthetic(bank, request.job_id, class_names, max_images=request.max_images)
    check_accepted(len(fake), [request.job_id])
    return _Sets(train, test, fake)


def _score_space(
    bank: Bank, network: FeatureNetwork, sets: _Sets, request: EvaluateRequest, *, inside: bool, backend: Backend
) -> list[Score]:
    """Scores in one feature space. In that of the scoring network, the map and each image's novelty are stored too."""
    side = getattr(network, "input_size", scoring_size(sets.test.images.shape[-1]))
    embed = Embedder(network, cache=feature_cache(bank), input_size=side, backend=backend)
    test, fake, train = (embed(images.images) for images in (sets.test, sets.fake, sets.train))
    if network.name == SCORING_NETWORK and len(train):
        novelties = novelty(train=train, test=test, fake=fake)  # [n_fake], 0..1
        by_image = {i: {"novelty": float(v)} for i, v in zip(sets.fake.ids, novelties, strict=True)}
        with bank.catalogue.session() as session:
            queries.add_image_scores(by_image, session=session)
        features = {"train": train, "test": test, "synthetic": fake}
        images = {"train": sets.train, "test": sets.test, "synthetic": sets.fake}
        store_map(bank, request.job_id, network.name, features, images)
    return evaluate_features(
        train=LabelledFeatures(train, sets.train.labels, sets.train.class_names),
        test=LabelledFeatures(test, sets.test.labels, sets.test.class_names),
        fake=LabelledFeatures(fake, sets.fake.labels, sets.fake.class_names),
        protocol=f"{network.name}-{side}",
        rng=np.random.default_rng(stable_seed(request.seed, network.name)),
        n_resamples=request.n_resamples,
        inside_discriminator=inside,
    )


def _spaces(model: ModelRow, encoder: Path | None) -> list[tuple[FeatureNetwork, bool]]:
    """Feature spaces, the leading one first, and whether the model's discriminator looked through each."""
    inside = networks_inside(ModelSpec.from_json(ModelCard.from_json(model.card).spec))
    # a space that the discriminator looked through flatters its generator, so it never leads
    names = sorted(feature_networks, key=lambda name: (name in inside, name != SCORING_NETWORK, name))
    spaces = [(load_feature_network(name), name in inside) for name in names]
    if encoder is not None:
        spaces.insert(1, (load_encoder(encoder), False))
    return spaces
