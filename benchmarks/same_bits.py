"""Whether two commits draw the same pixels and train the same weights, bit by bit, on one processor.

    python benchmarks/same_bits.py BASE [HEAD] [--init zoo:cytology3-64] [--models NAME ...] [--architectures NAME ...]

Both are checked out into temporary folders (HEAD: the last commit, where none is named). Each commit runs its own
public commands (`python -m synthbank ...`) in processes and banks of its own, with one thread. Compared are

- pixels: `generate NAME -n 64 --no-screen` of every packaged model that both commits have;
- weights: `train --steps 30 --seed 5` of every architecture at 32 pixels, from scratch, on a set of shapes that this
  script draws. That is the last snapshot, the published generator and discriminator, and the state from which the run
  would resume (networks, average, optimisers). Layers that were renamed are compared under their names of today;
- resumed: BASE is killed after its 10th step, and HEAD resumes in BASE's bank. The end must be that of an
  uninterrupted run of BASE: what is stored stays readable, and runs keep their names.

`--init` adds one more run of `projected`, from initial weights: `zoo:NAME`, or a folder of BASE such as
`../base/src/synthbank/zoo/cytology3-64` (packaged discriminators may be stored in half precision since BASE). Prints a
table, writes `results/same-bits-DATE-COMMIT.json`, and ends with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import write_json
from numpy.typing import NDArray
from PIL import Image

from synthbank.models import load_tensors, read_header, read_legacy_keys

Array = NDArray[Any]
ROOT = Path(__file__).parents[1]
STEPS, SEED, SIZE, IMAGES = 30, 5, 32, 64
SAVED = 10  # steps between snapshots, with each of which the state is written
# snapshots of few images: scoring them takes longer than the steps, and is no part of what is trained
TRAIN = ("--steps", str(STEPS), "--seed", str(SEED), "--set", f"snapshot_every={SAVED}", "--set", "snapshot_images=8")


@dataclass(frozen=True)
class Side:
    """One of the two commits."""

    commit: str
    tree: Path

    def start(self, bank: Path, *words: str) -> subprocess.Popen[str]:
        """Begin a public command of this commit in a bank."""
        path = os.pathsep.join(str(p) for p in (self.tree / "src", self.tree / "zoo") if p.is_dir())
        return subprocess.Popen(
            [sys.executable, "-m", "synthbank", *words, "--bank", str(bank), "--json"],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            cwd=bank.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, bank: Path, *words: str) -> Any:
        """A public command of this commit in a bank, to its end; its JSON."""
        process = self.start(bank, *words)
        said, talk = process.communicate()
        if process.returncode:
            raise SystemExit(f"{self.commit[:9]}: {shlex.join(words)} ended with {process.returncode}\n{talk}")
        return json.loads(said)


@dataclass(frozen=True)
class Row:
    """One comparison."""

    kind: str
    name: str
    compared: int
    """Images or tensors."""
    equal: int
    largest_difference: float
    """Of grey levels or of weights; 0: all are equal."""
    only_one_side: tuple[str, ...]
    """Names that one commit alone has."""

    @property
    def same(self) -> bool:
        """Whether everything is there on both sides, and equal."""
        return self.equal == self.compared > 0 and not self.only_one_side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="the older commit")
    parser.add_argument("head", nargs="?", default="HEAD", help="the newer commit (default: %(default)s)")
    parser.add_argument("--init", help="initial weights of one more run of `projected`, such as zoo:cytology3-64")
    parser.add_argument("--models", nargs="*", help="packaged models (default: all that both commits have)")
    parser.add_argument("--architectures", nargs="*", help="default: all that both commits have")
    options = parser.parse_args()
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        checkout(options.base, Path(folder, "base")) as base,
        checkout(options.head, Path(folder, "head")) as head,
    ):
        work, sides = Path(folder, "work"), {"base": base, "head": head}
        draw_shapes(work / "shapes")  # makes `work` too
        for name in packaged_models(sides, work) if options.models is None else options.models:
            rows.append(report(compare_pixels(name, sides, work)))
        trained = architectures(sides) if options.architectures is None else options.architectures
        runs = [(name, "none") for name in trained]
        for name, init in [*runs, *([("projected", options.init)] if options.init else [])]:
            rows += [report(row) for row in compare_training(name, init, sides, work)]
        written = write_json(
            f"same-bits-{datetime.now(UTC):%Y-%m-%d}-{head.commit[:9]}",
            {
                "command": shlex.join(["python", "benchmarks/same_bits.py", *sys.argv[1:]]),
                "base": base.commit,
                "head": head.commit,
                "cpu_capability": torch.backends.cpu.get_cpu_capability(),
                "equal": all(row.same for row in rows),
                "rows": [asdict(row) for row in rows],
            },
        )
    print("written", written)
    sys.exit(0 if all(row.same for row in rows) else 1)


@contextmanager
def checkout(commit: str, tree: Path) -> Iterator[Side]:
    """A commit's files in a folder of their own."""
    full = _git("rev-parse", f"{commit}^{{commit}}")
    _git("worktree", "add", "--detach", str(tree), full)
    try:
        yield Side(full, tree)
    finally:
        _git("worktree", "remove", "--force", str(tree))


def packaged_models(sides: Mapping[str, Side], work: Path) -> list[str]:
    """Names of the packaged models that both sides have."""
    return on_both_sides([set(side.run(work / "bank", "models", "ls", "--zoo")) for side in sides.values()])


def architectures(sides: Mapping[str, Side]) -> list[str]:
    """Names of the architectures that both sides have, by their files."""
    folders = [side.tree / "src" / "synthbank" / "models" / "architectures" for side in sides.values()]
    return on_both_sides([{p.stem for p in folder.glob("*.py") if p.stem != "__init__"} for folder in folders])


def on_both_sides(held: Sequence[set[str]]) -> list[str]:
    """Names that both sides have; the others are printed."""
    for name in sorted(held[0] ^ held[1]):
        print(f"{name}: only one of the commits has it")
    return sorted(held[0] & held[1])


def draw_shapes(folder: Path) -> None:
    """Two classes of 30 images: discs and squares on an uneven ground."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    for name, colour in (("disc", (-90, -120, -30)), ("square", (-70, -30, -110))):
        (folder / name).mkdir(parents=True)
        for i in range(30):
            ground = np.kron(rng.normal(0, 12, (4, 4, 3)), np.ones((SIZE // 4, SIZE // 4, 1)))
            image = 200 + ground + rng.normal(0, 6, (SIZE, SIZE, 3))
            (cy, cx), reach = rng.uniform(10, 22, 2), rng.uniform(5, 9)
            dy, dx = abs(y - cy), abs(x - cx)
            image[np.hypot(dy, dx) < reach if name == "disc" else np.maximum(dy, dx) < reach] += colour
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / name / f"{i:03d}.png")


def compare_pixels(name: str, sides: Mapping[str, Side], work: Path) -> Row:
    """Images of one packaged model, drawn by both commits."""
    drawn = []
    for key, side in sides.items():
        bank = work / f"{key}-{name}"
        side.run(bank, "models", "pull", f"zoo:{name}")
        side.run(bank, "generate", name, "-n", str(IMAGES), "--no-screen", "--seed", str(SEED))
        images = bank / "objects" / "images"
        # below the job: its id may be hashed over other names
        drawn.append({str(Path(*p.relative_to(images).parts[1:])): _pixels(p) for p in images.rglob("*.png")})
        shutil.rmtree(bank)
    return compare("pixels", name, *drawn)


def compare_training(architecture: str, init: str, sides: Mapping[str, Side], work: Path) -> Iterator[Row]:
    """Weights of one architecture, trained by both commits; then by the second in a bank of the first."""
    base, head, name = sides["base"], sides["head"], architecture if init == "none" else f"{architecture} from {init}"
    words = ("train", "shapes", "--model", architecture, "--init", init, *TRAIN)
    banks = {case: work / f"{case}-{architecture}" for case in ("base", "head", "resumed")}
    for case, bank in banks.items():
        ingests = head if case == "head" else base
        ingests.run(bank, "ingest", str(work / "shapes"), "--name", "shapes", "--size", str(SIZE))
    base.run(banks["base"], *words)
    head.run(banks["head"], *words)
    kill_half_way(base, banks["resumed"], words)
    head.run(banks["resumed"], *words)
    yield from compare_banks("", name, banks["base"], banks["head"])
    yield from compare_banks("resumed ", name, banks["base"], banks["resumed"])
    for bank in banks.values():
        shutil.rmtree(bank)


def kill_half_way(side: Side, bank: Path, words: Sequence[str]) -> None:
    """Start a training, and kill it as soon as it has saved a state beyond its first."""
    process = side.start(bank, *words)
    while process.poll() is None:
        time.sleep(0.02)
        states = list((bank / "runs").rglob("state.safetensors"))
        if states and read_header(states[0].read_bytes())["progress"]["step"] >= SAVED:
            process.kill()
            process.communicate()
            return
    raise SystemExit(
        f"{side.commit[:9]}: {shlex.join(words)} ended before it could be killed\n{process.communicate()[1]}"
    )


def compare_banks(kind: str, name: str, one: Path, other: Path) -> Iterator[Row]:
    """Everything that a run has stored in two banks."""
    places = {
        "generator": ("objects/models", "generator.safetensors"),
        "discriminator": ("objects/models", "discriminator.safetensors"),
        "state": ("runs", "state.safetensors"),
        "snapshot": ("runs", f"{STEPS:08d}.safetensors"),
    }
    for what, (folder, file) in places.items():
        paths = [next((bank / folder).rglob(file), None) for bank in (one, other)]
        before, after = (load_tensors(p.read_bytes()) if p else {} for p in paths)
        before = read_legacy_keys(before, after)
        if before or after:  # a denoiser's discriminator has no tensors
            yield compare(f"{kind}{what}", name, *({k: v.numpy() for k, v in t.items()} for t in (before, after)))


def compare(kind: str, name: str, one: Mapping[str, Array], other: Mapping[str, Array]) -> Row:
    """Arrays of the same names, value by value."""
    common = sorted(one.keys() & other.keys())
    differences = [difference(one[k], other[k]) for k in common]
    alone = tuple(sorted(one.keys() ^ other.keys()))
    return Row(kind, name, len(common), differences.count(0.0), max(differences, default=0.0), alone)


def difference(one: Array, other: Array) -> float:
    """The largest difference; infinite where shape or type differ, or one of the values is not finite."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    if one.tobytes() == other.tobytes():
        return 0.0
    largest = np.abs(one.astype(np.float64) - other.astype(np.float64)).max()
    return float(largest) if 0 < largest < np.inf else float("inf")


def report(row: Row) -> Row:
    """Print a line of the table."""
    verdict = (
        "equal"
        if row.same
        else f"{row.compared - row.equal} of {row.compared} differ, by {row.largest_difference:g} at most"
    )
    if row.only_one_side:
        verdict += f"; {len(row.only_one_side)} on one side alone, such as {row.only_one_side[0]}"
    print(f"{row.kind:22} {row.name:30} {row.compared:5}  {verdict}", flush=True)
    return row


def _pixels(path: Path) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
