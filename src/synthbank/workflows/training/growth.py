"""The sizes that one training run goes through, small ones first, where a step costs less; and the loop of each."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from torch import Tensor

from synthbank.config import TrainConfig
from synthbank.data import EpochSampler
from synthbank.errors import StateError
from synthbank.metrics import KID_SCALE, kernel_distance, pairwise_diversity
from synthbank.models import SCORING_NETWORK, ModelSpec, fused_state, scoring_size
from synthbank.records import LabelledImages, TrainEvent, UInt8Images
from synthbank.reports import labelled_grid
from synthbank.storage import History, write_atomic
from synthbank.training import Hooks, ProcessGroup, Progress, TrainingLoop, make_trainer, state_size
from synthbank.workflows.data.expand import load_expansion
from synthbank.workflows.features import embed_images
from synthbank.workflows.training.pace import ThreadPace
from synthbank.workflows.training.run import TrainingRun

_LEAST = 32
_LEAST_SEC, _LEAST_IMAGES = 180.0, 8000
"""How long the stage of 32 pixels lasts at most: in runs of 20 minutes and more, longer ones gained nothing
(docs/recipes.md)."""


@dataclass(frozen=True)
class GrowthStage:
    """A part of a run at one size; steps and seconds count on from one stage to the next."""

    size: int
    config: TrainConfig
    """Of the run, but that its schedule ends where the stage ends."""
    last: bool = False
    """At full size; only what this stage makes is a model."""


def smallest_size(size: int, start_size: int | None = None) -> int:
    """The side in pixels that a growing run begins with.

    Args:
        size: full side, a power of two.
        start_size: of the images that the initial weights make, below which no stage goes, as it would lose their
            finest maps; `None`: random weights. Then 64 pixels are the least, and half of 64: longer ways cost short
            runs more than they gain (docs/recipes.md).
    """
    return min(size, start_size or min(max(size // 2, _LEAST), 64))


def growth_stages(config: TrainConfig, size: int, *, start_size: int | None = None) -> list[GrowthStage]:
    """The stages of a run, smallest size first.

    Args:
        config: `grow_share` says how much of the schedule comes before a size. Learning rates fall in the last stage,
            and in every stage whose images the next one keeps (`picture_size` of `projected`).
        size: full side in pixels, a power of two.
        start_size: as in `smallest_size`.
    """
    smallest = smallest_size(size, start_size)
    stages = [GrowthStage(size, config, last=True)]
    # a single step cannot be shared out
    while config.grow_share and stages[0].size > smallest and stages[0].config.steps != 1:
        later = stages[0]
        stages.insert(0, GrowthStage(later.size // 2, _shorter(later.config, later.size // 2)))
    return stages


def inherits_images(config: TrainConfig, size: int) -> bool:
    """Whether a stage of this size begins with the images of the one before it, enlarged."""
    return bool(size > config.model_options.get("picture_size", size))


def _shorter(config: TrainConfig, size: int) -> TrainConfig:
    """The schedule of what comes before `config`, at `size` pixels."""
    steps, seconds = config.steps, config.time_budget_sec
    if steps is not None:
        steps = max(round(config.grow_share * steps), 1)
    if seconds is not None:
        seconds = config.grow_share * seconds
    if size == _LEAST:
        steps = None if steps is None else min(steps, _LEAST_IMAGES // config.batch_size)
        seconds = None if seconds is None else min(seconds, _LEAST_SEC)
    if not inherits_images(config, 2 * size):
        # The next stage learns the image anew, so there is nothing to settle here: full learning rates to the end.
        adversarial = config.adversarial
        if adversarial is not None:
            adversarial = dataclasses.replace(adversarial, lr_final_fraction_discriminator=None)
        config = dataclasses.replace(config, lr_final_fraction=1.0, adversarial=adversarial)
    return dataclasses.replace(config, steps=steps, time_budget_sec=seconds)


def downscale(images: LabelledImages, size: int) -> LabelledImages:
    """Each pixel becomes the mean of the square it stands for: `[N, C, S, S]` uint8 to `[N, C, size, size]`."""
    n, channels, side, _ = images.images.shape
    if side == size:
        return images
    squares = images.images.reshape(n, channels, size, side // size, size, side // size)  # [N, C, size, k, size, k]
    means = squares.mean(axis=(3, 5), dtype=np.float32)
    return dataclasses.replace(images, images=means.round().astype(np.uint8))


@dataclass(frozen=True)
class StageStart:
    """The weights and the progress that a stage begins with."""

    networks: Mapping[str, Mapping[str, Tensor]] | None = None
    """`None`: random weights."""
    class_names: tuple[str, ...] = ()
    """Classes that the weights know."""
    progress: Progress = field(default_factory=Progress)


class StageLoops:
    """The training loops of one run, a stage at a time.

    Args:
        run: what is trained.
        fabric: launched; device, precision and processes.
        on_event: as of `train`.
        should_stop: as of `train`.
        threads: most threads of a step, which are then chosen by measuring; `None`: they stay as they are.
        spent_sec: time of the budget that is gone before the first step.
    """

    def __init__(
        self,
        run: TrainingRun,
        fabric: Fabric,
        *,
        on_event: Callable[[TrainEvent], None],
        should_stop: Callable[[], bool],
        threads: int | None = None,
        spent_sec: float = 0.0,
    ) -> None:
        self._run, self._fabric, self._on_event, self._should_stop = run, fabric, on_event, should_stop
        self._threads, self._spent_sec = threads, spent_sec

    def __iter__(self) -> Iterator[TrainingLoop]:
        """The loop of each stage that is left. Run each to its end before asking for the next, which begins there."""
        run, group = self._run, ProcessGroup(self._fabric)
        images = run.train.images
        if run.config.offline_expansion:
            images = load_expansion(run.bank, run.dataset, run.train)
        # A resumed run has one state file, of the stage that it was stopped in. Smaller stages are behind it: their
        # weights went into that state, so they need not be run again. The main process alone sees the folder.
        reached = group.broadcast(state_size(run.folder) if group.is_main else None)
        start = StageStart(progress=Progress(elapsed_sec=self._spent_sec, last_snapshot_sec=self._spent_sec))
        if run.start is not None:
            start = dataclasses.replace(start, networks=run.start.networks, class_names=run.start.spec.class_names)
        start_size = None if run.start is None else run.start.spec.size
        for stage in growth_stages(run.config, run.spec.size, start_size=start_size):
            if reached is not None and stage.size < reached:
                continue
            loop = self._build_loop(stage, images, start)
            if stage.last and start.progress.step:
                # Only the main process holds the clock; the others must refuse, or continue, together with it.
                _check_time_left(run.config, group.broadcast(loop.progress))
            yield loop
            start = _start_after(loop)

    def _build_loop(self, stage: GrowthStage, images: LabelledImages, start: StageStart) -> TrainingLoop:
        run, config = self._run, stage.config
        spec = dataclasses.replace(run.spec, size=stage.size)
        images = downscale(images, stage.size)
        sampler = EpochSampler(images.labels, batch_size=config.batch_size, seed=config.seed, balanced=config.balanced)
        trainer = make_trainer(spec, config, train=images, sampler=sampler, fabric=self._fabric)
        progress = start.progress
        if start.networks is not None:
            same_classes, began = start.class_names == spec.class_names, time.monotonic()
            trainer.start_from(start.networks, same_classes=same_classes, first_step=progress.step)
            if progress.step:
                # Distillation from the stage before is training: its seconds count in the run's budget. Taking over
                # initial weights, before the first step, is set-up and does not.
                spent = time.monotonic() - began
                progress = dataclasses.replace(progress, elapsed_sec=progress.elapsed_sec + spent)
        return TrainingLoop(
            trainer,
            config,
            folder=run.folder,
            validation=downscale(run.validation, stage.size),
            hooks=self._hooks(stage, trainer.process_group),
            begin=progress,
            # A stage that inherits its images begins with what may be the best that a short run will have.
            snapshot_first=stage.last and progress.step > 0 and inherits_images(config, stage.size),
        )

    def _hooks(self, stage: GrowthStage, group: ProcessGroup) -> Hooks:
        if not group.is_main:  # the main process alone scores, writes and reports
            return Hooks(score=None)
        recorder = _Recorder(self._run.folder, self._run.spec, self._on_event)
        score = snapshot_scorer(self._run.reference) if stage.last else None
        pace = None
        if self._threads is not None:
            history = History(self._run.folder)
            pace = ThreadPace(self._threads, [(e.step, e.values["threads"]) for e in history if e.kind == "threads"])
        return Hooks(score, recorder.event, recorder.grid, self._should_stop, pace)


def _check_time_left(config: TrainConfig, progress: Progress) -> None:
    """Refuse to publish the weights of a smaller size: a schedule that was cut may end before the full size."""
    if config.progress(progress.step, progress.elapsed_sec) >= 1.0:
        raise StateError(
            "The run has not come to its full size, and its schedule is over",
            got=f"{progress.step} steps, {progress.elapsed_sec:.0f} s at smaller sizes",
            next_step="repeat the command with a larger --time-budget or more --steps to resume",
        )


def _start_after(loop: TrainingLoop) -> StageStart:
    """The start of the stage after a finished one.

    The next stage takes the averaged generator, as the one that a snapshot would hold, and the discriminator without
    its optimiser. Steps, images and seconds count on; rollbacks and losses are of other networks, and do not.
    """
    trainer, progress = loop.trainer, loop.progress
    networks = {"generator": fused_state(trainer.published())}
    discriminator = trainer.discriminator_state()
    if discriminator:
        networks["discriminator"] = discriminator
    counted = Progress(
        step=progress.step,
        images_seen=progress.images_seen,
        elapsed_sec=progress.elapsed_sec,
        last_snapshot_sec=progress.elapsed_sec,
    )
    return StageStart(networks, trainer.spec.class_names, counted)


def snapshot_scorer(reference: LabelledImages) -> Callable[[UInt8Images], Mapping[str, float]]:
    """A function that scores a snapshot's images `[N, C, H, W]`, uint8.

    Its answer holds "kid" (x 1000, lower is better) against `reference` in a frozen space that no discriminator looks
    through, and the pairwise diversity of both sets.
    """
    side = scoring_size(reference.images.shape[-1])
    real = embed_images(SCORING_NETWORK, reference.images, input_size=side)

    def score(images: UInt8Images) -> Mapping[str, float]:
        fake = embed_images(SCORING_NETWORK, images, input_size=side)
        return {
            "kid": KID_SCALE * kernel_distance(real=real, fake=fake),
            "real_diversity": pairwise_diversity(real),
            "fake_diversity": pairwise_diversity(fake),
        }

    return score


class _Recorder:
    """Writes sheets of samples and TensorBoard beside the history, and passes every event on."""

    def __init__(self, run_dir: Path, spec: ModelSpec, on_event: Callable[[TrainEvent], None]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._grids = run_dir / "grids"
        self._grids.mkdir(exist_ok=True)
        self._board = SummaryWriter(str(run_dir / "tensorboard"))
        self._spec, self._on_event = spec, on_event

    def event(self, event: TrainEvent) -> None:
        if event.kind in ("status", "snapshot"):
            for name, value in event.values.items():
                self._board.add_scalar(f"{event.kind}/{name}", value, event.step)
        self._on_event(event)

    def grid(self, step: int, images: UInt8Images) -> None:
        n, times = self._spec.n_classes, self._spec.size // images.shape[-1]
        images = images.repeat(times, axis=2).repeat(times, axis=3)  # small stages too fill the sheet
        rows = {name: images[i::n][:12] for i, name in enumerate(self._spec.class_names)}
        write_atomic(self._grids / f"{step:08d}.png", labelled_grid(rows))
        self._board.flush()
