"""The copy gate's two error rates: copies that pass, and honest images that do not.

    python benchmarks/copies.py [--data FOLDER] [--copies 200]

Without --data, the IHC sample. FOLDER holds `train` and `test` with one sub-folder a class, such as `cytology3`; it
is read as `synthbank ingest` reads it, at 64 pixels. The gate is built and calibrated from the training split alone.
Then copies of training originals are simulated (other draws than the calibration's, and kinds that it has not seen),
and held-out originals are passed. Goal: 95% of the copies caught with at most 5% of the held-out originals
flagged.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import write_json
from numpy.typing import NDArray
from originals import split_originals

from synthbank.data import IngestOptions, assign_splits, ingest_source
from synthbank.fingerprint import pixel_sha256
from synthbank.generation import COPIES, Gate, build_gate, simulate_copies
from synthbank.records import LabelledImages, Split, UInt8Images

FLAG_RATES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/ and test/ (default: the IHC sample)")
    parser.add_argument("--group-by", default=r"(BloodImage_\d+)", help="group of an image, as for ingest")
    parser.add_argument("--copies", type=int, default=200, help="copies of each kind")
    options = parser.parse_args()
    train, held_out = from_sample() if options.data is None else from_folder(options.data, options.group_by)
    name = "ihc" if options.data is None else options.data.name
    start = time.perf_counter()
    gate = build_gate(labelled(train))
    built = time.perf_counter() - start
    result = measure(gate, train, held_out, n_copies=options.copies)
    result = {"data": name, "train": len(train), "held_out": len(held_out), "build_sec": built, **result}
    show(result)
    print("written", write_json(f"copies-{name}", result))


def from_sample() -> tuple[UInt8Images, UInt8Images]:
    """Training tiles of the IHC field, and those of its held-out regions."""
    pixels, _, splits = split_originals("sample:ihc")
    in_train = splits == Split.TRAIN
    return pixels[in_train], pixels[~in_train]


def from_folder(folder: Path, group_by: str) -> tuple[UInt8Images, UInt8Images]:
    """A training split of `train`, and all of `test`."""
    options = IngestOptions(size=64, group_by=group_by)
    originals = ingest_source(folder / "train", options).originals
    splits = assign_splits(
        [o.class_name for o in originals],
        [o.group for o in originals],
        shares=(0.8, 0.2, 0.0),
        seed=0,
    ).splits
    train = np.stack([o.pixels for o, s in zip(originals, splits, strict=True) if s == Split.TRAIN])
    return train, np.stack([o.pixels for o in ingest_source(folder / "test", options).originals])


def labelled(images: UInt8Images) -> LabelledImages:
    return LabelledImages(images, np.zeros(len(images), np.int64), ("all",), tuple(pixel_sha256(i) for i in images))


def measure(gate: Gate, train: UInt8Images, held_out: UInt8Images, *, n_copies: int) -> dict[str, Any]:
    """Catch rates by kind at the gate's own threshold, and the whole curve."""
    rng = np.random.default_rng(20241)
    honest = gate.screen(held_out)
    distances: dict[str, NDArray[np.float32]] = {}
    caught: dict[str, float] = {}
    for kind in COPIES:
        chosen = rng.choice(len(train), n_copies)
        verdicts = gate.screen(simulate_copies(train[chosen], kind, rng))
        distances[kind], caught[kind] = verdicts.distance, float((~verdicts.accepted).mean())
    together = np.concatenate(list(distances.values()))
    limits = [float(np.quantile(honest.distance, rate)) for rate in FLAG_RATES]
    return {
        "copy_distance": gate.thresholds.copy_distance,
        "caught_of_copies": float(np.mean(list(caught.values()))),
        "flagged_of_held_out": float((~honest.accepted).mean()),
        "caught_by_kind": caught,
        "curve": [
            {
                "flagged": rate,
                "caught": float((together < limit).mean()),
                "by_kind": {kind: float((d < limit).mean()) for kind, d in distances.items()},
            }
            for rate, limit in zip(FLAG_RATES, limits, strict=True)
        ],
        "distance_quantiles": {
            "held out": np.quantile(honest.distance, (0.0, 0.01, 0.05, 0.5)).tolist(),
            "copies": np.quantile(together, (0.5, 0.95, 0.99, 1.0)).tolist(),
        },
    }


def show(result: dict[str, Any]) -> None:
    print(f"{result['data']}: {result['train']} training originals, {result['held_out']} held out")
    print(f"threshold {result['copy_distance']:.3f}, built in {result['build_sec']:.1f} s")
    print(f"caught {result['caught_of_copies']:.1%} of copies, flagged {result['flagged_of_held_out']:.1%} of held-out")
    kinds = list(result["caught_by_kind"])
    for kind in kinds:
        print(f"  {kind:30} {result['caught_by_kind'][kind]:.1%}")
    print("caught at flag rate:")
    for point in result["curve"]:
        print(
            f"  {point['flagged']:6.1%}  {point['caught']:6.1%}   "
            + "  ".join(f"{point['by_kind'][k]:.2f}" for k in kinds)
        )
    print("distances", result["distance_quantiles"])


if __name__ == "__main__":
    main()
