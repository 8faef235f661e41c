"""The threads that compute the steps of a timed run: as many as are fastest on this machine, now.

The threads of one operation wait for each other, spinning. Where another program keeps a core busy, the thread that
shares it is late every time, and a step on all cores takes several times as long as on one (`benchmarks/busy_core.py`).
So the number is measured, with real steps of the run, and measured again when steps become slow.

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
_MARGIN = 1.05  # fewer threads are kept where more of them gain less than this
_SLOW = 3.0  # a step that takes this many times as long as measured is slow
_SLOW_STEPS, _SLOW_SEC = 2, 2.0  # so many in a row, over so long, are no hiccup
_REST = 10.0  # a trial comes after this many times what the last one took, so that trials take at most a tenth
_AGAIN_SEC, _AGAIN_MOST_SEC = 30.0, 240.0  # with fewer threads than there may be: is the other program gone?
_ASK_SEC = 5.0  # between two looks at why a single step was slow
_PROBE_SEC = 0.1
_GRAIN = 1 << 15  # values of one thread: torch gives no thread fewer


def thread_counts(limit: int) -> list[int]:
    """The numbers of threads that are tried, fewest first: powers of two, and all cores with and without one.

    >>> thread_counts(2), thread_counts(8)
    ([1, 2], [1, 2, 4, 7, 8])
    """
    powers = {2**k for k in range(limit.bit_length()) if 2**k <= limit}
    return sorted(powers | {max(limit - 1, 1), limit})


def threads_gain(count: int) -> bool:
    """Whether one small operation, many times over, is faster on so many threads than on one.

    A fifth of a second says so. A training step with threads that wait for a busy core can take a minute.
    """
    values = torch.ones(8 * _GRAIN * max(count // 8, 1))

    def per_sec(threads: int) -> float:
        torch.set_num_threads(threads)
        values.mul_(1.0)  # starts the threads
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < _PROBE_SEC:
            values.mul_(1.0)
            done += 1
        return done / (time.perf_counter() - began)

    with threads():
        return per_sec(count) > per_sec(1)


class ThreadTrial:
    """One measurement: a few steps with each number of threads, fewest first, while more are faster.

    Args:
        limit: most threads.
        least: the number to begin with.
        gains: whether a number is worth a step.
    """

    def __init__(self, limit: int, *, least: int = 1, gains: Callable[[int], bool] = threads_gain) -> None:
        self.step_sec: dict[int, float] = {}
        """Mean seconds of a step, by threads that were measured."""
        self._left = [count for count in thread_counts(limit) if count > least]
        self._gains = gains
        self._seconds: list[float] = []
        self.threads: int | None = least
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
        if not measured:
            return
        mean = sum(measured) / len(measured)
        worse = mean > _WORSE * min(self.step_sec.values(), default=math.inf)
        if worse or len(measured) == _STEPS or sum(measured) >= _ENOUGH_SEC:
            self.step_sec[self.threads] = mean
            self._seconds = []
            more = bool(self._left) and not worse and self._gains(self._left[0])
            self.threads = self._left.pop(0) if more else None


class ThreadPace:
    """Chooses the threads of each step, as a `synthbank.training.Pace`.

    Args:
        limit: most threads: the machine's cores, or fewer where `OMP_NUM_THREADS` says so.
        recorded: changes of this run so far: step, threads.
        gains: as of `ThreadTrial`.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        limit: int,
        recorded: Iterable[tuple[int, int]] = (),
        *,
        gains: Callable[[int], bool] = threads_gain,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit, self._gains, self._clock = limit, gains, clock
        self._changes = sorted(recorded, key=lambda change: change[0])
        self._repeats = False
        self._chosen: int | None = None
        self._expected_sec = math.inf
        self._slow: list[float] = []
        self._ended = self._asked = self._trial_sec = 0.0
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
        if self._changes and wanted == self._changes[-1][1] and not measured:
            self._set(wanted)
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
        rested = self._clock() - self._ended
        if rested >= _REST * self._trial_sec and self._is_slow():
            self._start_trial()
        elif self._chosen < self.limit and rested >= max(self._again_sec, _REST * self._trial_sec):
            self._start_trial(self._chosen)

    def _is_slow(self) -> bool:
        """Whether steps have become slow: a single one may be a hiccup, unless its threads wait for each other."""
        if not self._slow:
            return False
        if len(self._slow) >= _SLOW_STEPS and sum(self._slow) >= _SLOW_SEC:
            return True
        if self._chosen == 1 or self._clock() - self._asked < _ASK_SEC:
            return False
        self._asked = self._clock()
        return not self._gains(torch.get_num_threads())

    def _start_trial(self, least: int = 1) -> None:
        self._trial: ThreadTrial | None = ThreadTrial(self.limit, least=least, gains=self._gains)
        self._began = self._clock()

    def _end_trial(self) -> dict[str, Any]:
        assert self._trial is not None
        trial, self._trial = self._trial, None
        same = trial.best == self._chosen
        # while the answer stays the same, it is asked for less and less often
        self._again_sec = min(2 * self._again_sec, _AGAIN_MOST_SEC) if same else _AGAIN_SEC
        self._chosen, self._expected_sec = trial.best, trial.step_sec[trial.best]
        self._slow = []
        self._ended = self._clock()
        self._trial_sec = self._ended - self._began
        if same:
            return {}
        return {"step_sec": {str(threads): round(seconds, 4) for threads, seconds in trial.step_sec.items()}}

    def _set(self, threads: int) -> None:
        threads = min(threads, self.limit)  # a run may be resumed with fewer cores
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
