"""Utility of synthetic images to a classifier: the table of five regimes, with a generator for every fold.

    python benchmarks/utility.py wbc4 --data FOLDER --minutes 20 [--folds 5] [--seeds 5]
    python benchmarks/utility.py cytology3 --data FOLDER --minutes 20 --per-class 25

`--data` is the folder that holds `wbc4/` and `cytology3/`, each `train|test/class/image.png` with a `manifest.csv`;
its column `field` names the group of an image. Train and test are taken together and cut into folds over fields. Each
fold's generator is trained as `--preset auto` would, for `--minutes` on its own training fields alone. With
`--per-class` the images outside the test part are thinned to that number a class before anything is trained: one split,
as published.

The same command resumes where it was stopped. Folds, half-trained and finished generators, their images and the
predictions of finished classifiers are stored in `--bank`.
The table goes to `benchmarks/results/utility-NAME.json`.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from machine import write_json
from PIL import Image

from synthbank.catalogue import DatasetRow, NewOriginal, queries
from synthbank.fingerprint import pixel_sha256, set_fingerprint, stable_seed
from synthbank.metrics.utility import UtilityPlan
from synthbank.metrics.utility import shifts as all_shifts
from synthbank.records import ImageSpec, Split
from synthbank.settings import Settings
from synthbank.storage import encode_png, layout
from synthbank.workflows.bank import Bank, open_bank
from synthbank.workflows.evaluation.cross_validation import CrossReport, cross_utility, trained_job
from synthbank.workflows.evaluation.folds import UtilityLimits
from synthbank.workflows.evaluation.utility import UtilityReport, regime_table, split_utility
from synthbank.workflows.training.configure import configure
from synthbank.workflows.training.requests import TrainRequest


def main() -> None:
    options = _options()
    started = time.perf_counter()
    with open_bank(Settings(home=options.bank)) as bank:
        dataset = record_dataset(bank, options)
        # from scratch: the initial weights that auto would take may have seen the smears of the test folds
        budget_of_training = {"time_budget_sec": 60.0 * options.minutes, "steps": options.steps, "init": "none"}
        resolved = configure(bank, TrainRequest(dataset.name, overrides=budget_of_training | _assigned(options.set)))
        config = resolved.config
        print(*resolved.reasons, sep="\n")
        plan = UtilityPlan(
            classifiers=tuple(options.classifiers),
            n_seeds=options.seeds,
            select=options.select,
            ratios=tuple(options.ratios),
            shifts=tuple(all_shifts) if options.shifts else (),
        )
        make = trained_job(bank, config, n=options.images, device=options.device)
        limits = UtilityLimits(budget_sec=None if options.budget is None else 60.0 * options.budget)
        if options.per_class is None:
            report: CrossReport | UtilityReport = cross_utility(
                bank, dataset.name, make, n_folds=options.folds, plan=plan, limits=limits, on_stage=say
            )
        else:
            report = split_utility(bank, make(dataset), plan, limits=limits, on_stage=say)
    for line in regime_table(report.scores):
        print("  ".join(f"{word!s:<14}" for word in line))
    print(*report.sentences, *report.left_out, sep="\n")
    result = {
        "data": options.name,
        "options": {
            k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items() if k not in ("data", "bank")
        },
        "training": config.to_json(),
        "verdict": report.sentences,
        "left_out": report.left_out,
        "seconds_of_this_call": time.perf_counter() - started,
        "scores": [asdict(score) for score in report.scores],
    }
    print("written", write_json(f"utility-{options.name}", result))


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def record_dataset(bank: Bank, options: argparse.Namespace) -> DatasetRow:
    """Record the data set with fields as groups; recording it again changes nothing."""
    root = options.data / options.name
    with (root / "manifest.csv").open(newline="") as file:
        lines = sorted(csv.DictReader(file), key=lambda line: line["file"])
    chosen = lines if options.per_class is None else _thinned(lines, options.per_class)
    name = layout.slugify(f"{options.name}-{options.size}px" + (f"-{options.per_class}" if options.per_class else ""))
    originals, seen = [], set()
    for line in chosen:
        pixels = _pixels(root / line["file"], options.size)
        digest = pixel_sha256(pixels)
        if digest in seen:
            continue  # the same pixels twice, as from a photograph that was published twice
        seen.add(digest)
        key = layout.original_key(name, digest)
        if not bank.store.exists(key):
            bank.store.put(key, encode_png(pixels))
        split = Split.TEST if line["split"] == "test" else Split.TRAIN
        originals.append(
            NewOriginal(line["file"], True, digest, key, line["class"], group_id=line["field"], split=split)
        )
    hashes = {s: [o.sha256 or "" for o in originals if o.split == s] for s in Split}
    with bank.catalogue.session() as session:
        return queries.add_dataset(
            name=name,
            class_names=sorted({o.class_name or "" for o in originals}),
            spec=ImageSpec(options.size, 3),
            fingerprint=set_fingerprint(o.sha256 or "" for o in originals),
            split_fingerprints={s.value: set_fingerprint(h) for s, h in hashes.items()},
            licence="MIT",
            source="BCCD, blood smears (https://github.com/Shenggan/BCCD_Dataset)",
            options={"group_by": "manifest.csv, column field"},
            originals=originals,
            session=session,
        )


def _thinned(lines: list[dict[str, str]], per_class: int) -> list[dict[str, str]]:
    """All test images, and `per_class` training images of each class, chosen by a hash of their names."""
    of_class: dict[str, list[dict[str, str]]] = defaultdict(list)
    for line in lines:
        if line["split"] == "train":
            of_class[line["class"]].append(line)
    chosen = [line for line in lines if line["split"] == "test"]
    for lines_of_class in of_class.values():
        chosen += sorted(lines_of_class, key=lambda line: stable_seed("thin", line["file"]))[:per_class]
    return sorted(chosen, key=lambda line: line["file"])


def _pixels(path: Path, size: int) -> np.ndarray:
    with Image.open(path) as image:
        small = image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))


def _assigned(words: list[str]) -> dict[str, Any]:
    import yaml

    return {key: yaml.safe_load(value) for key, _, value in (word.partition("=") for word in words)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("wbc4", "cytology3"))
    parser.add_argument("--data", type=Path, required=True, help="folder of both sets")
    parser.add_argument("--bank", type=Path, default=Path("utility-bank"))
    parser.add_argument("--minutes", type=float, default=20.0, help="training time of each generator")
    parser.add_argument("--steps", type=int, default=None, help="instead of a time, for a trial")
    parser.add_argument("--budget", type=float, default=None, help="minutes for all classifiers")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=400, help="synthetic images of each class and fold")
    parser.add_argument("--per-class", type=int, default=None)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--select", type=float, default=None)
    parser.add_argument(
        "--ratios", type=float, nargs="*", default=[], help="synthetic images as multiples of originals"
    )
    parser.add_argument("--shifts", action="store_true")
    parser.add_argument("--classifiers", nargs="+", default=["cnn", "probe"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE of the generator's training")
    return parser.parse_args()


if __name__ == "__main__":
    main()
