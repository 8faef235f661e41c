"""What one image costs a bank that grows from 10^3 to 10^6 images: its file, its row, and the bytes of both.

    python benchmarks/storage.py [--images 1000,10000,100000,1000000] [--url postgresql://…] [--rows-only]

Images are those of jobs of 2000 a class, one job after the other, without a network: encoded tiles of the packaged
sample are stored under the keys that generation gives them, by as many threads, and their rows are entered 256 at a
time, as generation enters them. Times are those of the last tenth before each size, on the clock and of the processor;
bytes are of all.
Goal: the same cost at every size. A million images of 64 pixels need some 9 GB of disk for the while of the run.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from entries import enter_job, image_row, record_model
from machine import write_json

from synthbank.catalogue import Catalogue, queries
from synthbank.data import IngestOptions, ingest_source
from synthbank.storage import ObjectStore, encode_png, layout

CLASSES, EACH, BLOCK = ("a", "b", "c", "d"), 2000, 256
START = datetime(2030, 1, 1, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="1000,10000,100000,1000000")
    parser.add_argument("--url", help="of the catalogue; SQLite in a temporary folder without it")
    parser.add_argument("--rows-only", action="store_true", help="no files")
    options = parser.parse_args()
    sizes = [int(n) for n in options.images.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Catalogue(options.url or f"sqlite:///{folder}/catalogue.db")
        catalogue.migrate()
        kind = catalogue.engine.dialect.name
        store = None if options.rows_only else ObjectStore(Path(folder) / "objects")
        results = grow(catalogue, store, Path(folder), sizes)
        catalogue.close()
        last, first = results[-1], results[0]
        ratios = {key: last[key] / first[key] for key in last if key.endswith(("_ms", "_bytes")) and first[key]}
        print("largest / smallest:", {key: round(value, 2) for key, value in ratios.items()})
        suffix = "-rows" if options.rows_only else ""
        result = {"database": kind, "sizes": results, "largest_to_smallest": ratios}
        print(
            "written", write_json(f"storage-{kind}{suffix}", result), "- removing the files takes a while", flush=True
        )


def grow(catalogue: Catalogue, store: ObjectStore | None, folder: Path, sizes: list[int]) -> list[dict[str, Any]]:
    """Fill a bank up to each size; what an image cost in the last tenth before it."""
    files, results, entered, file_bytes = sample(), [], 0, 0
    costs: list[tuple[int, dict[str, float]]] = []
    pool = ThreadPoolExecutor(2 if store is None else store.writers)
    for job, class_index, first, n in blocks(sizes[-1]):
        if class_index == 0 and first == 0:
            begin_job(catalogue, job)
        cost = one_block(catalogue, store, pool, files, job, class_index, first, n, number=entered)
        entered, file_bytes = entered + n, file_bytes + (0 if store is None else sum(map(len, files[:n])))
        costs.append((n, cost))
        if entered >= sizes[len(results)]:
            results.append(summary(entered, costs, file_bytes, catalogue_bytes(catalogue, folder)))
            print(f"{entered:>9,} images: {results[-1]}", flush=True)
            if len(results) == len(sizes):
                break
    return results


def summary(entered: int, costs: list[tuple[int, dict[str, float]]], file_bytes: int, rows: int) -> dict[str, Any]:
    """Means over the last tenth, at least the last thousand."""
    taken, chosen = 0, []
    for n, cost in reversed(costs):
        chosen.append(cost)
        taken += n
        if taken >= max(1000, entered // 10):
            break
    means = {f"{name}_ms": round(1000 * sum(cost[name] for cost in chosen) / taken, 4) for name in chosen[0]}
    return {"images": entered, **means, "file_bytes": file_bytes / entered, "row_bytes": rows / entered}


def one_block(
    catalogue: Catalogue,
    store: ObjectStore | None,
    pool: ThreadPoolExecutor,
    files: list[bytes],
    job: str,
    class_index: int,
    first: int,
    n: int,
    *,
    number: int,
) -> dict[str, float]:
    """Seconds that the files and the rows of a block took."""
    clock, processor = time.perf_counter(), time.process_time()
    if store is not None:
        keys = [layout.image_key(job, class_index, first + i) for i in range(n)]
        list(pool.map(store.put, keys, files[:n]))
    cost = {"file": time.perf_counter() - clock, "file_cpu": time.process_time() - processor}
    bulk = rows(job, class_index, first, [len(file) for file in files[:n]], number)
    clock, processor = time.perf_counter(), time.process_time()
    with catalogue.session() as session:
        queries.add_images(bulk, session=session)
    cost |= {"row": time.perf_counter() - clock, "row_cpu": time.process_time() - processor}
    return cost


def rows(job: str, class_index: int, first: int, sizes: list[int], number: int) -> list[dict[str, Any]]:
    """The rows of a block."""
    distances = np.random.default_rng(number).gamma(4.0, 2.0, len(sizes))
    return [
        image_row(
            number + i,
            job=job,
            model="m",
            class_index=class_index,
            class_name=CLASSES[class_index],
            index=first + i,
            size=size,
            verdict="rejected" if (number + i) % 50 == 3 else "accepted",
            distance=float(distances[i]),
            at=START + timedelta(seconds=(number + i) / 300),
        )
        for i, size in enumerate(sizes)
    ]


def blocks(n_images: int) -> Iterator[tuple[str, int, int, int]]:
    """(job, class, first number, images) of every block."""
    for j in range(-(-n_images // (EACH * len(CLASSES)))):
        for class_index in range(len(CLASSES)):
            for first in range(0, EACH, BLOCK):
                yield f"job-{j:04d}", class_index, first, min(BLOCK, EACH - first)


def begin_job(catalogue: Catalogue, job: str) -> None:
    """The rows that images hang on."""
    with catalogue.session() as session:
        if job == "job-0000":
            record_model("m", CLASSES, session=session)
        enter_job(job, "m", 0, session=session)


def sample() -> list[bytes]:
    """A block of PNG files of real tissue, 64 pixels wide."""
    found = [encode_png(o.pixels) for o in ingest_source("sample:ihc", IngestOptions(size=64)).originals]
    return [found[i % len(found)] for i in range(BLOCK)]


def catalogue_bytes(catalogue: Catalogue, folder: Path) -> int:
    """Size of the database."""
    if catalogue.engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(folder / "catalogue.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return sum(os.path.getsize(path) for path in folder.glob("catalogue.db*"))
    with catalogue.engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())


if __name__ == "__main__":
    main()
