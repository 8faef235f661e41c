"""Single-image requests to a real server on loopback, with and without sharing forward passes.

    python benchmarks/service.py [--seconds 15] [--threads 2]

The server runs `synthbank serve` with one worker and the packaged model `ihc-64`, its gate included; each client asks
for one image, waits for it, and asks again with another seed. Concurrency 1, 8 and 64 are measured with and without
batching, for the given time. At the end every answered image must be in the catalogue exactly once, with its file.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch
from machine import write_json

from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank
from synthbank.workflows.maintenance.verify import verify
from synthbank.workflows.models.transfer import import_model

CONCURRENCY = (1, 8, 64)
MODEL, CLASS = "ihc-64", "dab_positive"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    results: dict[str, Any] = {"seconds": options.seconds, "model": MODEL, "worker_threads": options.threads}
    for name, words in (("shared", ()), ("alone", ("--no-batching",))):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "bank"
            with open_bank(Settings(home=home)) as bank:
                import_model(bank, f"zoo:{MODEL}")
            results[name] = measure(home, options, words)
    for n in CONCURRENCY:
        results[f"ratio_at_{n}"] = (
            results["shared"][f"at_{n}"]["images_per_sec"] / results["alone"][f"at_{n}"]["images_per_sec"]
        )
        print(f"concurrency {n}: shared / alone = {results[f'ratio_at_{n}']:.2f}")
    print("written", write_json("service", results))


def measure(home: Path, options: argparse.Namespace, words: tuple[str, ...]) -> dict[str, Any]:
    """All concurrencies against one server, and whether the bank is sound and complete afterwards."""
    answered: list[str] = []
    found: dict[str, Any] = {}
    with serving(home, options.threads, words) as address:
        ask(address, 0)  # loads the model
        for n in CONCURRENCY:
            found[f"at_{n}"] = load(address, n, options.seconds, answered)
            print(f"{'alone' if words else 'shared'} at {n}: {found[f'at_{n}']}", flush=True)
    with open_bank(Settings(home=home), create=False) as bank:
        report = verify(bank)
        with bank.catalogue.session(read_only=True) as session:
            from synthbank.catalogue import queries

            known = {file.id for file in queries.image_keys(session=session)}
    found["answered"], found["sound"] = len(answered), report.sound
    found["lost"] = len(set(answered) - known)
    found["answered_twice"] = len(answered) - len(set(answered))
    return found


def load(address: str, concurrency: int, seconds: float, answered: list[str]) -> dict[str, Any]:
    """Throughput and latency of `concurrency` clients that ask again as soon as they are answered."""
    times: list[float] = []
    statuses: dict[str, int] = {}
    lock, end = threading.Lock(), time.monotonic() + seconds

    def client(number: int) -> None:
        with httpx.Client(base_url=address, timeout=120) as http:
            turn = 0
            while time.monotonic() < end:
                start, turn = time.perf_counter(), turn + 1
                seed = (concurrency * 1000 + number) * 1_000_000 + turn
                answer = http.post("/v1/generate", json={"model": MODEL, "class": CLASS, "count": 1, "seed": seed})
                with lock:
                    images = answer.json()["images"] if answer.status_code == 200 else []
                    kind = "200 without its image" if answer.status_code == 200 and not images else answer.status_code
                    statuses[str(kind)] = statuses.get(str(kind), 0) + 1
                    if images:
                        times.append(time.perf_counter() - start)
                        answered.extend(image["id"] for image in images)

    start = time.monotonic()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, ordered = time.monotonic() - start, sorted(times)
    return {
        "images_per_sec": len(times) / took,
        "p50_ms": 1000 * statistics.median(ordered),
        "p95_ms": 1000 * ordered[int(0.95 * len(ordered))],
        "p99_ms": 1000 * ordered[int(0.99 * len(ordered))],
        "statuses": statuses,
    }


def ask(address: str, seed: int) -> None:
    httpx.post(
        f"{address}/v1/generate", json={"model": MODEL, "count": 1, "seed": seed}, timeout=120
    ).raise_for_status()


@contextmanager
def serving(home: Path, threads: int, words: tuple[str, ...]) -> Iterator[str]:
    """A server in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    outside = {**os.environ, "SYNTHBANK_THREADS": str(threads), "SYNTHBANK_RATE_PER_MINUTE": "1000000"}
    command = [sys.executable, "-m", "synthbank", "serve", "--bank", str(home), "--port", str(port), *words]
    process = subprocess.Popen(command, env=outside)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                if httpx.get(f"{address}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    main()
