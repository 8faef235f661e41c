"""Training under automatic mixed precision, which `precision: bf16-mixed` asks for."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch.utils._python_dispatch import TorchDispatchMode

from synthbank.config import resolve_train_config
from synthbank.data import EpochSampler
from synthbank.errors import UnknownNameError
from synthbank.models import ModelSpec, architectures
from synthbank.records import LabelledImages
from synthbank.training import make_trainer

CLASSES = ("a", "b")


class _Convolutions(TorchDispatchMode):
    """Notes the precision of every convolution; depthwise ones aside, of which some are exact on purpose."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default and args[-1] == 1:
            self.dtypes.add(out.dtype)
        return out


@pytest.mark.parametrize("name", architectures.names())
def test_every_architecture_trains_in_bf16(name):
    """Convolutions work in bf16; weights move, stay finite, and are kept in single precision."""
    config = resolve_train_config(f"{name}-quick", overrides={"batch_size": 8, "precision": "bf16-mixed"})
    images = np.random.default_rng(0).integers(0, 256, (16, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(16) % 2
    train = LabelledImages(images, labels, CLASSES, tuple(map(str, range(16))))
    trainer = make_trainer(
        ModelSpec(architecture=name, size=32, channels=3, class_names=CLASSES, latent_dim=16),
        config,
        train=train,
        sampler=EpochSampler(labels, batch_size=8, seed=0, balanced=True),
        fabric=Fabric(accelerator="cpu", devices=1, precision=config.precision),
    )
    before = {k: v.clone() for k, v in trainer.state()[0].items()}
    with _Convolutions() as convolutions:
        metrics = trainer.step(0, progress=0.0)
    assert convolutions.dtypes == {torch.bfloat16}
    assert all(v.isfinite() for v in metrics.values())
    after = trainer.state()[0]
    floats = {k for k, v in after.items() if v.is_floating_point()}
    assert {after[k].dtype for k in floats} == {torch.float32}
    assert all(after[k].isfinite().all() for k in floats)
    networks = set(trainer.modules()) - {"ema"}
    moved = {k.split(".")[0] for k in before if k in floats and not torch.equal(before[k], after[k])}
    assert networks <= moved
    assert trainer.sample(trainer.published(), np.array([0, 1])).shape == (2, 3, 32, 32)


def test_a_precision_that_is_not_offered_is_refused():
    with pytest.raises(UnknownNameError, match="bf17-mixed"):
        resolve_train_config("projected-quick", overrides={"precision": "bf17-mixed"})
