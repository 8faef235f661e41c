"""`synthbank train` on two processes, started by itself and by torchrun, one of them killed on the way."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from synthbank.catalogue import queries
from synthbank.data import IngestOptions
from synthbank.errors import OptionError
from synthbank.settings import Settings
from synthbank.storage import History
from synthbank.workflows.bank import open_bank
from synthbank.workflows.data.ingest import ingest
from synthbank.workflows.devices import one_device
from synthbank.workflows.training.launch import Processes, is_main_process, processes

STEPS = 40
TRAIN = ["train", "tiles", "--model", "r3gan", "--preset", "quick", "--steps", str(STEPS), "--model-name", "two"]
TRAIN += ["--set", "batch_size=4", "--set", "model_options={base: 4, depth: 1}", "--set", "snapshot_every=20"]
TRAIN += ["--set", "snapshot_images=4", "--set", "grow_share=0.25", "--device", "cpu"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
TORCHRUN += ["--monitor-interval", "0.2", "-m", "synthbank"]


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    """Two copies of a bank that holds a data set."""
    base = tmp_path_factory.mktemp("processes")
    source = base / "source"
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    source.mkdir()
    np.savez(
        source / "tiles.npz",
        **{f"{part}_images": pixels[a:b] for part, a, b in (("train", 0, 20), ("val", 20, 30), ("test", 30, 40))},
        **{f"{part}_labels": np.arange(n) % 2 for part, n in (("train", 20), ("val", 10), ("test", 10))},
    )
    with open_bank(Settings(home=base / "whole")) as bank:
        ingest(bank, source / "tiles.npz", name="tiles", options=IngestOptions(size=64))
    shutil.copytree(base / "whole", base / "killed")
    return base


def _command(*parts, bank):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *parts, "--bank", str(bank)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def _ended(process):
    try:
        talk = process.communicate(timeout=400)[0].decode()
    finally:
        with suppress(ProcessLookupError):  # whatever it started and left
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, talk
    return talk


def _workers(agent):
    """Process ids of torchrun's workers by their rank."""
    found = {}
    for pid in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        found |= {int(v.split(b"=")[1]): int(pid) for v in variables if v.startswith(b"RANK=")}
    return found


def _wait_for_snapshot(bank, process):
    deadline = time.monotonic() + 150
    while not list(bank.glob("runs/*/snapshots/00000020.safetensors")):
        assert process.poll() is None, process.communicate()[0].decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    while not list(bank.glob("runs/*/state.safetensors")):
        time.sleep(0.02)


def _model(home):
    with open_bank(Settings(home=home)) as bank, bank.catalogue.session() as session:
        model = queries.get_model("two", session=session)
        return model, queries.get_run(model.run_id, session=session)


@pytest.mark.slow
def test_a_run_whose_worker_was_killed_ends_as_one_that_was_left_alone(banks):
    talk = _ended(_command("-m", "synthbank", *TRAIN, "--devices", "2", bank=banks / "whole"))
    assert talk.count("snapshot at step 20") == 1, talk  # the second process tells nothing
    process = _command(*TORCHRUN, *TRAIN, bank=banks / "killed")
    _wait_for_snapshot(banks / "killed", process)
    os.kill(_workers(process.pid)[1], signal.SIGKILL)
    _ended(process)
    (model, run), (other, _) = _model(banks / "whole"), _model(banks / "killed")
    assert model.sha256 == other.sha256
    assert run.device.startswith("2 x cpu")
    history = [[(e.kind, e.step) for e in History(banks / kind / "runs" / run.id)] for kind in ("whole", "killed")]
    assert history[0] == history[1]
    assert run.images_seen == STEPS * 4


def test_processes_follow_options_and_torchrun(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    assert processes("cpu") == Processes("cpu", 1, 1)
    assert is_main_process()
    with pytest.raises(OptionError, match=f"not so many devices.*1 to {os.cpu_count()}"):
        processes("cpu", devices=os.cpu_count() + 1)
    with pytest.raises(OptionError, match=r"other nodes.*torchrun --nnodes 2 --nproc-per-node 1"):
        processes("cpu", nodes=2)
    with pytest.raises(OptionError, match="at least one"):
        processes("cpu", devices=0)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert processes("cpu") == processes("cpu", devices=1, nodes=2) == Processes("cpu", 1, 2)
    assert not is_main_process()
    with pytest.raises(OptionError, match="torchrun has started other processes"):
        processes("cpu", devices=1, nodes=1)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(OptionError, match="same number"):
        processes("cpu")


def test_one_device_by_its_word():
    assert one_device("cpu") == torch.device("cpu")
    assert one_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(OptionError, match=r"Unknown device.*auto, cpu, cuda, mps"):
        one_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="--device cpu"):
            one_device("cuda:0")
