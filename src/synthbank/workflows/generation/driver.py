"""The driver: it keeps a producer at work on the jobs of a ledger. Producers are handed to it, local or elsewhere.

A job's images follow from its recipe alone, so it does not matter which of them share a forward pass, or which process
makes them. A local worker that holds several jobs fills each block with images of all of them (dynamic batching),
where the device gives an image the same bits at every place of a block; elsewhere each block belongs to one job, as it
always does for a lone job.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from synthbank.storage import ObjectStore
from synthbank.workflows.generation.ledger import Ledger
from synthbank.workflows.generation.plan import BatchSlice, free_places, next_slice, shared_slices
from synthbank.workflows.generation.producer import produce


class Producer(Protocol):
    """Makes images of the jobs of a ledger, some at a time."""

    def step(self, ledger: Ledger) -> None:
        """Make the next images, store them and enter them; nothing, where no image is missing."""

    def abandon(self, ledger: Ledger) -> None:
        """Throw away the images in the making: no further step follows, and the jobs are still held."""

    def close(self) -> None:
        """Free threads and the like."""


class LocalProducer:
    """A producer in this process.

    Args:
        store: of the files.
        mix: fill a block with images of several jobs and classes, where the device allows it.
    """

    def __init__(self, store: ObjectStore, *, mix: bool = False) -> None:
        self._store, self._mix = store, mix
        self._pool = ThreadPoolExecutor(store.writers, thread_name_prefix="png")

    def step(self, ledger: Ledger) -> None:
        """One forward pass, its verdicts and its files."""
        slices = self._plan(ledger)
        if not slices:
            return
        rules = {part.target.job_id: ledger.jobs[part.target.job_id].rules for part in slices}
        made = produce(
            ledger.model,
            slices,
            rules,
            store=self._store,
            pool=self._pool,
            timer=ledger.timer,
            held_jobs=ledger.held_jobs,
        )
        for part, stored in made:
            ledger.enter(part.target, stored)

    def abandon(self, ledger: Ledger) -> None:
        """Nothing: a step leaves no image in the making."""

    def close(self) -> None:
        """End the threads that write files."""
        self._pool.shutdown()

    def free_places(self, ledger: Ledger) -> int:
        """Images that the next block could hold beside those that are missing already."""
        return free_places(ledger.open_targets, block=ledger.model.sampler.block)

    def _plan(self, ledger: Ledger) -> list[BatchSlice]:
        sampler, targets = ledger.model.sampler, ledger.open_targets
        # asked last, as the sampler finds out with three forward passes of its own
        if len(targets) > 1 and self._mix and sampler.mixes:
            return shared_slices(targets, block=sampler.block)
        if targets and self._mix:  # one block each, in turn
            ledger.last(targets[0].job_id)
        return [next_slice(target, block=sampler.block) for target in targets[:1]]


def drive(
    ledger: Ledger,
    producer: Producer,
    *,
    should_stop: Callable[[], bool],
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Make images until no job is left in the ledger, or until `should_stop`.

    Args:
        ledger: with the jobs.
        producer: that makes their images.
        should_stop: asked before each step.
        after_step: called after each step and the commit that follows it, such as to claim further jobs.
    """
    while ledger.jobs and not should_stop():
        producer.step(ledger)
        ledger.commit_when_due()
        after_step()
