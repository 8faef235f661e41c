"""Feature extraction against the bare network, and the memory of a whole evaluation.

    python benchmarks/evaluation.py [--images 10000] [--rounds 3]

First, images/s of three ways to features, side by side, median over rounds: the bare frozen network (Lite1 at 128
pixels) on batches in memory, and the evaluation's own path (hashing, look-up, storing) with an empty and with a full
cache. Goal: at least
0.9 of the bare network. Then `--images` originals and as many synthetic ones of 64x64 go through features and every
metric, and the process's peak memory is read. Goal: under 4 GB. The pictures are IHC tiles, moved and recoloured.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import write_json

from synthbank.data import IngestOptions, ingest_source
from synthbank.generation import simulate_copies
from synthbank.metrics import LabelledFeatures, evaluate_features, evaluate_pixels
from synthbank.models import FeatureNetwork, batched, load_feature_network, scoring_size
from synthbank.models.features.base import to_input
from synthbank.records import LabelledImages, UInt8Images
from synthbank.storage import ArrayCache
from synthbank.workflows.features import Embedder

CLASSES = ("a", "b")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="originals, and as many synthetic images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timed", type=int, default=512, help="images of a timed round")
    options = parser.parse_args()
    tiles = np.stack([o.pixels for o in ingest_source("sample:ihc", IngestOptions(size=64)).originals])
    network, side = load_feature_network("lite1"), scoring_size(64)
    rates = extraction(network, pictures(tiles, options.timed, seed=0), side, options.rounds)
    print({k: round(v, 3) for k, v in rates.items()}, flush=True)
    result = {"images": options.images, "size": 64, "input_size": side, **rates, **whole(tiles, options.images, side)}
    for key, value in result.items():
        print(f"{key:36} {value}")
    print("written", write_json("evaluation", result))


def pictures(tiles: UInt8Images, n: int, *, seed: int) -> UInt8Images:
    """`n` different pictures made of tiles."""
    rng = np.random.default_rng(seed)
    chosen = tiles[rng.integers(0, len(tiles), n)]
    return simulate_copies(simulate_copies(chosen, "shift to 10%", rng), "colour", rng)


def extraction(network: FeatureNetwork, images: UInt8Images, side: int, rounds: int) -> dict[str, float]:
    """Images per second: bare, with an empty cache, with a full one."""
    bare, cold, warm = [], [], []
    bare_seconds(network, images[:64], side)  # warm up
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            cache = ArrayCache(Path(folder) / "features.db")
            steps = [lambda: bare.append(bare_seconds(network, images, side))]
            steps.append(lambda cache=cache: cold.append(cached_seconds(cache, network, images, side)))
            for step in steps if number % 2 == 0 else reversed(steps):
                step()
            warm.append(cached_seconds(cache, network, images, side))
    n, middle = len(images), statistics.median
    return {
        "bare_images_per_sec": n / middle(bare),
        "cold_cache_images_per_sec": n / middle(cold),
        "warm_cache_images_per_sec": n / middle(warm),
        "cold_share_of_bare": middle(b / c for b, c in zip(bare, cold, strict=True)),
    }


@torch.inference_mode()
def bare_seconds(network: FeatureNetwork, images: UInt8Images, side: int) -> float:
    start = time.perf_counter()
    for batch in batched(images):
        network.pooled(to_input(torch.from_numpy(batch), side))
    return time.perf_counter() - start


def cached_seconds(cache: ArrayCache, network: FeatureNetwork, images: UInt8Images, side: int) -> float:
    start = time.perf_counter()
    Embedder(network, cache=cache, input_size=side)(images)
    return time.perf_counter() - start


def whole(tiles: UInt8Images, n: int, side: int) -> dict[str, float]:
    """Features and every metric of `n` originals and `n` synthetic images; seconds, and the peak memory in GB."""
    network = load_feature_network("lite1")
    test, fake, train = (labelled(pictures(tiles, size, seed=seed)) for seed, size in ((1, n), (2, n), (3, n // 4)))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        cache = ArrayCache(Path(folder) / "features.db")
        embed = Embedder(network, cache=cache, input_size=side)
        sets = [LabelledFeatures(embed(s.images), s.labels, CLASSES) for s in (test, fake, train)]
    embedded = time.perf_counter()
    scores = evaluate_features(
        train=sets[2], test=sets[0], fake=sets[1], protocol=f"lite1-{side}", rng=np.random.default_rng(0)
    )
    scored = time.perf_counter()
    scores += evaluate_pixels(train=train, test=test, fake=fake, rng=np.random.default_rng(0))
    return {
        "features_sec": embedded - start,
        "feature_metrics_sec": scored - embedded,
        "pixel_metrics_sec": time.perf_counter() - scored,
        "scores": len(scores),
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def labelled(images: UInt8Images) -> LabelledImages:
    return LabelledImages(images, np.arange(len(images)) % len(CLASSES), CLASSES)


if __name__ == "__main__":
    main()
