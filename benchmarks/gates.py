"""Eight-bit gates of earlier models beside full ones: verdicts that differ, on copies and on generated images.

    python benchmarks/gates.py ihc-64
    python benchmarks/gates.py cytology3-64 --data ../shared/data/cytology3

Builds the gate of a packaged model again from its originals, with its thresholds, and screens with both forms: copies
of the originals of every kind, and as many new images of the model. --data is the folder that the originals came from.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from machine import write_json

from synthbank.data import IngestOptions, ingest_source
from synthbank.generation import COPIES, Gate, Sampler, load_gate, simulate_copies
from synthbank.generation.matching import descriptors
from synthbank.generation.outline_gate import OutlineGate
from synthbank.models import load_fused, load_tensors
from synthbank.records import UInt8Images
from synthbank.workflows.models.record import GENERATOR
from synthbank.workflows.models.transfer import Package, read_package


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--data", default="sample:ihc", help="folder of the originals, with train/ in it")
    parser.add_argument("--copies", type=int, default=200, help="copies of each kind")
    parser.add_argument("--generated", type=int, default=512, help="new images of the model")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    package = read_package(f"zoo:{options.name}")
    rng = np.random.default_rng(options.seed)
    originals, hashes = originals_of(package, options.data)
    full = OutlineGate(descriptors(originals), hashes, package.gate.thresholds, size=package.spec.size)
    eight = load_gate(full.to_bytes(eight_bits=True))
    chosen = rng.choice(len(originals), options.copies)
    sets = {kind: simulate_copies(originals[chosen], kind, rng) for kind in COPIES}
    sets["generated"] = generated(package, options.generated, options.seed)
    result = {"model": options.name, "originals": len(originals), "seed": options.seed} | compare(full, eight, sets)
    for key, value in result.items():
        print(key, value)
    print("written", write_json(f"gates-{options.name}", result))


def originals_of(package: Package, source: str) -> tuple[UInt8Images, list[str]]:
    """The originals of a model's gate that the source still holds, in the order of the gate."""
    folder = Path(source)
    ingested = ingest_source(folder / "train" if folder.is_dir() else source, IngestOptions(size=package.spec.size))
    pixels = {original.sha256: original.pixels for original in ingested.originals}
    hashes = [h for h in package.gate.hashes if h in pixels]
    return np.stack([pixels[h] for h in hashes]), hashes


def generated(package: Package, n: int, seed: int) -> UInt8Images:
    """New images of a model, as many of each class."""
    sampler = Sampler(load_fused(package.spec, load_tensors(package.files[GENERATOR])))
    per_class = -(-n // len(package.spec.class_names))
    images = []
    for label in range(len(package.spec.class_names)):
        blocks: list[UInt8Images] = []
        while sum(map(len, blocks)) < per_class:
            blocks.append(sampler.draw_block(job_seed=seed, class_index=label, block=len(blocks)))
        images.append(np.concatenate(blocks)[:per_class])
    return np.concatenate(images)


def compare(full: Gate, eight: Gate, sets: dict[str, UInt8Images]) -> dict[str, Any]:
    """Numbers of images and of other verdicts by set, and by how much distances move."""
    shift, by_set = [], {}
    for name, images in sets.items():
        a, b = full.screen(images), eight.screen(images)
        shift.append(np.abs(a.distance - b.distance))
        by_set[name] = {
            "images": len(images),
            "rejected": int((~a.accepted).sum()),
            "other_verdicts": sum(x != y for x, y in zip(a.reasons, b.reasons, strict=True)),
            "nearest_to_threshold": float(np.abs(a.distance - full.thresholds.copy_distance).min()),
            "largest_shift": float(shift[-1].max()),
        }
    together = np.concatenate(shift)
    return {
        "images": len(together),
        "other_verdicts": sum(each["other_verdicts"] for each in by_set.values()),
        "shift_median": float(np.median(together)),
        "shift_99th": float(np.quantile(together, 0.99)),
        "sets": by_set,
        "bytes": {"full": len(full.to_bytes()), "eight_bits": len(eight.to_bytes(eight_bits=True))},
    }


if __name__ == "__main__":
    main()
