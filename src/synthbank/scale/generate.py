"""Generation on a cluster: workers draw, judge and store; this process alone enters rows, in the order of numbers.

So a job on a cluster holds the images of the same job on one machine, each once: which numbers are entered follows
from the verdicts, in order, and not from who was ready first. A worker that dies costs its shard, which another one
makes again with the same bytes.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from synthbank import __version__
from synthbank.catalogue import JobRow, queries
from synthbank.errors import SetupError
from synthbank.records import JobStatus
from synthbank.scale.cluster import RETRIES, cluster, task, width
from synthbank.scale.shards import Errand, Made, Shard, make
from synthbank.storage import layout
from synthbank.workflows.bank import Bank
from synthbank.workflows.generation.generate import GenerateReport, GenerateRequest
from synthbank.workflows.generation.generate import generate as generate_here
from synthbank.workflows.generation.producer import Production, Strand, Work, until_enough

_SHARD = 256  # images: some seconds of work, against some milliseconds to hand it out
_RARE = 0.05  # share of images that pass, below which it is not believed
_AHEAD = 2  # shards for each that the cluster can make at once, so that no worker waits for this process


def generate(
    bank: Bank,
    request: GenerateRequest,
    *,
    on: str,
    device: str = "cpu",
    on_progress: Callable[[str, int, int], None] = lambda class_name, done, wanted: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> GenerateReport:
    """`workflows.generation.generate.generate` on a Ray cluster: the same images, rows and report.

    Args:
        bank: its files must be where every worker reaches them; the catalogue is used by this process alone.
        request: see `GenerateRequest`.
        on: `ray` (the machine itself, or what `RAY_ADDRESS` says) or `ray:ADDRESS`.
        device: of the workers' forward passes, cpu or cuda.
        on_progress: called with class name, accepted so far and wanted.
        should_stop: asked before each shard is entered.

    Raises:
        OptionError: the workers could not reach the bank's files.
        SetupError: no cluster, or its workers die again and again.
    """
    with cluster(on, bank.settings.objects_url) as ray:
        producer = functools.partial(ClusterProduction, ray=ray, device=device)
        return generate_here(bank, request, on_progress=on_progress, should_stop=should_stop, producer=producer)


@dataclass(frozen=True)
class _Sent:
    """A shard in the making."""

    shard: Shard
    result: Any


class ClusterProduction(Production):
    """Jobs of one model in the making by the workers of a cluster. Other arguments as in `Production`.

    Args:
        ray: connected.
        device: of the workers.
    """

    def __init__(self, *args: Any, ray: Any, device: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ray, self._device = ray, device
        self._make, self._width = task(ray, make, device=device), width(ray, device=device)
        self._errands: dict[str, Any] = {}
        self._sent: dict[tuple[str, int], deque[_Sent]] = {}

    def take(self, job: JobRow, **options: Any) -> bool:
        """See `Production.take`."""
        taken = super().take(job, **options)
        if taken:
            self._errands[job.id] = self._ray.put(self._errand(self.works[job.id]))
        return taken

    def step(self) -> None:
        """Hand out what will be needed, and enter the shard that is next in order."""
        self._send()
        strand = next((s for work in self.works.values() for s in work.strands if s.missing), None)
        if strand is not None and (made := self._next(strand)) is not None:
            keep = until_enough(made.verdicts, strand.wanted - strand.accepted, len(made.written))
            self._enter(strand, made.written[:keep], made.verdicts, made.measured)
            for image in made.written[keep:]:
                self.bank.store.delete(image.key)
        self._drop_what_ended()
        self._commit_when_due()

    def stop(self, status: JobStatus, message: str) -> None:
        """See `Production.stop`; what is in the making is thrown away."""
        self._drop(list(self._sent))
        super().stop(status, message)

    def _errand(self, work: Work) -> Errand:
        return Errand(
            __version__,
            self.bank.settings.objects_url,
            self.model.row,
            work.job.id,
            work.recipe,
            work.screened,
            work.selection,
            self._device,
        )

    def _send(self) -> None:
        """Shards of the open strands, as far ahead as the cluster can use and the strands will need."""
        room = _AHEAD * self._width - sum(len(sent) for sent in self._sent.values())
        for work in self.works.values():
            for strand in work.strands:
                while room > 0 and (shard := self._shard(strand)) is not None:
                    sent = _Sent(shard, self._make(self._errands[work.job.id], shard))
                    self._sent.setdefault((work.job.id, strand.class_index), deque()).append(sent)
                    room -= 1

    def _shard(self, strand: Strand) -> Shard | None:
        """The next stretch of a strand; `None` where those in the making are likely to be enough."""
        sent = self._sent.get((strand.work.job.id, strand.class_index), ())
        first = sent[-1].shard.first + sent[-1].shard.n if sent else strand.next_index
        passes = strand.accepted / strand.next_index if strand.next_index else 1.0
        left = strand.wanted - strand.accepted
        if strand.missing == 0 or first >= strand.cap or (first - strand.next_index) * passes >= left:
            return None
        block = self.model.sampler.block
        # whole blocks; small jobs are cut so that every worker has its share
        fair = int(left / max(passes, _RARE)) // self._width
        size = -(-min(fair, _SHARD) // block) * block or block
        end = min(first // block * block + size, strand.cap)
        return Shard(strand.class_index, first, end - first, left)

    def _next(self, strand: Strand) -> Made | None:
        """The shard that is next in order; `None` when the job was lost or changed while it was waited for."""
        sent = self._sent[strand.work.job.id, strand.class_index]
        assert sent[0].shard.first == strand.next_index
        with self.stages("cluster"):
            while not self._ray.wait([sent[0].result], timeout=self.lease_sec / 6)[0]:
                if self._late:
                    self.commit()
                    return None
            return self._fetch(sent.popleft())

    def _fetch(self, sent: _Sent) -> Made:
        from ray.exceptions import WorkerCrashedError

        try:
            made: Made = self._ray.get(sent.result)
        except WorkerCrashedError as error:
            raise SetupError(
                "Workers of the cluster die again and again over the same images",
                got=f"{RETRIES + 1} workers, images {sent.shard.first} to {sent.shard.first + sent.shard.n}",
                next_step="look at their memory; the same command goes on from here",
            ) from error
        return made

    def _drop_what_ended(self) -> None:
        going = {(work.job.id, s.class_index) for work in self.works.values() for s in work.strands if s.missing}
        self._drop([key for key in self._sent if key not in going])

    def _drop(self, keys: list[tuple[str, int]]) -> None:
        """Take back shards that nobody needs any more, and remove their files."""
        if not keys:
            return
        dropped = {key: self._sent.pop(key) for key in keys}
        results = [one.result for sent in dropped.values() for one in sent]
        for result in results:
            self._ray.cancel(result)
        if results:  # until a shard has ended it may still write
            self._ray.wait(results, num_returns=len(results))
        with self.bank.catalogue.session() as session:
            mine = queries.lock_claimed(self.worker, [job for job, _ in dropped], session=session)
        for (job, class_index), sent in dropped.items():
            for one in sent if job in mine else ():  # files of a job that was lost are another's by now
                for index in range(one.shard.first, one.shard.first + one.shard.n):
                    self.bank.store.delete(layout.image_key(job, class_index, index))
