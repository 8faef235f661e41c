"""The training loop: steps, status, snapshots, guards, state. It knows no metric, no catalogue and no cloud.

Where several processes train together, each runs this loop. The main process writes, scores, and holds the clock.
Every decision about what comes next (schedule, stop, rollback, restored state) is the same in all processes, as each of
them must make the same collective calls in the same order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from synthbank.config import TrainConfig
from synthbank.errors import TrainingError
from synthbank.models import fused_state, save_tensors
from synthbank.records import LabelledImages, TrainEvent, UInt8Images
from synthbank.storage import History, write_atomic
from synthbank.training import guards
from synthbank.training.state import read_state, write_state
from synthbank.training.trainer import BaseTrainer, spread

MAX_ROLLBACKS = 3
_CHECK_EVERY = 10  # steps between readings of the losses, each of which waits for the device
_STATUS_EVERY = 50  # steps that one line of the history averages
_STATE_EVERY_SEC = 20.0  # at most so much work is lost to a kill
_TIMED_SNAPSHOTS = 6  # of a run that ends by time
_TIMED_GRIDS = 2  # where nothing is scored
_SNAPSHOT_SHARE = 0.1  # largest share of a timed run that snapshots may take
_LOGIT_IMAGES = 128  # of each set, at most, to see whether the discriminator knows its originals by heart
_COLLAPSE_FROM = 0.3  # share of the schedule after which a lack of variety is a collapse


def _never() -> bool:
    return False


class Pace(Protocol):
    """Chooses how many threads compute each step."""

    def before_step(self, step: int) -> Mapping[str, Any] | None:
        """Set the threads of step number `step`; the values of a "threads" event to record, `None`: none."""

    def after_step(self, seconds: float) -> None:
        """Take the time of the step."""


@dataclass(frozen=True)
class Hooks:
    """The loop's connections to the outside: scores, events, images, and the request to stop."""

    score: Callable[[UInt8Images], Mapping[str, float]] | None
    """Scores of a snapshot's fixed-noise images `[N, C, H, W]`; must hold "kid", "real_diversity", "fake_diversity".
    `None`: there are no snapshots, only grids of images, as this stage makes no model yet."""
    on_event: Callable[[TrainEvent], None] = lambda event: None
    """Gets every line of the history, and a "progress" event every few steps that is not written down."""
    on_grid: Callable[[int, UInt8Images], None] = lambda step, images: None
    """Gets the fixed-noise images whenever a snapshot is due, in class order."""
    should_stop: Callable[[], bool] = _never
    """Called before every step; `True` saves the state and returns."""
    pace: Pace | None = None
    """Of a run that ends by time; `None`: the number of threads stays as it is."""


@dataclass
class Progress:
    """Counters of a run; all of them are in the state file."""

    step: int = 0
    images_seen: int = 0
    elapsed_sec: float = 0.0
    last_snapshot_sec: float = 0.0
    """Elapsed seconds when the last snapshot was done."""
    snapshot_cost_sec: float = 0.0
    """Seconds that it took."""
    rollbacks: int = 0
    losses: dict[str, list[float]] = field(default_factory=dict)
    """Last values, at most `guards.WINDOW`, of every step metric called `loss…`."""


@dataclass(frozen=True)
class FitResult:
    """The end of a call of `fit`."""

    finished: bool
    """`False`: stopped on request; the same command resumes."""
    step: int
    images_seen: int
    elapsed_sec: float
    rollbacks: int


class TrainingLoop:
    """Runs one training run inside its folder; a folder with a state is resumed.

    Of several processes, only the main one needs the folder, and calls the hooks.

    Args:
        trainer: networks, optimisers and data.
        config: the resolved configuration.
        folder: the run folder; holds `state.safetensors`, `history.jsonl` and `snapshots/`.
        validation: originals that no training step sees (may be empty: over-fitting is then not watched).
        hooks: see `Hooks`.
        begin: progress of an earlier growth stage of this run, at another size; `None`: there was none.
        snapshot_first: score the initial networks, which may be the best that a short run will have.
    """

    def __init__(
        self,
        trainer: BaseTrainer,
        config: TrainConfig,
        *,
        folder: Path,
        validation: LabelledImages,
        hooks: Hooks,
        begin: Progress | None = None,
        snapshot_first: bool = False,
    ) -> None:
        self.trainer, self.config, self.folder, self.validation, self.hooks = trainer, config, folder, validation, hooks
        self.process_group = trainer.process_group
        self.history = History(folder)
        self.progress = begin or Progress()
        self.snapshot_first = snapshot_first
        self._pending: list[dict[str, Tensor]] = []
        self._window: list[dict[str, float]] = []
        self._saved_at = self._started = time.monotonic()

    def fit(self) -> FitResult:
        """Train until the schedule ends or a stop is asked for.

        Raises:
            TrainingError: a loss stayed not finite after three rollbacks at falling learning rates.
        """
        # ---- Set up, or resume from the state in the folder ----
        if self.process_group.is_main:
            (self.folder / "snapshots").mkdir(parents=True, exist_ok=True)
        if not self._restore():
            if self.snapshot_first:
                self._snapshot()
            self._save_state()  # a rollback needs a state to go back to
        self._resume_clock()

        while True:
            # ---- End of the schedule, or stop on request ----
            done, stop = self._poll_stop()
            if done >= 1.0:
                failure = self._check_finite()
                if failure is None:
                    break
                self._roll_back(failure)  # leaves steps to train again; a time budget ends with the restored networks
                continue
            if stop:
                failure = self._flush_losses()
                if failure is not None:
                    self._roll_back(failure)
                self._save_state()
                return self._result(finished=False)

            # ---- Train step ----
            self._train_step(done)
            check_due = self.progress.step % _CHECK_EVERY == 0

            # ---- Report status ----
            if check_due:
                failure = self._flush_losses()
                if failure is not None:
                    self._roll_back(failure)
                    continue

            # ---- Snapshot, and the state that belongs to it ----
            if self._snapshot_due():
                failure = self._check_finite()
                if failure is not None:
                    self._roll_back(failure)
                    continue
                self._snapshot()
                self._save_state()

            # ---- Save the state ----
            elif check_due and time.monotonic() - self._saved_at > _STATE_EVERY_SEC:
                self._save_state()

        # ---- Finish: there is always a snapshot of the last step ----
        if self.hooks.score is not None and not self._has_snapshot(self.progress.step):
            self._snapshot()
        self._save_state()
        return self._result(finished=True)

    def _poll_stop(self) -> tuple[float, bool]:
        """Share of the schedule that is done, and whether to stop: by the clock and the hooks of the main process."""
        # clocks differ between processes: without one decision for all, they would wait for each other forever
        done = self._schedule()
        stop = done < 1.0 and self.process_group.is_main and self.hooks.should_stop()
        polled: tuple[float, bool] = self.process_group.broadcast((done, stop))
        return polled

    def _train_step(self, done: float) -> None:
        p, pace = self.progress, self.hooks.pace
        change = None if pace is None else pace.before_step(p.step)
        if change is not None:
            self._record(self._event("threads", **change))
        began = time.perf_counter()
        # metrics stay on the device until the next look, so that a step does not wait for the one before
        self._pending.append(self.trainer.step(p.step, progress=done))
        if pace is not None:
            pace.after_step(time.perf_counter() - began)
        p.step += 1
        p.images_seen += self.config.batch_size

    def _check_finite(self) -> guards.GuardEvent | None:
        """Read the losses of the last steps, then the weights; the event of a value that is not finite."""
        failure = self._flush_losses()
        if failure is not None:
            return failure
        # a loss is computed before the update that follows it: only the weights show what the last update did
        if self.process_group.broadcast(self.process_group.is_main and _finite(self.trainer.state()[0])):
            return None
        return guards.GuardEvent("not_finite", math.nan, 0.0, "a weight is NaN or infinite")

    def _flush_losses(self) -> guards.GuardEvent | None:
        """Read the metrics of the last steps, and report them; the event of a loss that is not finite."""
        values = self.process_group.mean_scalars(self._pending)  # the same in all processes, and so is what follows
        self._pending.clear()
        if not values:
            return None
        p = self.progress
        for name in (k for k in values[0] if k.startswith("loss")):
            p.losses[name] = (p.losses.get(name, []) + [v[name] for v in values])[-guards.WINDOW :]
        event = guards.instability(*(p.losses[name] for name in sorted(p.losses)))  # `loss_d` before `loss_g`
        if event is not None and event.name == "not_finite":
            return event
        self._window += values
        if self.process_group.is_main:
            self.hooks.on_event(self._event("progress", **values[-1]))
        if p.step % _STATUS_EVERY == 0 and self._window:
            names = dict.fromkeys(k for v in self._window for k in v)  # some metrics belong to some steps alone
            means = {k: float(np.mean([v[k] for v in self._window if k in v])) for k in names}
            self._window.clear()
            self._record(self._event("status", **means))
            if event is not None:
                self._record_guard(event)
        return None

    def _snapshot(self) -> None:
        """Show the averaged generator's images, and write it where they are scored; other processes wait meanwhile."""
        if not self.process_group.is_main:
            return
        began = self._elapsed()
        labels = np.arange(self.config.snapshot_images, dtype=np.int64) % self.trainer.spec.n_classes
        generator = self.trainer.published()
        images = self.trainer.sample(generator, labels)
        if self.hooks.score is not None:
            self._score_snapshot(generator, images, labels, self.hooks.score)
        p = self.progress
        p.last_snapshot_sec = self._elapsed()
        p.snapshot_cost_sec = p.last_snapshot_sec - began
        self.hooks.on_grid(p.step, images)

    def _score_snapshot(
        self,
        generator: nn.Module,
        images: UInt8Images,
        labels: np.ndarray[tuple[int], np.dtype[np.int64]],
        score: Callable[[UInt8Images], Mapping[str, float]],
    ) -> None:
        """Write the averaged generator with its scores, and ask the guards."""
        p = self.progress
        scores = dict(score(images))
        logits = self._logits(images, labels)
        # the file before its line in the history: a kill between them leaves no line without a file
        path = self._snapshot_path(p.step)
        write_atomic(path, save_tensors(fused_state(generator), header=self.trainer.spec.to_json()))
        self._record(self._event("snapshot", **scores, **logits))
        diversities = {k: scores[k] for k in ("real_diversity", "fake_diversity")}
        # young networks draw one grey image, which is no collapse
        collapse = guards.mode_collapse(**diversities) if self._schedule() >= _COLLAPSE_FROM else None
        overfitting = guards.discriminator_overfitting(**_unprefixed(logits)) if logits else None
        for event in (collapse, overfitting):
            if event is not None:
                self._record_guard(event)

    def _logits(self, fake: UInt8Images, labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[str, float]:
        if not len(self.validation):
            return {}
        # the three means of Karras et al. 2020, equation 1: train reals, validation reals, fakes
        train = spread(len(self.trainer.images), most=min(4 * len(self.validation), _LOGIT_IMAGES))
        validation = spread(len(self.validation), most=_LOGIT_IMAGES)
        sets = {
            "train": (self.trainer.images[train].cpu().numpy(), self.trainer.labels[train].cpu().numpy()),
            "validation": (self.validation.images[validation], self.validation.labels[validation]),
            "fake": (
                fake[:_LOGIT_IMAGES],
                labels[:_LOGIT_IMAGES],
            ),  # classes take turns: the first ones are of all classes
        }
        logits = {f"logit_of_{k}": self.trainer.mean_logit(*v) for k, v in sets.items()}
        return {k: v for k, v in logits.items() if v is not None}

    def _roll_back(self, event: guards.GuardEvent) -> None:
        """Return to the last good state, at half the learning rate; at most three times."""
        self._record_guard(event)
        rollbacks = self.trainer.rollbacks + 1
        elapsed, lr_scale = self._elapsed(), self.trainer.lr_scale / 2
        if rollbacks > MAX_ROLLBACKS:
            raise TrainingError(
                f"Training diverged again after {MAX_ROLLBACKS} rollbacks; the snapshots made before are kept",
                got=event.message,
                next_step="lower the learning rates (--set lr_g=…, --set lr_d=…) or train another model",
                step=self.progress.step,
            )
        if not self._restore(keep_history=True):
            raise TrainingError("Training diverged before its first state was written", got=event.message)
        # these outlive the restored state: the count changes every random choice, and lost time is not given back
        self.trainer.rollbacks, self.trainer.lr_scale = rollbacks, lr_scale
        self.progress.elapsed_sec, self.progress.rollbacks = elapsed, rollbacks
        self._resume_clock()
        self._save_state()
        self._record(self._event("rollback", rollbacks=rollbacks, lr_scale=lr_scale))

    def _restore(self, *, keep_history: bool = False) -> bool:
        """Load the folder's state; `False` where there is none of this size."""
        stored = self.process_group.broadcast(read_state(self.folder) if self.process_group.is_main else None)
        if stored is None or stored[1]["size"] != self.trainer.spec.size:  # none, or of an earlier growth stage
            return False
        tensors, values = stored
        self.trainer.load_state(tensors, values)
        self.progress = Progress(**values["progress"])
        self._window = list(values["window"])
        self._pending.clear()
        if self.process_group.is_main:
            self._drop_later(keep_history=keep_history)
        return True

    def _drop_later(self, *, keep_history: bool) -> None:
        """Remove everything written after the state, which will be written again; no line outlives its snapshot."""
        self.history.truncate(after_step=self.progress.step, only="snapshot" if keep_history else None)
        for path in (self.folder / "snapshots").glob("*.safetensors"):
            if int(path.stem) > self.progress.step:
                path.unlink()

    def _save_state(self) -> None:
        self.progress.elapsed_sec = self._elapsed()
        self._resume_clock()
        if not self.process_group.is_main:
            return
        tensors, values = self.trainer.state()
        if not _finite(tensors):
            return  # the last update broke the weights, as the next loss will show; the state before is still good
        counters = {"size": self.trainer.spec.size, "progress": asdict(self.progress), "window": self._window}
        write_state(self.folder, tensors, values | counters)
        self._saved_at = time.monotonic()

    def _snapshot_due(self) -> bool:
        """True where a snapshot follows this step: by number, or in timed runs by the main process's clock."""
        c, p = self.config, self.progress
        if c.snapshot_every is not None:
            return p.step % c.snapshot_every == 0
        if c.steps is not None:
            return p.step % max(c.steps // 10, 1) == 0
        assert c.time_budget_sec is not None
        now = self._elapsed()
        times = _TIMED_GRIDS if self.hooks.score is None else _TIMED_SNAPSHOTS
        interval = max(c.time_budget_sec / times, p.snapshot_cost_sec / _SNAPSHOT_SHARE)
        near_the_end = c.time_budget_sec - now < interval / 2  # where the last snapshot follows anyway
        due: bool = self.process_group.broadcast(now - p.last_snapshot_sec > interval and not near_the_end)
        return due

    def _snapshot_path(self, step: int) -> Path:
        return self.folder / "snapshots" / f"{step:08d}.safetensors"

    def _has_snapshot(self, step: int) -> bool:
        return self._snapshot_path(step).exists()

    def _schedule(self) -> float:
        return self.config.progress(self.progress.step, self._elapsed())

    def _elapsed(self) -> float:
        # seconds of earlier calls, and of this one since the clock was last resumed
        return self.progress.elapsed_sec + time.monotonic() - self._started

    def _resume_clock(self) -> None:
        self._started = time.monotonic()

    def _event(self, kind: str, **values: Any) -> TrainEvent:
        p = self.progress
        return TrainEvent(kind, p.step, p.images_seen, self._elapsed(), dict(values))

    def _record(self, event: TrainEvent) -> None:
        if not self.process_group.is_main:
            return
        self.history.append(event)
        self.hooks.on_event(event)

    def _record_guard(self, event: guards.GuardEvent) -> None:
        value = event.value if math.isfinite(event.value) else "not finite"
        self._record(self._event("guard", name=event.name, value=value, limit=event.limit, message=event.message))

    def _result(self, *, finished: bool) -> FitResult:
        p = self.progress
        return FitResult(finished, p.step, p.images_seen, self._elapsed(), self.trainer.rollbacks)


def _finite(tensors: Mapping[str, Tensor]) -> bool:
    return all(bool(v.isfinite().all()) for v in tensors.values())


def _unprefixed(logits: Mapping[str, float]) -> dict[str, float]:
    return {k.removeprefix("logit_of_"): v for k, v in logits.items()}
