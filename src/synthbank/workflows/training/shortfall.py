"""Whether a run saw enough images for a good set; where it saw far too few, the command that resumes it."""

from __future__ import annotations

import dataclasses
import math

from synthbank.config import TrainConfig
from synthbank.records import Shortfall
from synthbank.reports import train_command

# Images that `projected` saw in the 20 minutes after which its sets were good: KID x 1000 of 11 at 64 pixels, 26 at 128
# (benchmarks/results/quality-cytology3-quick-generator-64-20min.json, quality-cytology3-baselines-128-20min.json).
# Other sizes have no record: the nearer one stands for them.
_GOOD_IMAGES = {64: 50_000, 128: 27_000}
_FEW = 0.25  # a smaller share of them is called too few


def good_images(size: int) -> int:
    """Images that good sets of about this size had seen in training.

    Args:
        size: side of an image, in pixels.
    """
    return _GOOD_IMAGES[64 if size < 96 else 128]


def find_shortfall(
    config: TrainConfig, dataset: str, size: int, *, per_class: bool, images_seen: int, elapsed_sec: float
) -> Shortfall | None:
    """The numbers and the command of a run that saw too few images; `None`: it saw enough.

    Args:
        config: as it names the run: with what it leaves to the machine still open.
        dataset: name of the data set.
        size: side of an image, in pixels.
        per_class: the run is one of a model for each class.
        images_seen: so far.
        elapsed_sec: seconds that they took.
    """
    good = good_images(size)
    if images_seen >= _FEW * good:
        return None
    steps, seconds = config.steps, config.time_budget_sec
    if steps is not None:
        steps = -(-good // config.batch_size)
    if seconds is not None:
        sec_per_image = elapsed_sec / images_seen if images_seen else seconds / (_FEW * good)
        seconds = 60.0 * math.ceil(good * sec_per_image / 60.0)
    longer = dataclasses.replace(config, steps=steps, time_budget_sec=seconds)
    return Shortfall(images_seen, good, train_command(dataset, longer.to_json(), per_class=per_class))
