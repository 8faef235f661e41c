"""Bulk generation into a bank against the bare forward passes of the same network, side by side in one process.

    python benchmarks/generation.py [--images 4000] [--rounds 3] [--originals 555] [--name generation]

The network is the packaged model `ihc-64`. A round makes the same images three times, in alternating order: bare,
into a fresh bank, and into a fresh bank through the gate; each ratio is the median over rounds. Goal: at most 1.25
without the gate.
With it, images are counted as drawn, whether they were accepted or rejected. With --originals, the gate is built anew
for so many images of the model, drawn with another seed, which stand for its training originals.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import write_json

from synthbank.fingerprint import bytes_sha256, pixel_sha256
from synthbank.generation import Sampler, build_gate
from synthbank.models import load_fused, load_tensors
from synthbank.records import LabelledImages
from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank
from synthbank.workflows.generation.generate import GenerateReport, GenerateRequest, generate
from synthbank.workflows.models.load import load_model
from synthbank.workflows.models.record import CARD, GENERATOR, SCREEN
from synthbank.workflows.models.transfer import import_model, read_package

MODEL = "ihc-64"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--originals", type=int, help="originals of a new gate (default: the gate of the package)")
    parser.add_argument("--name", default="generation", help="of the result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.images, options.rounds, options.originals)
    for key, value in result.items():
        print(f"{key:32} {value}")
    print("written", write_json(options.name, result))


def measure(folder: Path, images: int, rounds: int, originals: int | None) -> dict[str, object]:
    """All rounds; every bank of its own stays until the end, so that nothing is deleted while another is timed."""
    source = f"zoo:{MODEL}" if originals is None else with_new_gate(folder / MODEL, originals)
    with open_bank(Settings(home=folder / "first")) as bank:
        import_model(bank, source)
        sampler = load_model(bank, MODEL).sampler
    bare_forward(sampler, 256)  # warm up
    bare, plain, gated = [], [], []
    for number in range(rounds):
        steps = [
            lambda: bare.append(bare_forward(sampler, images)),
            lambda n=number: plain.append(into_bank(folder / f"plain-{n}", source, images, screen=False)),
            lambda n=number: gated.append(into_bank(folder / f"gated-{n}", source, images, screen=True)),
        ]
        for step in steps if number % 2 == 0 else reversed(steps):
            os.sync()  # what the last one left to be written is not charged to the next
            step()
    return {
        "model": MODEL,
        "images": images,
        "originals": originals,
        "rounds": rounds,
        "bare_forward_images_per_sec": 1 / statistics.median(bare),
        "into_bank_images_per_sec": 1 / statistics.median(sec_per_image(r) for r in plain),
        "with_gate_images_per_sec": 1 / statistics.median(sec_per_image(r) for r in gated),
        "ratio_to_bare": statistics.median(sec_per_image(r) / b for r, b in zip(plain, bare, strict=True)),
        "ratio_with_gate": statistics.median(sec_per_image(r) / b for r, b in zip(gated, bare, strict=True)),
        "rate_with_gate_to_without": statistics.median(
            sec_per_image(p) / sec_per_image(g) for p, g in zip(plain, gated, strict=True)
        ),
        "ratio_of_each_round": [sec_per_image(r) / b for r, b in zip(plain, bare, strict=True)],
        "rejected_by_gate": [sum(r.rejected.values()) for r in gated],
        "share_of_stages": shares(plain),
        "share_of_stages_with_gate": shares(gated),
    }


def bare_forward(sampler: Sampler, n: int) -> float:
    """Seconds an image for `n` forward passes: the network alone, latents drawn beforehand."""
    block = sampler.block
    z = torch.randn(block, sampler.spec.latent_dim)
    noise = torch.randn(block, sampler.generator.noise_dim)
    labels = torch.zeros(block, dtype=torch.int64)
    blocks = -(-n // block)
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in range(blocks):
            sampler.generator(z, labels, noise)
    return (time.perf_counter() - start) / (blocks * block)


def with_new_gate(folder: Path, n: int) -> str:
    """The packaged model as a folder, with a gate of `n` images of its own for originals."""
    package = read_package(f"zoo:{MODEL}")
    sampler = Sampler(load_fused(package.spec, load_tensors(package.files[GENERATOR])))
    names = package.spec.class_names
    per_class = -(-n // len(names))
    drawn = [
        [sampler.draw_block(job_seed=99, class_index=c, block=b) for b in range(-(-per_class // sampler.block))]
        for c in range(len(names))
    ]
    images = np.concatenate([np.concatenate(blocks)[:per_class] for blocks in drawn])
    labels = np.arange(len(names)).repeat(per_class)
    ids = tuple(pixel_sha256(image) for image in images)
    gate = build_gate(LabelledImages(images, labels, names, ids)).to_bytes()
    folder.mkdir()
    card = package.card.to_json() | {"screen_sha256": bytes_sha256(gate)}
    for name, data in {**package.files, SCREEN: gate, CARD: json.dumps(card).encode()}.items():
        (folder / name).write_bytes(data)
    return str(folder)


def into_bank(home: Path, source: str, n: int, *, screen: bool) -> GenerateReport:
    """Generate `n` images into a fresh bank: forward, PNG, hash, storage, catalogue (and gate)."""
    with open_bank(Settings(home=home)) as bank:
        import_model(bank, source)
        return generate(bank, GenerateRequest(MODEL, n // 2, screen=screen))


def sec_per_image(report: GenerateReport) -> float:
    """Seconds an image drawn, kept or not."""
    return report.seconds / (sum(report.accepted.values()) + sum(report.rejected.values()))


def shares(reports: list[GenerateReport]) -> dict[str, float]:
    """Each stage's share of the whole time."""
    whole = sum(r.seconds for r in reports)
    return {stage: sum(r.stage_seconds[stage] for r in reports) / whole for stage in reports[0].stage_seconds}


if __name__ == "__main__":
    main()
