"""Image selection after the gate: a share of each class is accepted, the most typical images or as originals occur."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from synthbank.catalogue import queries
from synthbank.errors import StateError
from synthbank.fingerprint import pixel_sha256, stable_seed
from synthbank.metrics.utility import DensityRatio, Selector
from synthbank.models import scoring_size
from synthbank.records import JobRequest, LabelledImages, SelectionRule, Split, UInt8Images, Verdicts
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import load_split
from synthbank.workflows.features import embed_images
from synthbank.workflows.models.load import LoadedModel

NETWORK = "lite0"
"""Not Lite1: the scoring network must not have chosen the images that it scores."""
_CALIBRATION = 128
"""Images of each class that set the limits, by the quantile that keeps the share asked for."""
_COMPARED = 256
"""Further images of each class that are compared with the originals, to match them."""


@dataclass(frozen=True)
class Selection(ABC):
    """A calibrated rule for one job."""

    option: ClassVar[str]
    """Option of a request that asks for it, and its key in the job's row."""
    share: float
    class_index: tuple[int, ...]
    """Class of the rule for each class of the model."""
    side: int
    """Input side of the frozen network, in pixels."""

    def narrow(
        self, verdicts: Verdicts, images: UInt8Images, class_index: int
    ) -> tuple[Verdicts, list[dict[str, float]]]:
        """Reject what the gate accepted and the rule does not; the new verdicts, and measures of each image by name.

        Args:
            verdicts: of the gate.
            images: `[N, C, H, W]`, uint8.
            class_index: of the model.
        """
        labels = np.full(len(images), self.class_index[class_index])
        # rejected ones are measured too: a row then says how an image stood, whatever rejected it
        features = embed_images(NETWORK, images, input_size=self.side)
        selected, measures = self._measure(features, labels, images)
        # the gate's reason comes first: a copy stays a copy, typical or not
        reasons = tuple(gate or ours for gate, ours in zip(verdicts.reasons, selected, strict=True))
        accepted = np.array([reason is None for reason in reasons], np.bool_)
        measured = [{name: float(values[i]) for name, values in measures.items()} for i in range(len(images))]
        return Verdicts(accepted, reasons, verdicts.nearest, verdicts.distance), measured

    def rule(self) -> SelectionRule:
        """The record of a job: the share asked for and the limits that it led to."""
        return SelectionRule(self.option, self.share, {"network": NETWORK, "input_size": self.side, **self._limits()})

    @abstractmethod
    def with_limits(self, recorded: SelectionRule) -> Self:
        """This selection with the limits that an earlier call of the same job recorded."""

    @abstractmethod
    def _limits(self) -> dict[str, list[float]]: ...

    @abstractmethod
    def _measure(
        self, features: NDArray[np.float32], labels: NDArray[np.int64], images: UInt8Images
    ) -> tuple[Sequence[str | None], dict[str, NDArray[np.float64]]]:
        """Reason of each rejection (`None`: selected), and measures `[N]` by name.

        Args:
            features: `[N, D]` of the frozen network.
            labels: `[N]`, class of the rule.
            images: `[N, C, H, W]`, uint8.
        """


@dataclass(frozen=True)
class Typical(Selection):
    """Keeps what a classifier trained on the originals finds typical of its class."""

    option = "select"
    selector: Selector

    @override
    def with_limits(self, recorded: SelectionRule) -> Self:
        limits = {k: np.array(recorded.limits[k], np.float64) for k in ("least_confidence", "most_distance")}
        return replace(self, selector=replace(self.selector, **limits))

    @override
    def _limits(self) -> dict[str, list[float]]:
        assert self.selector.least_confidence is not None
        assert self.selector.most_distance is not None
        return {
            "least_confidence": self.selector.least_confidence.tolist(),
            "most_distance": self.selector.most_distance.tolist(),
        }

    @override
    def _measure(
        self, features: NDArray[np.float32], labels: NDArray[np.int64], images: UInt8Images
    ) -> tuple[Sequence[str | None], dict[str, NDArray[np.float64]]]:
        confidence, distance = self.selector.score(features, labels)
        reasons = self.selector.reasons(confidence, distance, labels)
        return reasons, {"confidence": confidence, "centroid_distance": distance}


@dataclass(frozen=True)
class Matched(Selection):
    """Keeps images by chance, and the likelier the more often their like occurs among the originals."""

    option = "match"
    ratio: DensityRatio

    @override
    def with_limits(self, recorded: SelectionRule) -> Self:
        return replace(
            self, ratio=replace(self.ratio, log_limit=np.array(recorded.limits["always_kept_from"], np.float64))
        )

    @override
    def _limits(self) -> dict[str, list[float]]:
        assert self.ratio.log_limit is not None
        return {"always_kept_from": self.ratio.log_limit.tolist()}

    @override
    def _measure(
        self, features: NDArray[np.float32], labels: NDArray[np.int64], images: UInt8Images
    ) -> tuple[Sequence[str | None], dict[str, NDArray[np.float64]]]:
        log_ratio = self.ratio.log_ratio(features)
        chance = self.ratio.acceptance_probability(log_ratio, labels)
        # the random draw of an image is a hash of its pixels, 13 hexadecimal digits or 52 bits, uniform in [0, 1): it
        # falls the same however the job is cut into passes, and when the image is made again
        uniform = np.array([int(pixel_sha256(image)[:13], 16) / 16.0**13 for image in images])
        reasons = ["over_represented" if u >= p else None for u, p in zip(uniform, chance, strict=True)]
        return reasons, {"log_density_ratio": log_ratio, "chance": chance}


def selection_of(bank: Bank, model: LoadedModel, request: JobRequest, *, seed: int) -> Selection | None:
    """The rule that a job's request asks for, its limits set anew; `None`: it asks for none.

    Args:
        bank: where the originals are.
        model: the generator.
        request: of a job.
        seed: of the job; the images that set the limits are others than the job's.

    Raises:
        StateError: the originals are not in this bank.
        OptionError: to select, they are of one class alone.
    """
    if request.selection is None:
        return None
    build = {Typical.option: _typical, Matched.option: _matched}[request.selection.option]
    return build(model, _originals(bank, model, request.selection.option), request.selection.share, seed)


def _originals(bank: Bank, model: LoadedModel, option: str) -> LabelledImages:
    if model.row.dataset_id is None:
        raise StateError(
            "Selection needs the training originals, and the model's data set is not in this bank",
            got=model.row.id,
            next_step=f"generate without --{option}",
        )
    with bank.catalogue.session(read_only=True) as session:
        dataset = queries.get_dataset_by_id(model.row.dataset_id, session=session)
    return load_split(bank, dataset, Split.TRAIN).images


def _typical(model: LoadedModel, train: LabelledImages, share: float, seed: int) -> Selection:
    side = scoring_size(train.images.shape[-1])
    embed = partial(embed_images, NETWORK, input_size=side)
    selector = Selector.fit(embed(train.images), train.labels)
    index = tuple(train.class_names.index(name) for name in model.row.class_names)
    drawn, labels = [], []
    for k in range(len(train.class_names)):
        images = _drawn(model, index.index(k), seed, _CALIBRATION) if k in index else train.of_class(k).images
        drawn.append(embed(images))
        labels.append(np.full(len(images), k))
    calibrated = selector.calibrate(np.concatenate(drawn), np.concatenate(labels), share)
    return Typical(share, index, side, calibrated)


def _matched(model: LoadedModel, train: LabelledImages, share: float, seed: int) -> Selection:
    side = scoring_size(train.images.shape[-1])
    embed = partial(embed_images, NETWORK, input_size=side)
    index = tuple(range(len(model.row.class_names)))
    originals = [train.of_class(train.class_names.index(name)).images for name in model.row.class_names]
    drawn = np.stack([embed(_drawn(model, k, seed, _COMPARED + _CALIBRATION)) for k in index])
    ratio = DensityRatio.fit(
        real=np.concatenate([embed(images) for images in originals]),
        real_labels=np.repeat(index, [len(images) for images in originals]),
        fake=np.concatenate(drawn[:, :_COMPARED]),
        fake_labels=np.repeat(index, _COMPARED),
    )
    calibrated = ratio.calibrate(np.concatenate(drawn[:, _COMPARED:]), np.repeat(index, _CALIBRATION), share)
    return Matched(share, index, side, calibrated)


def _drawn(model: LoadedModel, class_index: int, seed: int, n: int) -> UInt8Images:
    """Images of a class that are in no job, `[n, C, H, W]` uint8."""
    # a seed of their own: limits set on the job's images would depend on how many of them there are
    blocks = -(-n // model.sampler.block)
    job_seed = stable_seed(seed, "selection")
    return np.concatenate(
        [model.sampler.draw_block(job_seed=job_seed, class_index=class_index, block=b) for b in range(blocks)]
    )[:n]
