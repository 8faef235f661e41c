"""A run that is killed at any moment and started again ends as one that was never killed.

This file is also the script that is killed: it imports torch once, and trains each time in a forked child.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

_PARTS = ("generator", "discriminator", "ema", "opt_g", "opt_d")
TRIALS = 20
STEPS = 8


def _train(folder: Path) -> None:
    import torch
    from lightning_fabric import Fabric

    from synthbank.config import TrainConfig
    from synthbank.data import EpochSampler
    from synthbank.models import ModelSpec
    from synthbank.records import LabelledImages
    from synthbank.training import AdversarialTrainer, Hooks, TrainingLoop

    torch.set_num_threads(1)
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    # states and snapshots are written often, so that many kills hit a write
    config = TrainConfig(
        latent_dim=8,
        steps=STEPS,
        batch_size=4,
        lr_final_fraction=0.1,
        snapshot_every=2,
        snapshot_images=2,
        model_options={"width": 0.25, "mixing": 8},
    )
    spec = ModelSpec(config.architecture, 32, 3, ("a", "b"), latent_dim=8, options=config.model_options)
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    train = LabelledImages(pixels, np.arange(10) % 2, ("a", "b"))
    sampler = EpochSampler(train.labels, batch_size=4, seed=0, balanced=True)
    trainer = AdversarialTrainer(spec, config, train=train, sampler=sampler, fabric=fabric)
    hooks = Hooks(score=lambda images: {"kid": float(images.mean()), "real_diversity": 1.0, "fake_diversity": 1.0})
    TrainingLoop(trainer, config, folder=folder, validation=train.take(np.arange(2)), hooks=hooks).fit()


def _child(folder: Path) -> int:
    folder.mkdir(exist_ok=True)
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _train(folder)
        code = 0
    finally:
        os._exit(code)


def _kill_at(folder: Path, seconds: float) -> bool:
    """Kill a training after some time; was it still at work?"""
    pid = _child(folder)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def _finish(folder: Path) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(_child(folder), 0)[1]) == 0


def _describe(folder: Path) -> dict[str, object]:
    """Everything in a run folder but the times."""
    from synthbank.fingerprint import bytes_sha256
    from synthbank.models import state_fingerprint
    from synthbank.storage import History
    from synthbank.training.state import read_state

    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    tensors, values = read_state(folder)
    events = [(e.kind, e.step, e.images_seen, sorted(e.values.items())) for e in History(folder)]
    parts = {p: {k: v for k, v in tensors.items() if k.startswith(f"{p}.")} for p in _PARTS}
    return {
        "files": files,
        "weights": {p: state_fingerprint(v) if v else None for p, v in parts.items()},
        "step": values["progress"]["step"],
        "losses": values["progress"]["losses"],
        "snapshots": [bytes_sha256(p.read_bytes()) for p in sorted((folder / "snapshots").iterdir())],
        "events": events,
    }


def main(base: Path) -> None:
    import torch

    import synthbank.training  # noqa: F401 (loaded once, for all the children)
    from synthbank.models import load_feature_network

    torch.set_num_threads(1)
    load_feature_network("lite0")
    start = time.monotonic()
    finished = _finish(base / "whole")
    duration = time.monotonic() - start
    report = {"whole": _describe(base / "whole"), "finished": [finished], "trials": [], "at": []}
    rng = random.Random(0)
    hits = 0
    for number in range(2 * TRIALS):  # a kill that came too late does not count
        if hits == TRIALS:
            break
        folder = base / f"trial-{number}"
        at = rng.uniform(0.02, 0.8) * duration
        hits += _kill_at(folder, at)
        left = sorted(p.name for p in folder.rglob("*") if p.is_file())
        report["finished"].append(_finish(folder))
        report["trials"].append(_describe(folder))
        report["at"].append({"seconds": at, "files_left": left})
    report["hits"] = hits
    print(json.dumps(report))


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path):
    out = subprocess.run(
        [sys.executable, str(Path(__file__)), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert out.returncode == 0, out.stderr
    report = json.loads(out.stdout)
    assert all(report["finished"]), out.stderr
    whole = report["whole"]
    assert whole["step"] == STEPS
    assert all(whole["weights"].values())
    assert not [f for f in whole["files"] if "part" in f]
    assert report["hits"] == TRIALS
    assert any("state.safetensors" in a["files_left"] for a in report["at"]), "no kill came after the first state"
    for at, trial in zip(report["at"], report["trials"], strict=True):
        assert trial == whole, f"killed after {at['seconds']:.2f} s"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
