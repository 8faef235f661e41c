"""Bulk generation into a bank against the bare forward passes of the same network, side by side in one process.

    python benchmarks/generation.py [--images 4000] [--rounds 3]

A round makes the same images twice, bare and into a fresh bank, in alternating order; the ratio is the median over
rounds. Goal: at most 1.25. The gate (frozen features of every image) is measured apart, because it is a second network.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import write_json

from synthbank.catalogue import queries
from synthbank.fingerprint import bytes_sha256
from synthbank.generation import Sampler, build_gate
from synthbank.models import ModelSpec, architectures, baked_state, load_baked, load_tensors, save_tensors
from synthbank.records import ImageSpec, LabelledImages
from synthbank.settings import Settings
from synthbank.storage import layout
from synthbank.workflows.bank import Bank, open_bank
from synthbank.workflows.generate import GenerateReport, GenerateRequest, generate

MODEL = "bench"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    spec = ModelSpec("projected", 64, 3, ("a", "b"))
    torch.manual_seed(0)
    weights = save_tensors(baked_state(architectures.get("projected").generator(spec).eval()))
    sampler = Sampler(load_baked(spec, load_tensors(weights)))
    bare_forward(sampler, 256)  # warm up
    bare, whole, screened, stages = [], [], [], []
    for number in range(options.rounds):
        steps = [lambda: bare.append(bare_forward(sampler, options.images))]
        steps.append(lambda: whole.append(into_bank(spec, weights, options.images, screen=False)))
        for step in steps if number % 2 == 0 else reversed(steps):
            step()
        screened.append(into_bank(spec, weights, options.images, screen=True))
    stages = {k: statistics.median(r.stage_sec[k] for r in whole) / statistics.median(r.seconds for r in whole)
              for k in whole[0].stage_sec}  # fmt: skip
    bare_sec = statistics.median(bare)
    whole_sec = statistics.median(r.seconds for r in whole)
    screened_sec = statistics.median(r.seconds for r in screened)
    result = {
        "images": options.images,
        "size": spec.size,
        "rounds": options.rounds,
        "bare_forward_images_per_sec": options.images / bare_sec,
        "into_bank_images_per_sec": options.images / whole_sec,
        "with_gate_images_per_sec": options.images / screened_sec,
        "ratio_to_bare": whole_sec / bare_sec,
        "ratio_of_each_round": [w.seconds / b for w, b in zip(whole, bare, strict=True)],
        "ratio_with_gate": screened_sec / bare_sec,
        "share_of_stages": stages,
    }
    for key, value in result.items():
        print(f"{key:32} {value}")
    print("written", write_json("generation", result))


def bare_forward(sampler: Sampler, n: int) -> float:
    """Seconds for the forward passes of `n` images: the network alone, latents drawn beforehand."""
    block = sampler.block
    z = torch.randn(block, sampler.spec.latent_dim)
    noise = torch.randn(block, sampler.generator.noise_dim)
    labels = torch.zeros(block, dtype=torch.int64)
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in range(-(-n // block)):
            sampler.generator(z, labels, noise)
    return (time.perf_counter() - start) * n / (-(-n // block) * block)


def into_bank(spec: ModelSpec, weights: bytes, n: int, *, screen: bool) -> GenerateReport:
    """Generate `n` images into a fresh bank: forward, PNG, hash, storage, catalogue (and gate)."""
    with tempfile.TemporaryDirectory() as folder, open_bank(Settings(home=Path(folder))) as bank:
        publish(bank, spec, weights)
        return generate(bank, GenerateRequest(MODEL, n // spec.n_classes, screen=screen))


def publish(bank: Bank, spec: ModelSpec, weights: bytes) -> None:
    """Enter an untrained model; speed does not depend on what it draws."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (185, spec.channels, spec.size, spec.size), dtype=np.uint8)
    originals = LabelledImages(
        images, np.zeros(185, np.int64), spec.class_names, tuple(f"{i:064x}" for i in range(185))
    )
    gate = build_gate(originals).to_bytes()
    bank.store.put(layout.model_key(MODEL, "generator.safetensors"), weights)
    bank.store.put(layout.model_key(MODEL, "screen.safetensors"), gate)
    with bank.catalogue.session() as session:
        queries.publish_model(
            MODEL,
            architecture=spec.architecture,
            class_names=spec.class_names,
            spec=ImageSpec(spec.size, spec.channels),
            key=layout.model_prefix(MODEL),
            sha256=bytes_sha256(weights),
            card={"spec": spec.to_json(), "screen_sha256": bytes_sha256(gate)},
            originals=[],
            session=session,
        )


if __name__ == "__main__":
    main()
