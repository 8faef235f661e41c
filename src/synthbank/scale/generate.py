"""Generation on a cluster: workers draw, screen and store; this process alone enters rows, in the order of numbers.

So a job on a cluster holds the images of the same job on one machine, each once: which numbers are entered follows
from the verdicts, in order, and not from which worker was ready first. A worker that dies costs its shard, which
another one makes again with the same bytes.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from synthbank import __version__
from synthbank.errors import SetupError
from synthbank.scale.cluster import RETRIES, cluster, task, width
from synthbank.scale.shards import ShardContext, ShardResult, make
from synthbank.workflows.bank import Bank
from synthbank.workflows.generation.generate import GenerateReport, GenerateRequest
from synthbank.workflows.generation.generate import generate as generate_here
from synthbank.workflows.generation.ledger import ActiveJob, Ledger
from synthbank.workflows.generation.plan import ClassTarget, Shard, next_shard, until_enough

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
        request: model, number, seed and options.
        on: `ray` (the machine itself, or what `RAY_ADDRESS` says) or `ray:ADDRESS`.
        device: of the workers' forward passes, cpu or cuda.
        on_progress: called with class name, accepted so far and wanted.
        should_stop: asked before each shard is entered.

    Raises:
        OptionError: the workers could not reach the bank's files.
        SetupError: no cluster, or its workers die again and again.
    """
    with cluster(on, bank.settings.objects_url) as ray:
        producer = ClusterProducer(ray, device=device)
        return generate_here(bank, request, on_progress=on_progress, should_stop=should_stop, producer=producer)


@dataclass(frozen=True)
class _Sent:
    """A shard in the making."""

    shard: Shard
    result: Any


class ClusterProducer:
    """A producer whose images are made by the workers of a cluster.

    Args:
        ray: connected.
        device: of the workers.
    """

    def __init__(self, ray: Any, *, device: str) -> None:
        self._ray, self._device = ray, device
        self._make, self._width = task(ray, make, device=device), width(ray, device=device)
        self._contexts: dict[str, Any] = {}
        self._sent: defaultdict[tuple[str, int], deque[_Sent]] = defaultdict(deque)

    def step(self, ledger: Ledger) -> None:
        """Hand out the shards that will be needed, and enter the one that is next in order."""
        self._send(ledger)
        target = next(iter(ledger.open_targets), None)
        if target is not None and (result := self._next(target, ledger)) is not None:
            # shards were sent before the verdicts of the ones in front of them were known: some make too many
            n = until_enough(result.verdicts, target.wanted - target.accepted, len(result.written))
            ledger.enter(target, result.first(n))
            for image in result.written[n:]:
                ledger.bank.store.delete(image.key)
        wanted = {(target.job_id, target.class_index) for target in ledger.open_targets}
        self._drop([key for key in self._sent if key not in wanted], ledger)

    def abandon(self, ledger: Ledger) -> None:
        """Take back all shards in the making, and remove their files."""
        self._drop(list(self._sent), ledger)

    def close(self) -> None:
        """Nothing: the connection belongs to `cluster`."""

    def _context(self, job: ActiveJob, ledger: Ledger) -> Any:
        """The context of a job's shards in the cluster's object store, where it is put once."""
        if job.row.id not in self._contexts:
            url = ledger.bank.settings.objects_url
            context = ShardContext(__version__, url, ledger.model.row, job.rules, self._device)
            self._contexts[job.row.id] = self._ray.put(context)
        return self._contexts[job.row.id]

    def _send(self, ledger: Ledger) -> None:
        """Shards of the open targets, as far ahead as the cluster can use and the targets will need."""
        room, block = _AHEAD * self._width - sum(len(sent) for sent in self._sent.values()), ledger.model.sampler.block
        for target in ledger.open_targets:
            sent = self._sent[target.job_id, target.class_index]
            while room > 0:
                shard = next_shard(target, [one.shard for one in sent], block=block, width=self._width)
                if shard is None:
                    break
                sent.append(_Sent(shard, self._make(self._context(ledger.jobs[target.job_id], ledger), shard)))
                room -= 1

    def _next(self, target: ClassTarget, ledger: Ledger) -> ShardResult | None:
        """The shard that is next in order; `None` when the job was lost or changed while it was waited for."""
        sent = self._sent[target.job_id, target.class_index]
        assert sent[0].shard.first == target.next_index
        with ledger.timer("cluster"):
            while not self._ray.wait([sent[0].result], timeout=ledger.lease_sec / 6)[0]:
                # a commit renews the leases, and may close or drop the job: the caller looks again
                if ledger.renewal_due:
                    ledger.commit()
                    return None
            return self._fetch(sent.popleft())

    def _fetch(self, sent: _Sent) -> ShardResult:
        from ray.exceptions import WorkerCrashedError

        try:
            result: ShardResult = self._ray.get(sent.result)
        except WorkerCrashedError as error:
            raise SetupError(
                "Workers of the cluster die again and again over the same images",
                got=f"{RETRIES + 1} workers, images {sent.shard.first} to {sent.shard.end}",
                next_step="look at their memory, then repeat the command to resume",
            ) from error
        return result

    def _drop(self, keys: list[tuple[str, int]], ledger: Ledger) -> None:
        """Take back shards that nobody needs any more, and remove their files."""
        dropped = {key: sent for key in keys if (sent := self._sent.pop(key))}
        if not dropped:
            return
        results = [one.result for sent in dropped.values() for one in sent]
        for result in results:
            self._ray.cancel(result)
        self._ray.wait(results, num_returns=len(results))  # until a shard has ended it may still write
        ledger.discard({key: [range(one.shard.first, one.shard.end) for one in sent] for key, sent in dropped.items()})
