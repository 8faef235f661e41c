"""Generation on a Ray cluster of this machine: images a second with 1 worker and with more, one thread each.

    python benchmarks/scaling.py [--images 4000] [--workers 1,2] [--rounds 3] [--screen]

The network is the packaged model `ihc-64`. Every number of workers gets a cluster of its own, which is warmed up by a
small job first (workers start, load torch and the model). A round makes the same images with each number of workers,
in alternating order, each time into a fresh bank; rates are medians over rounds. Goal: a ratio of at least 1.7 for two
workers on two cores. The cost of an image (core seconds, bytes of files and of catalogue) is printed as well.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded

import torch
from machine import write_json

from synthbank.scale import generate
from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank
from synthbank.workflows.generation.generate import GenerateRequest
from synthbank.workflows.models.transfer import import_model

MODEL, CLASSES = "ihc-64", 2

_WARM_UP = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--screen", action="store_true", help="with the gate")
    options = parser.parse_args()
    torch.set_num_threads(1)
    workers = [int(n) for n in options.workers.split(",")]
    rounds: dict[int, list[dict[str, float]]] = {n: [] for n in workers}
    for number in range(options.rounds):
        for n in workers if number % 2 == 0 else workers[::-1]:
            rounds[n].append(into_bank(options.images, n_workers=n, screen=options.screen))
    rates = {n: statistics.median(r["images_per_sec"] for r in rounds[n]) for n in workers}
    last = rounds[workers[0]][-1]
    result = {
        "images": options.images,
        "model": MODEL,
        "rounds": options.rounds,
        "screened": options.screen,
        "images_per_sec": {str(n): rate for n, rate in rates.items()},
        "ratio_to_first": {str(n): rate / rates[workers[0]] for n, rate in rates.items()},
        "core_seconds_an_image": workers[0] / rates[workers[0]],
        "file_bytes_an_image": last["file_bytes"] / last["n"],
        "catalogue_bytes_an_image": last["catalogue_bytes"] / last["n"],
        "entering_rows_sec_an_image": last["rows_sec"] / last["n"],
    }
    for key, value in result.items():
        print(f"{key:28} {value}")
    print("written", write_json("scaling", result))


def into_bank(n: int, *, n_workers: int, screen: bool) -> dict[str, float]:
    """Generate `n` images into a fresh bank by a fresh cluster that has been warmed up."""
    import ray

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        ray.init(num_cpus=n_workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        try:
            with open_bank(Settings(home=home)) as bank:
                import_model(bank, f"zoo:{MODEL}")
                # a block for each worker, so that all of them start
                warm = _WARM_UP * n_workers // CLASSES
                generate(bank, GenerateRequest(MODEL, warm, seed=1, screen=screen), on="ray")
            before = (home / "catalogue.db").stat().st_size
            with open_bank(Settings(home=home)) as bank:
                start = time.perf_counter()
                report = generate(bank, GenerateRequest(MODEL, n // CLASSES, screen=screen), on="ray")
                seconds = time.perf_counter() - start
            grown = (home / "catalogue.db").stat().st_size - before
        finally:
            ray.shutdown()
        files = sum(p.stat().st_size for p in (home / "objects" / "images" / report.job.id).rglob("*.png"))
    drawn = sum(report.accepted.values()) + sum(report.rejected.values())
    return {
        "n": drawn,
        "images_per_sec": drawn / seconds,
        "file_bytes": files,
        "catalogue_bytes": grown,
        "rows_sec": report.stage_seconds["rows"],
    }


if __name__ == "__main__":
    main()
