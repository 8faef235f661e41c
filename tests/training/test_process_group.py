"""Two processes that share each batch train as one process does on the whole of it.

This file is also the script that trains: it imports torch once, and forks the processes.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CASES = {
    # heads and generator with batch normalisation, clipped gradients; looks through a small frozen network for speed
    "projected": {
        "steps": 50,
        "batch_size": 8,
        "model_options": {"width": 0.25, "mixing": 8, "feature_network": "pools"},
        "grad_clip": 5.0,
    },
    # penalties differentiate twice through joined batch normalisation
    "dcgan": {"steps": 12, "batch_size": 4, "model_options": {"base": 4}, "r1_gamma": 0.1, "penalty_every": 4},
    # groups within the batch, adaptive augmentation
    "stylegan2": {
        "steps": 50,
        "batch_size": 8,
        "model_options": {"base": 4},
        "ada_target": 0.6,
        "ada_kimg": 1.0,
        "loss": "nonsaturating",
    },
    "diffusion": {"steps": 12, "batch_size": 4, "model_options": {"base": 4, "sampling_steps": 2}},
    # in float32 adversarial training makes rounding grow: only the first steps say something
    "projected-float32": {"steps": 3, "batch_size": 4, "model_options": {"width": 0.25, "mixing": 8}},
}


def _fit(folder, name, strategy=None):
    """Losses of every step, and what was written, reported and averaged."""
    import torch
    from lightning_fabric import Fabric

    from synthbank.config import read_train_config
    from synthbank.data import EpochSampler
    from synthbank.models import ModelSpec, load_feature_network
    from synthbank.records import LabelledImages
    from synthbank.training import Hooks, TrainingLoop, make_trainer

    precision = "32-true" if name.endswith("float32") else "64-true"
    torch.set_default_dtype(torch.float32 if precision == "32-true" else torch.float64)
    load_feature_network("pools").to(torch.get_default_dtype())
    devices = 1 if strategy is None else 2
    fabric = Fabric(accelerator="cpu", devices=devices, strategy=strategy or "auto", precision=precision)
    fabric.launch()
    values = {"latent_dim": 8, "snapshot_every": 60, "snapshot_images": 2, **CASES[name]}
    config = read_train_config({"architecture": name.split("-")[0], **values})
    spec = ModelSpec(
        config.architecture, 32, 3, ("a", "b"), latent_dim=8, symmetry="dihedral", options=config.model_options
    )
    pixels = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
    train = LabelledImages(pixels, np.arange(12) % 2, ("a", "b"))
    sampler = EpochSampler(train.labels, batch_size=config.batch_size, seed=0, balanced=True)
    trainer = make_trainer(spec, config, train=train, sampler=sampler, fabric=fabric)
    reported = []

    def score(images):
        reported.append("score")
        return {"kid": float(images.mean()), "real_diversity": 1.0, "fake_diversity": 1.0}

    hooks = Hooks(score=score, on_event=lambda event: reported.append(event.kind))
    loop = TrainingLoop(trainer, config, folder=folder, validation=train.take(np.arange(0)), hooks=hooks)
    loop.fit()
    average = {k: v.double().abs().mean().item() for k, v in trainer.ema.state_dict().items()}
    strength = getattr(trainer, "strength", None)
    return {
        "losses": loop.progress.losses,
        "average": average,
        "strength": None if strength is None else float(strength.p),
        "reported": len(reported),
        "files": sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()),
    }


def _register_small_network():
    """One random convolution a scale, on pooled images."""
    import torch
    from torch import nn

    from synthbank.models import FeatureNetwork, feature_networks

    class _Pools(FeatureNetwork):
        name, dim, tap_channels = "pools", 8, (8, 8, 8, 8)

        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.convs = nn.ModuleList(nn.Conv2d(3, 8, 3, padding=1) for _ in range(4))

        def taps(self, images):
            scales = zip(self.convs, (4, 8, 16, 32), strict=True)
            return [nn.functional.relu6(conv(nn.functional.avg_pool2d(images, s))) for conv, s in scales]

        def pooled(self, images):
            return self.taps(images)[3].mean(dim=(2, 3))

    feature_networks.register("pools", citation="nobody")(_Pools)


def _child(path, work):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        path.write_text(json.dumps(work()))
        code = 0
    finally:
        os._exit(code)


def _process(base, rank, names):
    from lightning_fabric.plugins.environments import LightningEnvironment

    from synthbank.training.process_group import UnwrappedStrategy

    os.environ["LOCAL_RANK"] = str(rank)
    out = {}
    for name in names:
        folder = base / f"{name}-{rank}"
        folder.mkdir()
        out[name] = _fit(folder, name, UnwrappedStrategy(cluster_environment=LightningEnvironment()))
    return out


def main(base, names):
    import torch

    import synthbank.training  # noqa: F401 (loaded once, for all the children)
    from synthbank.models import load_feature_network

    torch.set_num_threads(1)
    _register_small_network()
    load_feature_network("lite0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "NODE_RANK": "0"}

    def alone():
        for name in names:
            (base / name).mkdir()
        return {name: _fit(base / name, name) for name in names}

    pids = [_child(base / "0.json", lambda: _process(base, 0, names))]
    pids += [_child(base / "1.json", lambda: _process(base, 1, names))]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    codes.append(os.waitstatus_to_exitcode(os.waitpid(_child(base / "alone.json", alone), 0)[1]))
    sys.exit(max(map(abs, codes)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("peers")
    subprocess.run(
        [sys.executable, str(Path(__file__)), str(base), *CASES],
        check=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return {name: json.loads((base / f"{name}.json").read_text()) for name in ("alone", "0", "1")}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_lose_what_one_loses(runs, name):
    alone, first, second = (runs[who][name] for who in ("alone", "0", "1"))
    assert set(first["losses"]) == set(alone["losses"])
    for loss, values in alone["losses"].items():
        assert len(values) == CASES[name]["steps"]
        assert np.ptp(values) > 1e-3, "nothing was learned"
        np.testing.assert_allclose(first["losses"][loss], values, rtol=0, atol=1e-5)
    assert first["losses"] == second["losses"]


@pytest.mark.slow
def test_two_processes_hold_one_average_and_one_strength_of_augmentation(runs):
    alone, first, second = (runs[who]["stylegan2"] for who in ("alone", "0", "1"))
    assert 0 < alone["strength"] < 1
    assert first["strength"] == second["strength"] == pytest.approx(alone["strength"])
    assert first["average"] == second["average"] == pytest.approx(alone["average"], abs=1e-8)


@pytest.mark.parametrize(
    ("architecture", "batch_size", "processes", "fits"),
    [("projected", 6, 2, True), ("projected", 5, 1, True), ("projected", 6, 4, False), ("stylegan2", 12, 2, False)],
)
def test_a_batch_that_cannot_be_shared_out_is_refused(architecture, batch_size, processes, fits):
    from synthbank.config import TrainConfig
    from synthbank.errors import OptionError
    from synthbank.training import check_batch

    config = TrainConfig(architecture, steps=1, batch_size=batch_size)
    if fits:
        check_batch(config, processes)
        return
    with pytest.raises(OptionError, match=r"multiples of .* --set batch_size=(8|16)"):
        check_batch(config, processes)


@pytest.mark.slow
def test_only_the_first_process_writes_scores_and_tells(runs):
    alone, first, second = (runs[who]["projected"] for who in ("alone", "0", "1"))
    assert first["files"] == alone["files"]
    assert "state.safetensors" in first["files"]
    assert first["reported"] == alone["reported"] > 0
    assert (second["files"], second["reported"]) == ([], 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
