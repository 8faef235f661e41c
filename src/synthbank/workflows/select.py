"""Selection beside the gate: of the images a model makes, keep the share that is most typical of its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbank.catalogue import queries
from synthbank.errors import StateError
from synthbank.fingerprint import stable_seed
from synthbank.metrics.utility import Selector
from synthbank.models import batched, load_feature_network
from synthbank.records import Split, UInt8Images, Verdicts
from synthbank.workflows.bank import Bank
from synthbank.workflows.ingest import load_split
from synthbank.workflows.models import LoadedModel
from synthbank.workflows.train import judged_at

NETWORK = "lite0"
"""As the gate; Lite1, which judges the result, must not have chosen it."""
_CALIBRATION = 128
"""Images of each class that set the limits."""


@dataclass(frozen=True)
class Selection:
    """A calibrated selector for one job."""

    selector: Selector
    share: float
    class_index: tuple[int, ...]
    """Of the selector, for each class of the model."""
    side: int

    def narrow(
        self, verdicts: Verdicts, images: UInt8Images, class_index: int
    ) -> tuple[Verdicts, list[dict[str, float]]]:
        """What the gate accepted and the selector does not is kept out with its reason; both measures of every image.

        Args:
            verdicts: of the gate.
            images: `[N, C, H, W]`, uint8.
            class_index: of the model.
        """
        labels = np.full(len(images), self.class_index[class_index])
        confidence, distance = self.selector.judge(_embed(images, self.side), labels)
        found = self.selector.reasons(confidence, distance, labels)
        reasons = tuple(gate or ours for gate, ours in zip(verdicts.reasons, found, strict=True))
        accepted = np.array([reason is None for reason in reasons], np.bool_)
        measured = [
            {"confidence": float(c), "centroid_distance": float(d)} for c, d in zip(confidence, distance, strict=True)
        ]
        return Verdicts(accepted, reasons, verdicts.nearest, verdicts.distance), measured

    def to_json(self) -> dict[str, Any]:
        """What the job records: the share asked for and the limits that it led to."""
        assert self.selector.least_confidence is not None
        assert self.selector.most_distance is not None
        return {
            "share": self.share,
            "network": NETWORK,
            "input_size": self.side,
            "least_confidence": self.selector.least_confidence.tolist(),
            "most_distance": self.selector.most_distance.tolist(),
        }

    def with_limits(self, recorded: Mapping[str, Any]) -> Selection:
        """The limits that an earlier call of the same job recorded."""
        limits = {k: np.array(recorded[k], np.float64) for k in ("least_confidence", "most_distance")}
        return replace(self, selector=replace(self.selector, **limits))


def build_selection(bank: Bank, model: LoadedModel, *, share: float, seed: int) -> Selection:
    """Learn what is typical from the training originals, and set limits on images that the model draws for it.

    Args:
        bank: where the originals are.
        model: the generator.
        share: of each class's images to keep.
        seed: of the job; the calibration draws are others than the job's.

    Raises:
        StateError: the originals are not in this bank.
        OptionError: they are of one class alone.
    """
    if model.row.dataset_id is None:
        raise StateError(
            "Selection needs the training originals, and the model's data set is not in this bank",
            got=model.row.id,
            next_step="generate without --select",
        )
    with bank.catalogue.session(read_only=True) as session:
        dataset = queries.get_dataset_by_id(model.row.dataset_id, session=session)
    train = load_split(bank, dataset, Split.TRAIN).images
    side = judged_at(dataset.size)
    selector = Selector.fit(_embed(train.images, side), train.labels)
    index = tuple(dataset.class_names.index(name) for name in model.row.class_names)
    drawn, labels = [], []
    for k in range(len(dataset.class_names)):
        images = _calibration_images(model, index.index(k), seed) if k in index else train.of_class(k).images
        drawn.append(_embed(images, side))
        labels.append(np.full(len(images), k))
    calibrated = selector.calibrated(np.concatenate(drawn), np.concatenate(labels), share)
    return Selection(calibrated, share, index, side)


def _calibration_images(model: LoadedModel, class_index: int, seed: int) -> UInt8Images:
    blocks = -(-_CALIBRATION // model.sampler.block)
    job_seed = stable_seed(seed, "selection")
    return np.concatenate(
        [model.sampler.draw_block(job_seed=job_seed, class_index=class_index, block=b) for b in range(blocks)]
    )[:_CALIBRATION]


def _embed(images: UInt8Images, side: int) -> NDArray[np.float32]:
    return load_feature_network(NETWORK).embed(batched(images), input_size=side)
