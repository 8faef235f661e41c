"""Pages of the catalogue under every filter, while it grows: 10^4 to 10^6 images.

    python benchmarks/catalogue.py [--rows 10000,100000,1000000] [--url postgresql://…] [--pages 200]

Rows are entered in bulk, as a generation job does, under eight models of four classes; 1 in 50 images is kept out, 1 in
500 withdrawn, and one class is rare. Then pages are asked for under random combinations of filters (model, class,
verdict, job, days, distance), half of them from a random place. Goal: under 50 ms at the median, for every number of
rows. Without --url it uses SQLite in a temporary folder.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from entries import enter_job, image_row, record_model
from machine import write_json

from synthbank.catalogue import Catalogue, queries
from synthbank.catalogue.queries import ImageFilter

MODELS, CLASSES, JOBS = 8, ("common", "usual", "seldom", "rare"), 10
SHARES = (0.6, 0.3, 0.09, 0.01)
START = datetime(2030, 1, 1, tzinfo=UTC)
BULK = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="10000,100000")
    parser.add_argument("--url")
    parser.add_argument("--pages", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Catalogue(options.url or f"sqlite:///{folder}/catalogue.db")
        catalogue.migrate()
        kind = catalogue.engine.dialect.name
        results, entered = [], 0
        for wanted in map(int, options.rows.split(",")):
            seconds = enter(catalogue, entered, wanted)
            results.append(
                {"rows": wanted, "rows_per_sec": (wanted - entered) / seconds, **pages(catalogue, options.pages)}
            )
            entered = wanted
            print(f"{kind} {wanted:>9,} rows: {results[-1]}")
        catalogue.close()
    print("written", write_json(f"catalogue-{kind}", {"database": kind, "sizes": results}))


def enter(catalogue: Catalogue, first: int, last: int) -> float:
    """Seconds to enter images number `first` to `last`, rows already made."""
    with catalogue.session() as session:
        for m in range(MODELS):
            record_model(f"model-{m}", CLASSES, session=session)
            for j in range(JOBS):
                enter_job(f"job-{m}-{j}", f"model-{m}", j, session=session)
    seconds = 0.0
    for bulk in rows(first, last):
        start = time.perf_counter()
        with catalogue.session() as session:
            queries.add_images(bulk, session=session)
        seconds += time.perf_counter() - start
    analyse(catalogue)
    return seconds


def rows(first: int, last: int) -> Iterator[list[dict[str, Any]]]:
    """Bulks of rows; the same number is always the same row."""
    for begin in range(first, last, BULK):
        rng = np.random.default_rng(begin)
        n = min(BULK, last - begin)
        classes = rng.choice(len(CLASSES), n, p=SHARES)
        distances = rng.gamma(4.0, 2.0, n)
        bulk = []
        for i in range(n):
            number, c = begin + i, int(classes[i])
            m, j = number // 50 % MODELS, number // 400 % JOBS
            verdict = "withdrawn" if number % 500 == 7 else "rejected" if number % 50 == 3 else "accepted"
            bulk.append(
                image_row(
                    number,
                    job=f"job-{m}-{j}",
                    model=f"model-{m}",
                    class_index=c,
                    class_name=CLASSES[c],
                    index=number,
                    size=9000,
                    verdict=verdict,
                    distance=float(distances[i]),
                    at=START + timedelta(seconds=30 * number // 64),
                )
            )
        yield bulk


def analyse(catalogue: Catalogue) -> None:
    """What a server's own housekeeping does by itself after a while."""
    with catalogue.engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")


def pages(catalogue: Catalogue, n: int) -> dict[str, Any]:
    """Median, 95th percentile and worst time of a page, in milliseconds, and the slowest filter."""
    rng = np.random.default_rng(1)
    with catalogue.session(read_only=True) as session:
        somewhere = [row.id for row in queries.images(session=session, order="id", limit=500)]
        times: list[tuple[float, str]] = []
        computing: list[float] = []
        for _ in range(n):
            wanted, order = draw_filter(rng)
            after = str(rng.choice(somewhere)) if rng.random() < 0.5 else None
            start, start_cpu = time.perf_counter(), time.process_time()
            queries.page_images(wanted, order=order, after=after, limit=60, session=session)
            times.append((1000 * (time.perf_counter() - start), f"{order} {wanted}"))
            computing.append(1000 * (time.process_time() - start_cpu))
    ordered = sorted(times)
    return {
        "pages": n,
        "median_ms": round(statistics.median(t for t, _ in times), 2),
        "median_cpu_ms": round(statistics.median(computing), 2),
        "p95_ms": round(ordered[int(0.95 * n)][0], 2),
        "worst_ms": round(ordered[-1][0], 2),
        "worst_filter": ordered[-1][1],
    }


def draw_filter(rng: np.random.Generator) -> tuple[ImageFilter, Any]:
    """Any combination of filters."""

    def maybe(value: Any) -> Any:
        return value if rng.random() < 0.4 else None

    m = int(rng.integers(MODELS))
    day = START + timedelta(days=int(rng.integers(0, 5)))
    distance = maybe(float(rng.uniform(1.0, 12.0)))
    order = "nearest" if distance is not None or rng.random() < 0.3 else "newest"
    wanted = ImageFilter(
        job_id=maybe(f"job-{m}-{int(rng.integers(JOBS))}"),
        model_id=maybe(f"model-{m}"),
        class_name=maybe(str(rng.choice(CLASSES))),
        verdict=maybe(str(rng.choice(("accepted", "rejected", "withdrawn")))),
        since=maybe(day) if order == "newest" else None,
        max_distance=distance,
    )
    return wanted, order


if __name__ == "__main__":
    main()
