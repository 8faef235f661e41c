"""The sizes that one training run goes through: small ones first, where a step costs less."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from synthbank.config import TrainConfig
from synthbank.records import LabelledImages

_LEAST = 32
_LEAST_SEC, _LEAST_IMAGES = 180.0, 8000
"""How long the stage of 32 pixels lasts at most: in runs of 20 minutes and more, longer ones gained nothing
(docs/recipes.md)."""


@dataclass(frozen=True)
class Stage:
    """A part of a run at one size; steps and seconds go on counting from one stage to the next."""

    size: int
    config: TrainConfig
    """Of the run, but that its schedule ends where the stage ends."""
    last: bool = False
    """At full size; only what this stage makes is a model."""


def smallest_size(size: int, start_size: int | None = None) -> int:
    """The side in pixels that a growing run begins with.

    Args:
        size: full side, a power of two.
        start_size: of the images that the start weights make, below which no stage goes, as it would lose their finest
            maps; `None`: random weights. Then 64 pixels are the least, and half of 64: longer ways cost short runs more
            than they gain (docs/recipes.md).
    """
    return min(size, start_size or min(max(size // 2, _LEAST), 64))


def growth_stages(config: TrainConfig, size: int, *, start_size: int | None = None) -> list[Stage]:
    """The stages of a run, smallest size first.

    Args:
        config: `grow_share` says how much of the schedule comes before a size. Learning rates fall in the last stage,
            and in every stage whose picture the next one keeps (`picture_size` of `projected`).
        size: full side in pixels, a power of two.
        start_size: as in `smallest_size`.
    """
    smallest = smallest_size(size, start_size)
    stages = [Stage(size, config, last=True)]
    while config.grow_share and stages[0].size > smallest and stages[0].config.steps != 1:  # which is not shared out
        later = stages[0]
        stages.insert(0, Stage(later.size // 2, _shorter(later.config, later.size // 2)))
    return stages


def keeps_picture(config: TrainConfig, size: int) -> bool:
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
    if not keeps_picture(config, 2 * size):  # the next stage learns it anew
        config = dataclasses.replace(config, lr_floor=1.0, lr_floor_d=None)
    return dataclasses.replace(config, steps=steps, time_budget_sec=seconds)


def shrunk(images: LabelledImages, size: int) -> LabelledImages:
    """Each pixel becomes the mean of the square it stands for: `[N, C, S, S]` uint8 to `[N, C, size, size]`."""
    n, channels, side, _ = images.images.shape
    if side == size:
        return images
    squares = images.images.reshape(n, channels, size, side // size, size, side // size)
    means = squares.mean(axis=(3, 5), dtype=np.float32)
    return dataclasses.replace(images, images=means.round().astype(np.uint8))
