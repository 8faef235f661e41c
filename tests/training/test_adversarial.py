"""What an adversarial trainer does before its first step."""

import numpy as np
import pytest
from lightning_fabric import Fabric

from synthbank.config import TrainConfig
from synthbank.data import EpochSampler
from synthbank.models import ModelSpec
from synthbank.records import LabelledImages
from synthbank.training import adversarial, make_trainer
from synthbank.training.trainer import spread


@pytest.mark.parametrize("n", [1, 5, 9, 10, 11, 99])
def test_what_is_spread_goes_through_the_whole_set_at_even_steps(n):
    chosen = np.arange(n)[spread(n, most=10)]
    assert len(chosen) <= 10
    step = np.diff([*chosen, n])
    assert (step[:-1] == step[:1]).all()
    assert (n <= 10) == (len(chosen) == n)
    assert n - chosen[-1] <= step[0]


def test_every_class_is_looked_at_before_training(monkeypatch):
    """Originals are sorted by class: here each class has a colour of its own."""
    monkeypatch.setattr(adversarial, "_CALIBRATION_IMAGES", 6)
    colours, labels = np.array([0, 51, 255], np.uint8), np.repeat([0, 1, 2], 12)
    images = np.broadcast_to(colours[labels, None, None, None], (36, 3, 32, 32)).copy()
    train = LabelledImages(images, labels, ("a", "b", "c"))
    options = {"width": 0.25, "mixing": 8}
    config = TrainConfig(steps=1, batch_size=4, model_options=options)
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    trainer = make_trainer(
        ModelSpec("projected", 32, 3, ("a", "b", "c"), options=options),
        config,
        train=train,
        sampler=EpochSampler(labels, batch_size=4, seed=0, balanced=True),
        fabric=fabric,
    )
    discriminator = trainer.discriminator.module
    values = colours[[0, 0, 1, 1, 2, 2]] / 127.5 - 1
    assert discriminator.mean[-3:].numpy() == pytest.approx(values.mean(), abs=1e-6)
    places = np.repeat(values, 8 * 8)
    assert discriminator.std[-3:].numpy() == pytest.approx(places.std(ddof=1), abs=1e-6)
