"""Check that every metric moves as it should, with known sets in the place of synthetic images.

    python benchmarks/sanity.py [--data FOLDER] [--images 120]

FOLDER holds `train` and `test` with one sub-folder a class, such as `cytology3`, read at 64 pixels. `train` are the
training originals. One half of `test`, by field, is the test set. The sets to be scored come from the other half, each
of `--images` images:

- fresh: real images that no model has seen; a perfect generator would score like this
- identical: the test set itself
- noise: uniform noise
- blurred: fresh, blurred by two pixels
- class missing: fresh without the last class
- copies: training originals
- collapsed: one fresh image of each class, again and again, with a little noise

Prints the table of `docs/evaluation.md` and every movement that is not as it should be; writes JSON.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from machine import write_json
from scipy.ndimage import gaussian_filter

from synthbank.data import IngestOptions, ingest_source
from synthbank.metrics import LabelledFeatures, evaluate_features, evaluate_pixels, metrics
from synthbank.models import batched, load_feature_network, scoring_size
from synthbank.records import LabelledImages, Score

CASES = ("fresh", "identical", "noise", "blurred", "class missing", "copies", "collapsed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--group-by", default=r"(BloodImage_\d+)")
    parser.add_argument("--images", type=int, default=120)
    options = parser.parse_args()
    train = read(options.data / "train", options.group_by)[0]
    held_out, groups = read(options.data / "test", options.group_by)
    first = np.isin(groups, sorted(set(groups))[::2])
    test, fresh = (held_out.take(np.flatnonzero(part)) for part in (first, ~first))
    made = cases(train, test, fresh, options.images)
    features = embed(train), embed(test)
    table = {}
    for case in CASES:
        print("scoring", case, flush=True)
        table[case] = {s.metric.rsplit("-", 2)[0]: s for s in score(train, test, made[case], *features)}
    names = sorted(table["fresh"], key=lambda name: metrics.spec(name).order)
    show(table, names)
    wrong = [line for name in names for line in complaints(name, table)]
    print("\n".join(["", "not as it should be:", *wrong] if wrong else ["", "every metric moves as it should"]))
    values = {name: {case: table[case][name].value for case in CASES} for name in names}
    print("written", write_json("sanity", {"data": options.data.name, "values": values, "not_as_expected": wrong}))


def read(folder: Path, group_by: str) -> tuple[LabelledImages, list[str]]:
    originals = ingest_source(folder, IngestOptions(size=64, group_by=group_by)).originals
    classes = tuple(sorted({o.class_name for o in originals}))
    labels = np.array([classes.index(o.class_name) for o in originals])
    return LabelledImages(np.stack([o.pixels for o in originals]), labels, classes), [o.group for o in originals]


def cases(train: LabelledImages, test: LabelledImages, fresh: LabelledImages, n: int) -> dict[str, LabelledImages]:
    """The sets by name; each of at most `n` images, of all classes where nothing else is said."""
    rng = np.random.default_rng(0)
    some = fresh.take(rng.permutation(len(fresh))[:n])
    noise = rng.integers(0, 256, some.images.shape, dtype=np.uint8)
    blurred = gaussian_filter(some.images.astype(np.float64), (0, 0, 2, 2)).round().astype(np.uint8)
    missing = fresh.take(np.flatnonzero(fresh.labels < len(fresh.class_names) - 1))
    one_each = np.array([np.flatnonzero(some.labels == label)[0] for label in some.labels])
    repeated = some.images[one_each].astype(np.int64) + rng.integers(-2, 3, some.images.shape)
    return {
        "fresh": some,
        "identical": test.take(rng.permutation(len(test))[:n]),
        "noise": LabelledImages(noise, some.labels, some.class_names),
        "blurred": LabelledImages(blurred, some.labels, some.class_names),
        "class missing": missing.take(rng.permutation(len(missing))[:n]),
        "copies": train.take(rng.permutation(len(train))[:n]),
        "collapsed": LabelledImages(np.clip(repeated, 0, 255).astype(np.uint8), some.labels, some.class_names),
    }


def embed(images: LabelledImages) -> LabelledFeatures:
    features = load_feature_network("lite1").embed(batched(images.images), input_size=scoring_size(64))
    return LabelledFeatures(features, images.labels, images.class_names)


def score(
    train: LabelledImages,
    test: LabelledImages,
    fake: LabelledImages,
    train_features: LabelledFeatures,
    test_features: LabelledFeatures,
) -> list[Score]:
    """Every metric over all classes."""
    scores = evaluate_features(
        train=train_features,
        test=test_features,
        fake=embed(fake),
        protocol=f"lite1-{scoring_size(64)}",
        rng=np.random.default_rng(0),
        n_resamples=4,
    )
    scores += evaluate_pixels(train=train, test=test, fake=fake, rng=np.random.default_rng(0), n_resamples=4)
    return [s for s in scores if s.class_name is None]


def expected(name: str) -> dict[str, str]:
    """Expected change of a metric from its value on fresh images: "worse", "no worse" or "alike"."""
    spec = metrics.spec(name)
    if spec.looks_at == "fake":
        return {"collapsed": "worse", "identical": "alike", "copies": "alike"}
    if spec.against == "train":
        return {"copies": "worse"}
    return {"identical": "no worse", "noise": "worse", "blurred": "worse", "class missing": "worse", "copies": "alike"}


def complaints(name: str, table: dict[str, dict[str, Score]]) -> list[str]:
    """Movements that are not as they should be."""
    fresh = table["fresh"][name]
    if fresh.value is None:
        return []
    sign = 1.0 if fresh.higher_is_better else -1.0
    scale = max(abs(fresh.value), abs((fresh.high or fresh.value) - (fresh.low or fresh.value)) / 2, 1e-9)
    faults = []
    for case, wanted in expected(name).items():
        value = table[case][name].value
        if value is None:
            faults.append(f"- {name}, {case}: not computed ({table[case][name].note})")
            continue
        gain = sign * (value - fresh.value)
        fits = {"worse": gain < 0, "no worse": gain >= -0.05 * scale, "alike": abs(gain) <= scale}[wanted]
        if not fits:
            faults.append(
                f"- {name}, {case}: {value:.3g} against {fresh.value:.3g} on fresh images, should be {wanted}"
            )
    return faults


def show(table: dict[str, dict[str, Score]], names: list[str]) -> None:
    print("| metric | " + " | ".join(CASES) + " |")
    print("|---" * (len(CASES) + 1) + "|")
    for name in names:
        arrow = "↑" if metrics.spec(name).higher_is_better else "↓"
        values = [table[case][name].value for case in CASES]
        print(f"| `{name}` {arrow} | " + " | ".join("–" if v is None else f"{v:.3g}" for v in values) + " |")


if __name__ == "__main__":
    main()
