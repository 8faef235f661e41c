"""What a worker of the cluster does: draw, judge and store a stretch of a job's images. It needs no catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from synthbank.catalogue import ModelRow
from synthbank.generation import ImageWriter, Recipe, WrittenImage
from synthbank.records import Verdicts
from synthbank.scale.cluster import check_version
from synthbank.storage import ObjectStore
from synthbank.workflows.generation.producer import until_enough
from synthbank.workflows.generation.selection import Selection
from synthbank.workflows.models.load import LoadedModel, read_model


@dataclass(frozen=True)
class Errand:
    """What all shards of a job have in common."""

    version: str
    """Of this package, where the job is driven from."""
    storage_url: str
    model: ModelRow
    job_id: str
    recipe: Recipe
    screened: bool
    selection: Selection | None
    device: str


@dataclass(frozen=True)
class Shard:
    """Images number `first` to `first + n` of a class."""

    class_index: int
    first: int
    n: int
    most: int
    """Accepted images after which nothing more is needed of it, whatever the shards before it gave."""


@dataclass(frozen=True)
class Made:
    """A shard whose files are stored."""

    written: list[WrittenImage]
    verdicts: Verdicts | None
    measured: list[dict[str, float]] | None

    @property
    def accepted(self) -> int:
        """How many of its images passed."""
        return len(self.written) if self.verdicts is None else int(self.verdicts.accepted.sum())


_loaded: dict[tuple[str, ...], LoadedModel] = {}  # the model of the last shard: a worker mostly makes one job's


def make(errand: Errand, shard: Shard) -> Made:
    """Draw, judge and store a shard; done twice, it stores the same bytes under the same keys."""
    check_version(errand.version)
    model, parts, accepted = _model(errand), [], 0
    store = ObjectStore(errand.storage_url)
    with ThreadPoolExecutor(store.writers, thread_name_prefix="png") as pool:
        writer = ImageWriter(
            store,
            job_id=errand.job_id,
            model=model.row.id,
            class_names=model.row.class_names,
            pool=pool,
        )
        for first, n in _blocks(shard, model.sampler.block):
            block = Shard(shard.class_index, first, n, shard.most - accepted)
            parts.append(_make_block(errand, model, writer, block))
            accepted += parts[-1].accepted
            if accepted >= shard.most:
                break
    written = [image for part in parts for image in part.written]
    verdicts = _joined([part.verdicts for part in parts if part.verdicts is not None])
    measured = [values for part in parts for values in part.measured or []]
    return Made(written, verdicts, measured if errand.selection is not None else None)


def _make_block(errand: Errand, model: LoadedModel, writer: ImageWriter, block: Shard) -> Made:
    recipe, class_index, first = errand.recipe, block.class_index, block.first
    images = model.sampler.draw_aligned(recipe, class_index, first=first, n=block.n)
    verdicts, measured = model.gate.screen(images) if errand.screened else None, None
    if errand.selection is not None and verdicts is not None:
        verdicts, measured = errand.selection.narrow(verdicts, images, class_index)
    keep = until_enough(verdicts, block.most, block.n)
    seeds = [recipe.draw(class_index, first + i).seed for i in range(keep)]
    written = writer.write(images[:keep], class_index=class_index, first=first, seeds=seeds)
    return Made(written, None if verdicts is None else verdicts.part(0, keep), measured and measured[:keep])


def _blocks(shard: Shard, block: int) -> Iterator[tuple[int, int]]:
    """First number and length of each part that lies in one block."""
    first, end = shard.first, shard.first + shard.n
    while first < end:
        n = min(block - first % block, end - first)
        yield first, n
        first += n


def _joined(parts: list[Verdicts]) -> Verdicts | None:
    if not parts:
        return None
    return Verdicts(
        np.concatenate([p.accepted for p in parts]),
        tuple(reason for p in parts for reason in p.reasons),
        np.concatenate([p.nearest for p in parts]),
        np.concatenate([p.distance for p in parts]),
    )


def _model(errand: Errand) -> LoadedModel:
    key = (errand.storage_url, errand.model.id, errand.model.sha256, errand.device)
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = read_model(ObjectStore(errand.storage_url), errand.model, device=errand.device)
    return _loaded[key]
