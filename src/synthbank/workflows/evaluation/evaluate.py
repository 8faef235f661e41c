"""Evaluate: synthetic against held-out originals, beside what real against real scores at the same n."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthbank.catalogue import DatasetRow, JobRow, ModelRow, queries
from synthbank.errors import StateError
from synthbank.fingerprint import stable_seed
from synthbank.metrics import evaluate_features, evaluate_pixels, novelty
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
from synthbank.records import MAX_IMAGES, LabelledImages, Score, Split
from synthbank.storage import decode_png
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import load_split
from synthbank.workflows.evaluation.feature_map import store_map
from synthbank.workflows.evaluation.inception import inception_scores
from synthbank.workflows.features import Backend, Embedder, embed_batches, feature_cache
from synthbank.workflows.models.load import origin_of


@dataclass(frozen=True)
class EvaluateReport:
    """Scores of a job; all of them are catalogue rows as well."""

    job: JobRow
    dataset: DatasetRow
    scores: tuple[Score, ...]
    n_real: int
    n_fake: int
    seconds: float


@dataclass(frozen=True)
class _Sets:
    """Held-out originals, synthetic images of a job, and training originals."""

    job_id: str
    test: LabelledImages
    fake: LabelledImages
    floor: LabelledImages


def evaluate(
    bank: Bank,
    job_id: str,
    *,
    max_images: int = MAX_IMAGES,
    n_resamples: int = 200,
    seed: int = 0,
    encoder: Path | None = None,
    on_stage: Callable[[str], None] = lambda text: None,
    backend: Backend = embed_batches,
) -> EvaluateReport:
    """Score the accepted images of a job against the test originals of the data set its model was trained on.

    A job of some classes is held against the originals of these classes alone.

    Args:
        bank: where they are.
        job_id: a generation job.
        max_images: synthetic images that are looked at, the same number of each class.
        n_resamples: of the bootstrap.
        seed: of every random subset.
        encoder: a frozen encoder of the user's own as one more feature space; `None`: the setting's, if any.
        on_stage: told what is going on.
        backend: computes features, here or elsewhere.

    Raises:
        StateError: nothing was accepted, or the data set has no test originals.
    """
    start = time.perf_counter()
    job, model, dataset = origin_of(bank, job_id)
    with bank.catalogue.session(read_only=True) as session:
        made = queries.count_images(job_id=job_id, session=session)
    class_names = tuple(name for name in dataset.class_names if name in made) or dataset.class_names
    test, floor = (
        load_split(bank, dataset, split).images.of_classes(class_names) for split in (Split.TEST, Split.TRAIN)
    )
    check_test_originals(dataset.name, len(test))
    fake = load_synthetic(bank, job_id, class_names, max_images=max_images)
    if not len(fake):
        raise StateError("The job has no accepted images", got=job_id, next_step="synthbank generate")
    sets = _Sets(job_id, test, fake, floor)
    scores: list[Score] = []
    for network, inside in _spaces(model, encoder or bank.settings.encoder):
        on_stage(f"features and scores in {network.name}")
        scores += _in_space(bank, network, sets, inside=inside, n_resamples=n_resamples, seed=seed, backend=backend)
    on_stage("pixels")
    rng = np.random.default_rng(stable_seed(seed, "pixels"))
    scores += evaluate_pixels(train=floor, test=test, fake=fake, rng=rng, n_resamples=n_resamples)
    on_stage("Inception")
    scores += inception_scores(bank.settings.inception, real=test.images, fake=fake.images)
    with bank.catalogue.session() as session:
        queries.add_scores(
            scores,
            subject_kind="job",
            subject_id=job_id,
            reference_fingerprint=dataset.split_fingerprints[Split.TEST.value],
            session=session,
        )
    return EvaluateReport(job, dataset, tuple(scores), len(test), len(fake), time.perf_counter() - start)


def check_test_originals(dataset_name: str, n: int) -> None:
    """Raises `StateError` where there is nothing to compare with."""
    if n < 2:
        raise StateError(
            f"Data set '{dataset_name}' has no test originals to compare with",
            got=n,
            allowed="2 or more",
            next_step="ingest it again with a larger test share (--split 60/20/20)",
        )


def _in_space(
    bank: Bank, network: FeatureNetwork, sets: _Sets, *, inside: bool, n_resamples: int, seed: int, backend: Backend
) -> list[Score]:
    """Scores in one feature space; in the judge's own, a map is kept and every synthetic image learns how new it is."""
    side = getattr(network, "input_size", scoring_size(sets.test.images.shape[-1]))
    embed = Embedder(network, cache=feature_cache(bank), input_size=side, backend=backend)
    real, synthetic, train = (embed(images.images) for images in (sets.test, sets.fake, sets.floor))
    if network.name == SCORING_NETWORK and len(train):
        new = novelty(train=train, test=real, fake=synthetic)
        by_image = {i: {"novelty": float(v)} for i, v in zip(sets.fake.ids, new, strict=True)}
        with bank.catalogue.session() as session:
            queries.add_image_scores(by_image, session=session)
        features = {"train": train, "test": real, "synthetic": synthetic}
        store_map(
            bank, sets.job_id, network.name, features, {"train": sets.floor, "test": sets.test, "synthetic": sets.fake}
        )
    return evaluate_features(
        train=train,
        test=real,
        fake=synthetic,
        train_labels=sets.floor.labels,
        test_labels=sets.test.labels,
        fake_labels=sets.fake.labels,
        class_names=sets.test.class_names,
        network=network.name,
        input_size=side,
        rng=np.random.default_rng(stable_seed(seed, network.name)),
        n_resamples=n_resamples,
        inside_discriminator=inside,
    )


def _spaces(model: ModelRow, encoder: Path | None) -> list[tuple[FeatureNetwork, bool]]:
    """Feature spaces, the leading one first, and whether the model's discriminator looked through each."""
    inside = networks_inside(ModelSpec.from_json(model.card["spec"]))
    names = sorted(feature_networks, key=lambda name: (name in inside, name != SCORING_NETWORK, name))
    spaces = [(load_feature_network(name), name in inside) for name in names]
    if encoder is not None:
        spaces.insert(1, (load_encoder(encoder), False))
    return spaces


def load_synthetic(bank: Bank, job_id: str, class_names: tuple[str, ...], *, max_images: int) -> LabelledImages:
    """Accepted images of a job in memory, the same number of each class where there are enough."""
    per_class = max(max_images // len(class_names), 1)
    pixels, labels, ids = [], [], []
    with bank.catalogue.session(read_only=True) as session:
        for label, name in enumerate(class_names):
            rows = queries.accepted_images(job_id=job_id, class_name=name, session=session)
            for _, row in zip(range(per_class), rows, strict=False):
                pixels.append(decode_png(bank.store.get(row.key)))
                labels.append(label)
                ids.append(row.id)
    images = np.stack(pixels) if pixels else np.zeros((0, 1, 1, 1), np.uint8)
    return LabelledImages(images, np.array(labels, np.int64), class_names, tuple(ids))
