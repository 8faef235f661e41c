"""The copy gate's two error rates: copies that pass, and new real images that do not.

    python benchmarks/copies.py [--data FOLDER] [--size 64] [--copies 120] [--group-by REGEX] [--seed 1]

Without --data, the IHC sample. FOLDER holds `train` and `test` with one sub-folder a class; both are read as
`synthbank ingest` reads them. The gate is built and calibrated from the training originals alone. Then their copies of
the kinds of `held_out_copies.py` are screened, which the calibration does not simulate, and all test originals.
Shares stand beside Wilson intervals of 95%. Every run writes a new file; none is overwritten.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from held_out_copies import GOALS, KINDS, PAIRS
from machine import write_json
from numpy.typing import NDArray

from synthbank.data import IngestOptions, assign_splits, ingest_source
from synthbank.fingerprint import pixel_sha256
from synthbank.generation import Gate, build_gate
from synthbank.metrics.resampling import wilson_interval
from synthbank.records import LabelledImages, Split, UInt8Images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/ and test/ (default: the IHC sample)")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--group-by", default=r"(BloodImage_\d+)", help="group of an image, as for ingest")
    parser.add_argument("--copies", type=int, default=120, help="copies of each kind")
    parser.add_argument("--seed", type=int, default=1, help="of the copies")
    options = parser.parse_args()
    if options.data is None:
        train, groups, test = from_sample(options.size)
    else:
        train, groups, test = from_folder(options.data, options.size, options.group_by)
    start = time.perf_counter()
    gate = build_gate(train, groups=groups)
    built = time.perf_counter() - start
    name = "ihc" if options.data is None else options.data.name
    commit = git("rev-parse", "--short", "HEAD") + ("-changed" if git("status", "--porcelain", "src") else "")
    result = {
        "commit": commit,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "command": " ".join(["python", "benchmarks/copies.py", *command(sys.argv[1:])]),
        "seeds": {"copies": options.seed, "calibration": 0},
        "data": name,
        "size": options.size,
        "train": len(train),
        "test": len(test),
        "build_sec": built,
        "cannot_tell": list(gate.cannot_tell),
        **measure(gate, train, test, n_copies=options.copies, seed=options.seed),
    }
    show(result)
    print("written", write_json(unused(f"copies-{name}-{options.size}-{datetime.now(UTC):%Y%m%d}-{commit}"), result))


def from_sample(size: int) -> tuple[LabelledImages, list[str], LabelledImages]:
    """Training tiles of the IHC field with their groups, and the tiles of its held-out regions."""
    found = ingest_source("sample:ihc", IngestOptions(size=size))
    groups, classes = [o.group for o in found.originals], [o.class_name for o in found.originals]
    splits = assign_splits(classes, groups, seed=0, suggested=found.suggested_splits).splits
    everything = labelled(found.originals)
    in_train = np.array([split == Split.TRAIN for split in splits])
    train = everything.take(np.flatnonzero(in_train))
    return (
        train,
        [g for g, inside in zip(groups, in_train, strict=True) if inside],
        everything.take(np.flatnonzero(~in_train)),
    )


def from_folder(folder: Path, size: int, group_by: str) -> tuple[LabelledImages, list[str], LabelledImages]:
    """The originals of `train` with their groups, and those of `test`."""
    options = IngestOptions(size=size, group_by=group_by)
    train, test = (ingest_source(folder / part, options).originals for part in ("train", "test"))
    return labelled(train), [o.group for o in train], labelled(test)


def labelled(originals: Any) -> LabelledImages:
    """A labelled set of ingested originals."""
    names = tuple(sorted({o.class_name for o in originals}))
    pixels = np.stack([o.pixels for o in originals])
    labels = np.array([names.index(o.class_name) for o in originals], np.int64)
    return LabelledImages(pixels, labels, names, tuple(pixel_sha256(image) for image in pixels))


def measure(gate: Gate, train: LabelledImages, test: LabelledImages, *, n_copies: int, seed: int) -> dict[str, Any]:
    """Shares caught by kind and class, and false alarms by class, each with its interval."""
    rng, kinds = np.random.default_rng(seed), {}
    for kind in [*KINDS, *PAIRS]:
        copies, chosen = copies_of(train, kind, n_copies, rng)
        caught = ~gate.screen(copies, train.labels[chosen]).accepted
        kinds[kind] = {"goal": GOALS.get(kind), **counted(caught, train.labels[chosen], train.class_names)}
    gate.screen(test.images[:64], test.labels[:64])  # warm up
    start, cpu = time.perf_counter(), time.process_time()
    rejected = ~gate.screen(test.images, test.labels).accepted
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    worst = min((k for k in kinds if kinds[k]["goal"]), key=lambda k: kinds[k]["share"] - kinds[k]["goal"])
    return {
        "worst_kind": {"kind": worst, **{k: kinds[worst][k] for k in ("goal", "share", "low", "high")}},
        "false_alarms": counted(rejected, test.labels, test.class_names),
        "ms_an_image": 1000 * seconds / len(test),
        "cpu_ms_an_image": 1000 * cpu_seconds / len(test),
        "kinds": kinds,
    }


def copies_of(
    train: LabelledImages, kind: str, n: int, rng: np.random.Generator
) -> tuple[UInt8Images, NDArray[np.int64]]:
    """Copies of one kind, and the originals they are made from; parts are put together within a class."""
    chosen = rng.choice(len(train), n, replace=n > len(train))
    if kind in KINDS:
        return np.stack([KINDS[kind](train.images[i], rng) for i in chosen]), chosen
    copies = []
    for i in chosen:
        others = np.flatnonzero((train.labels == train.labels[i]) & (np.arange(len(train)) != i))
        copies.append(PAIRS[kind](train.images[i], train.images[rng.choice(others)], rng))
    return np.stack(copies), chosen


def counted(hits: NDArray[np.bool_], labels: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, Any]:
    """A share with its Wilson interval, over all classes and by class."""
    return {
        **share_of(hits),
        "classes": {name: share_of(hits[labels == i]) for i, name in enumerate(names) if (labels == i).any()},
    }


def share_of(hits: NDArray[np.bool_]) -> dict[str, Any]:
    share = float(hits.mean())
    low, high = wilson_interval(share, len(hits))
    return {"hits": int(hits.sum()), "n": len(hits), "share": share, "low": low, "high": high}


def unused(name: str) -> str:
    """The name, with a number where a result of that name exists."""
    results, number, free = Path(__file__).parent / "results", 1, name
    while (results / f"{free}.json").exists():
        number += 1
        free = f"{name}-{number}"
    return free


def command(arguments: list[str]) -> list[str]:
    """Arguments without the folders that lead to the data."""
    return [Path(a).name if "/" in a and Path(a).exists() else a for a in arguments]


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def show(result: dict[str, Any]) -> None:
    """The shares as a table."""
    print(f"{result['data']} at {result['size']}: {result['train']} originals, built in {result['build_sec']:.1f} s")
    for kind, row in result["kinds"].items():
        by_class = "  ".join(f"{name} {c['share']:.2f} of {c['n']}" for name, c in row["classes"].items())
        goal = f"goal {row['goal']:.2f}" if row["goal"] else " " * 9
        print(f"{kind:36} {row['share']:6.1%} ({row['low']:.1%} to {row['high']:.1%})  {goal}  {by_class}")
    alarms = result["false_alarms"]
    by_class = {name: f"{c['hits']}/{c['n']}" for name, c in alarms["classes"].items()}
    print(f"false alarms {alarms['hits']}/{alarms['n']}, {alarms['low']:.1%} to {alarms['high']:.1%}; {by_class}")
    print(f"{result['ms_an_image']:.1f} ms an image ({result['cpu_ms_an_image']:.1f} of CPU)", result["worst_kind"])


if __name__ == "__main__":
    main()
