"""A generation killed at any moment resumes to exact counts, leaving no stray file and no row without one."""

import os
import random
import subprocess
import sys

import pytest

from synthbank.catalogue import queries
from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank
from synthbank.workflows.generation.generate import GenerateRequest, generate
from synthbank.workflows.maintenance.verify import verify

from .conftest import MODEL

KILLS, EACH, SEED = 20, 300, 77

# imports once; every trial is a fork that generates, and is killed at the moment it was given
CHILD = """
import os, signal, sys, time
from pathlib import Path
import torch
from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank
from synthbank.workflows.generation.generate import GenerateRequest, generate

home, model, each, seed, *delays = sys.argv[1:]
torch.set_num_threads(1)
for number, delay in enumerate(delays):
    pid = os.fork()
    if not pid:
        with open_bank(Settings(home=Path(home)), create=False) as bank:
            print("started", flush=True)
            generate(bank, GenerateRequest(model, int(each) * (number + 1), seed=int(seed)))
        os._exit(0)
    time.sleep(float(delay))
    os.kill(pid, signal.SIGKILL)
    print("killed" if os.WIFSIGNALED(os.waitpid(pid, 0)[1]) else "finished", flush=True)
"""


@pytest.mark.slow
def test_twenty_kills_leave_a_bank_that_is_sound_and_exact(home):
    random.seed(4)
    delays = [f"{random.uniform(0.05, 2.5):.3f}" for _ in range(KILLS)]
    command = [sys.executable, "-c", CHILD, str(home), MODEL, str(EACH), str(SEED), *delays]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONWARNINGS": ""})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("killed") >= KILLS // 2, done.stdout
    wanted = EACH * KILLS // 4
    with open_bank(Settings(home=home), create=False) as bank:
        report = generate(bank, GenerateRequest(MODEL, wanted, seed=SEED))
        wanted = max(wanted, *report.accepted.values())
        report = generate(bank, GenerateRequest(MODEL, wanted, seed=SEED))
        assert set(report.accepted.values()) == {wanted}
        found = verify(bank)
        assert found.sound, found.problems
        with bank.catalogue.session() as session:
            rows = queries.images(job_id=report.job.id, limit=1_000_000, session=session)
        for name in report.accepted:
            numbers = sorted(r.index for r in rows if r.class_name == name)
            assert numbers == list(range(len(numbers)))
