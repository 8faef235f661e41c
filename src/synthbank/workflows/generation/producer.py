"""The producer's one function: slices of a forward block become stored images. Draw, screen, select, write.

The local loop (`driver.py`) and the workers of a cluster (`scale/shards.py`) both call it. It needs a model and an
object store, and no catalogue: rows are entered by the ledger.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from synthbank.catalogue import JobRow
from synthbank.generation import ImageWriter, Recipe, Sampler, WrittenImage
from synthbank.records import JobRequest, UInt8Images, Verdicts
from synthbank.storage import ObjectStore
from synthbank.workflows.generation.plan import BatchSlice, until_enough
from synthbank.workflows.generation.selection import Selection
from synthbank.workflows.models.load import LoadedModel


@dataclass(frozen=True, slots=True)
class ImageRules:
    """Everything beside the model that decides the images of a job and their verdicts."""

    job_id: str
    recipe: Recipe
    screened: bool
    """`False`: the gate is not asked, and every image is accepted."""
    selection: Selection | None = None
    """Accepts a share of what passes the gate; `None`: all of it."""


@dataclass(frozen=True, slots=True)
class StoredImages:
    """Consecutive images of one class of a job, whose files are stored and whose rows are not entered yet."""

    written: list[WrittenImage]
    verdicts: Verdicts | None
    """Of the written images; `None`: not screened."""
    measures: list[dict[str, float]] | None
    """Measures of the image selection, by name, for each image; `None`: no selection."""

    @property
    def n_accepted(self) -> int:
        """Images that passed."""
        return len(self.written) if self.verdicts is None else int(self.verdicts.accepted.sum())

    def first(self, n: int) -> StoredImages:
        """The first `n` of them."""
        verdicts = None if self.verdicts is None else self.verdicts.part(0, n)
        return StoredImages(self.written[:n], verdicts, self.measures and self.measures[:n])

    @classmethod
    def joined(cls, parts: Sequence[StoredImages]) -> StoredImages:
        """Several parts as one, in order; all of one job."""
        screened = [part.verdicts for part in parts if part.verdicts is not None]
        measured = [values for part in parts for values in part.measures or []]
        return cls(
            [image for part in parts for image in part.written],
            _joined_verdicts(screened) if screened else None,
            measured if any(part.measures is not None for part in parts) else None,
        )


@dataclass
class StageTimer:
    """Seconds spent in each stage of making images."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time inside as this stage."""
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


def recipe_of(job: JobRow) -> Recipe:
    """The recipe of a job's images, from its row."""
    request = JobRequest.from_json(job.request)
    return Recipe(job.seed, request.truncation, request.towards, request.steps)


def produce(
    model: LoadedModel,
    slices: Sequence[BatchSlice],
    rules: Mapping[str, ImageRules],
    *,
    store: ObjectStore,
    pool: ThreadPoolExecutor,
    timer: StageTimer,
    held_jobs: Callable[[], Container[str]] | None = None,
) -> Iterator[tuple[BatchSlice, StoredImages]]:
    """Make the images of some slices with one forward pass, and store their files; done twice, with the same bytes.

    Args:
        model: draws and screens.
        slices: of at most one forward block together, each of another class target.
        rules: of the jobs of these slices, by job id.
        store: of the files.
        pool: threads that encode and store.
        timer: counts the stages forward, gate, select and write.
        held_jobs: asked once, after the forward pass, for the jobs that may still store files; `None`: all.

    Yields:
        Each slice with its stored images, as soon as they are stored: up to the one that completes its target.
    """
    with timer("forward"):
        images = _draw(model.sampler, slices, rules)
    assert len(images) == sum(part.n for part in slices)
    verdicts = None
    if any(rules[part.target.job_id].screened for part in slices):
        with timer("gate"):
            labels = np.repeat([p.target.class_index for p in slices], [p.n for p in slices])
            verdicts = model.gate.screen(images, labels)
    # a lease may have run out during the pass; the files of a job that another worker claimed are that worker's
    held = None if held_jobs is None else held_jobs()
    first = 0
    for part in slices:
        end = first + part.n
        if held is None or part.target.job_id in held:
            rule = rules[part.target.job_id]
            # a block that is screened for one job's sake is not thereby screened for another
            of_part = verdicts.part(first, end) if verdicts is not None and rule.screened else None
            names = model.row.class_names
            writer = ImageWriter(store, job_id=rule.job_id, model=model.row.id, class_names=names, pool=pool)
            yield part, _select_and_write(part, rule, images[first:end], of_part, writer, timer)
        first = end


def _draw(sampler: Sampler, slices: Sequence[BatchSlice], rules: Mapping[str, ImageRules]) -> UInt8Images:
    """Images of all slices, one after the other, `[N, C, H, W]` uint8."""
    part = slices[0]
    recipe = rules[part.target.job_id].recipe
    if len(slices) == 1 and part.first % sampler.block + part.n <= sampler.block:
        # alone: each image at its own place of its own block, so that its bits do not depend on `Sampler.mixes`
        return sampler.draw_aligned(recipe, part.target.class_index, first=part.first, n=part.n)
    return sampler.draw(
        [rules[p.target.job_id].recipe.draw(p.target.class_index, p.first + i) for p in slices for i in range(p.n)]
    )


def _select_and_write(
    part: BatchSlice,
    rules: ImageRules,
    images: UInt8Images,
    verdicts: Verdicts | None,
    writer: ImageWriter,
    timer: StageTimer,
) -> StoredImages:
    """Select among the images of one slice, and write them up to the last one needed."""
    target, measures = part.target, None
    if rules.selection is not None and verdicts is not None:
        with timer("select"):
            verdicts, measures = rules.selection.narrow(verdicts, images, target.class_index)
    # a class ends with the image that completes it, however many the pass made: what a job holds would otherwise
    # depend on how it was cut into passes
    n = until_enough(verdicts, target.wanted - target.accepted, part.n)
    with timer("write"):
        seeds = [rules.recipe.draw(target.class_index, part.first + i).seed for i in range(n)]
        written = writer.write(images[:n], class_index=target.class_index, first=part.first, seeds=seeds)
    return StoredImages(written, verdicts, measures).first(n)


def _joined_verdicts(parts: Sequence[Verdicts]) -> Verdicts:
    return Verdicts(
        np.concatenate([p.accepted for p in parts]),
        tuple(reason for p in parts for reason in p.reasons),
        np.concatenate([p.nearest for p in parts]),
        np.concatenate([p.distance for p in parts]),
    )
