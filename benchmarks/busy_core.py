"""The demo's training beside a busy core, against one free thread.

    python benchmarks/busy_core.py [--seconds 90]

Two runs of the same command and budget, each in a bank of its own: `free` has one thread (`OMP_NUM_THREADS=1`) and
nothing beside it; `busy` has the machine's own number of threads, while a loop in another process keeps one core busy.
The budget includes everything that a run measures before and while it trains. Goal: `busy` sees at least 60% of the
images per second that `free` sees. Needs a machine that does nothing else, with two cores or more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from machine import write_json

GOAL = 0.6
_TRAIN = ("train", "ihc", "--preset", "quick", "--seed", "0", "--device", "cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=90)
    parser.add_argument("--init", default="none", help="Initial weights, such as zoo:cytology3-64.")
    options = parser.parse_args()
    command = (*_TRAIN, "--time-budget", f"{options.seconds}s", "--init", options.init)
    with tempfile.TemporaryDirectory() as folder:
        free = trained(Path(folder) / "free", command, most_threads=1)
        with busy_core():
            busy = trained(Path(folder) / "busy", command, most_threads=None)
    result = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "command": f"python benchmarks/busy_core.py --seconds {options.seconds} --init {options.init}",
        "training": " ".join(("synthbank", *command)),
        "free": free,
        "busy": busy,
        "ratio": busy["images_per_sec"] / free["images_per_sec"],
        "goal": GOAL,
    }
    print(f"one free thread:    {free['images_per_sec']:.1f} images/s")
    print(f"beside a busy core: {busy['images_per_sec']:.1f} images/s, threads {busy['threads']}")
    print(f"ratio {result['ratio']:.2f}, goal {GOAL}")
    print("written", write_json("busy-core", result))


def trained(bank: Path, command: tuple[str, ...], *, most_threads: int | None) -> dict[str, Any]:
    """Ingest the demo's images into a new bank and train; what the run says of itself."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if most_threads is not None:
        environment["OMP_NUM_THREADS"] = str(most_threads)
    _synthbank("ingest", "--sample", "ihc", "--name", "ihc", bank=bank, environment=environment)
    report = _synthbank(*command, bank=bank, environment=environment)
    history = [json.loads(line) for line in (Path(report["run_dir"]) / "history.jsonl").read_text().splitlines()]
    threads = [{"step": e["step"], **e["values"]} for e in history if e["kind"] == "threads"]
    return {
        "steps": report["steps"],
        "images_seen": report["images_seen"],
        "elapsed_sec": report["elapsed_sec"],
        "images_per_sec": report["images_seen"] / report["elapsed_sec"],
        "threads": threads,
    }


@contextmanager
def busy_core() -> Iterator[None]:
    """A loop in another process, for as long as this lasts."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as loop:
        try:
            yield
        finally:
            loop.kill()


def _synthbank(*words: str, bank: Path, environment: dict[str, str]) -> Any:
    line = [sys.executable, "-m", "synthbank", *words, "--bank", str(bank), "--json"]
    return json.loads(subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _commit() -> str:
    line = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(line, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
