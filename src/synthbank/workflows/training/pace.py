"""The threads that compute the steps of a timed run: as many as are fastest on this machine, now.

The threads of one operation wait for each other, spinning. Where another program keeps a core busy, the one that shares
it is late every time, and a step on all cores takes several times as long as on one (`benchmarks/busy_core.py`). So the
number is measured, with real steps of the run, and measured again when steps become slow.

Sums are rounded in another order on another number of threads. Every change is therefore recorded with its step, and a
resumed run repeats what is recorded. A run of a fixed number of steps, meant to come out the same each time, keeps the
number that it finds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from synthbank.config import TrainConfig
from synthbank.workflows.devices import one_device
from synthbank.workflows.training.launch import Processes

_STEPS = 3  # measured with each number of threads, after one that warms up
_ENOUGH_SEC = 2.0  # slow steps are measured less often
_WORSE = 1.2  # still more threads are not tried after a number whose steps take this many times the fastest
_HOPELESS = 10.0  # nor after a first step, which also prepares operations, of this many times the fastest
_MARGIN = 1.05  # fewer threads are kept where more of them gain less than this
_SLOW = 3.0  # a step that takes this many times as long as measured is slow
_SLOW_STEPS, _SLOW_SEC = 2, 2.0  # so many in a row, over so long: no single hiccup
_REST = 10.0  # a trial comes after this many times what the last one took, so that trials take at most a tenth
_AGAIN_SEC, _AGAIN_MOST_SEC = 60.0, 600.0  # with fewer threads than there may be: is the other program gone?


def thread_counts(limit: int) -> list[int]:
    """The numbers of threads that are tried, fewest first: powers of two, and all cores with and without one.

    >>> thread_counts(2), thread_counts(8)
    ([1, 2], [1, 2, 4, 7, 8])
    """
    powers = {2**k for k in range(limit.bit_length()) if 2**k <= limit}
    return sorted(powers | {max(limit - 1, 1), limit})


class ThreadTrial:
    """One measurement: a few steps with each number of threads, fewest first, while more are faster.

    Args:
        limit: most threads.
    """

    def __init__(self, limit: int) -> None:
        self.step_sec: dict[int, float] = {}
        """Mean seconds of a step, by threads that were measured."""
        self._left: Iterator[int] = iter(thread_counts(limit))
        self._seconds: list[float] = []
        self.threads: int | None = next(self._left)
        """Threads for the next step; `None`: the trial is over."""

    @property
    def best(self) -> int:
        """The fewest threads that are as good as the fastest."""
        fastest = min(self.step_sec.values())
        return min(n for n, seconds in self.step_sec.items() if seconds <= _MARGIN * fastest)

    def add(self, seconds: float) -> None:
        """Take the time of a step that `threads` have computed."""
        assert self.threads is not None
        self._seconds.append(seconds)
        measured = self._seconds[1:]  # the first step of a number prepares its operations
        fastest = min(self.step_sec.values(), default=math.inf)
        if not measured:
            if seconds > _HOPELESS * fastest:
                self.threads = None
            return
        mean = sum(measured) / len(measured)
        if mean > _WORSE * fastest or len(measured) == _STEPS or sum(measured) >= _ENOUGH_SEC:
            self.step_sec[self.threads] = mean
            self.threads = None if mean > _WORSE * fastest else next(self._left, None)
            self._seconds = []


class ThreadPace:
    """Chooses the threads of each step: see `synthbank.training.Pace`.

    Args:
        limit: most threads: the machine's cores, or fewer where `OMP_NUM_THREADS` says so.
        recorded: changes of this run so far: step, threads.
        clock: seconds that only go up.
    """

    def __init__(
        self, limit: int, recorded: Iterable[tuple[int, int]] = (), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit, self._clock = limit, clock
        self._changes = sorted(recorded, key=lambda change: change[0])
        self._repeats = False
        self._chosen: int | None = None
        self._expected_sec = math.inf
        self._slow: list[float] = []
        self._ended = self._trial_sec = 0.0
        self._again_sec = _AGAIN_SEC
        self._start_trial()

    def before_step(self, step: int) -> dict[str, Any] | None:
        """Set the threads of a step; the values of a "threads" event to record, `None`: nothing changes."""
        self._repeats = bool(self._changes) and step <= self._changes[-1][0]
        if self._repeats:  # resumed, or rolled back: as it was
            earlier = [threads for at, threads in self._changes if at <= step]
            self._set(earlier[-1] if earlier else 1)
            self._start_trial()
            return None
        measured = self._end_trial() if self._trial is not None and self._trial.threads is None else {}
        wanted = self._chosen if self._trial is None else self._trial.threads
        assert wanted is not None
        if self._changes and wanted == torch.get_num_threads() and not measured:
            return None
        self._set(wanted)
        self._changes.append((step, wanted))
        return {"threads": wanted, **measured}

    def after_step(self, seconds: float) -> None:
        """Take the time that the step took."""
        if self._repeats:
            return
        if self._trial is not None:
            self._trial.add(seconds)
            return
        assert self._chosen is not None
        self._slow = [*self._slow, seconds] if seconds >= _SLOW * self._expected_sec else []
        slow = len(self._slow) >= _SLOW_STEPS and sum(self._slow) >= _SLOW_SEC
        since = self._clock() - self._ended
        wait = _REST * self._trial_sec
        if since >= wait if slow else self._chosen < self.limit and since >= max(wait, self._again_sec):
            self._start_trial()

    def _start_trial(self) -> None:
        self._trial: ThreadTrial | None = ThreadTrial(self.limit)
        self._began = self._clock()

    def _end_trial(self) -> dict[str, Any]:
        assert self._trial is not None
        trial, self._trial = self._trial, None
        # while the answer stays the same, it is asked for less and less often
        self._again_sec = min(2 * self._again_sec, _AGAIN_MOST_SEC) if trial.best == self._chosen else _AGAIN_SEC
        self._chosen, self._expected_sec = trial.best, trial.step_sec[trial.best]
        self._slow = []
        self._ended = self._clock()
        self._trial_sec = self._ended - self._began
        return {"step_sec": {str(threads): round(seconds, 4) for threads, seconds in trial.step_sec.items()}}

    def _set(self, threads: int) -> None:
        threads = min(threads, self.limit)  # a run may go on with fewer cores
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)


def measures_threads(config: TrainConfig, wanted: Processes) -> bool:
    """Whether a run may choose its threads: it ends by time, in one process, on a CPU with more than one."""
    on_cpu = one_device(wanted.accelerator).type == "cpu"
    return config.steps is None and wanted.count == 1 and on_cpu and torch.get_num_threads() > 1


@contextmanager
def threads(count: int | None = None) -> Iterator[int]:
    """Compute with so many threads (`None`: as many as before) inside, and with as many as before after it.

    Yields:
        The threads before: the machine's cores, or fewer where `OMP_NUM_THREADS` says so.
    """
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield before
    finally:
        torch.set_num_threads(before)
