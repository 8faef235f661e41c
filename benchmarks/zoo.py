"""Trains the models that come with the package, and writes their cards.

    python benchmarks/zoo.py ihc-64 [--minutes 20]
    python benchmarks/zoo.py cytology3-64 --data ../shared/data/cytology3 [--minutes 20]

Ingests, trains with `--preset auto`, generates and evaluates through the public commands, pushes the model, and packs
it into `zoo/synthbank_zoo/NAME`: the discriminator in half precision, the gate in eight bits. Of the model that comes
with `synthbank` itself, generator, gate and a card without the discriminator go to `src/synthbank/zoo`. An interrupted
training resumes with the same command, and one that is done goes on with more --minutes. The card says on which machine
it was trained, for how long, on what, and how it scores on the held-out originals.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import machine
from quality import command

from synthbank.fingerprint import bytes_sha256
from synthbank.generation import load_gate
from synthbank.models import load_tensors, save_tensors
from synthbank.workflows.models.record import CARD, DISCRIMINATOR, GENERATOR, SCREEN

ROOT = Path(__file__).parents[1]
ZOO, CORE = ROOT / "zoo" / "synthbank_zoo", ROOT / "src" / "synthbank" / "zoo"
IN_CORE = "ihc-64"
"""The model that `demo --from-zoo` generates from."""
_SCORES = ("kid-lite1", "fd-lite1", "precision-lite1", "recall-lite1", "coverage-lite1", "copy-rate-lite1")


@dataclass(frozen=True)
class Origin:
    """Where a zoo model's images come from."""

    data: str
    licence: str
    size: int
    start: str = "none"
    """Start weights."""
    options: tuple[str, ...] = ()
    """More words for `train`."""


ORIGINS = {
    "ihc-64": Origin(
        "Colon, FHL2 by DAB with haematoxylin: one 512x512 field, skimage.data.immunohistochemistry()",
        "no known copyright restrictions",
        64,
        start="zoo:cytology3-64",
    ),
    "cytology3-64": Origin(
        "Red cells, white cells and platelets from stained blood smears: BCCD (github.com/Shenggan/BCCD_Dataset)",
        "MIT",
        64,
    ),
    "cytology3-128": Origin(
        "Red cells, white cells and platelets from stained blood smears: BCCD (github.com/Shenggan/BCCD_Dataset)",
        "MIT",
        128,
        start="zoo:cytology3-64",
        options=("--set", "grow_share=0"),  # which knows these very cells at half the size
    ),
    "histology128": Origin(
        "Stained tissue, tiles by share of nuclei: BBBC038 / 2018 Data Science Bowl, stage 1 training images",
        "CC0",
        128,
        start="zoo:cytology3-64",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(ORIGINS))
    parser.add_argument("--data", help="folder of the originals (the IHC sample needs none)")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--work", type=Path, default=Path("build/zoo"))
    options = parser.parse_args()
    origin, bank = ORIGINS[options.name], options.work / options.name
    source = ["--sample", "ihc"] if options.name.startswith("ihc") else [options.data]
    command(bank, "ingest", *source, "--name", "set", "--size", str(origin.size))
    budget = ["--time-budget", f"{options.minutes:g}m"]
    name = f"{options.name}-{options.minutes:g}min"  # a longer run publishes beside what a shorter one has left
    trained = command(bank, "train", "set", "--init", origin.start, *budget, *origin.options, "--model-name", name)
    command(bank, "generate", name, "-n", "256")
    scores = [s for s in command(bank, "evaluate")["scores"] if s["class_name"] is None]
    folder = options.work / "pushed" / name
    command(bank, "models", "push", name, str(folder))
    card = json.loads((folder / "model.json").read_text())
    card |= {
        "name": options.name,
        "data": origin.data,
        "licence": origin.licence,
        "trained": {
            "machine": machine(),
            "minutes": round(trained["elapsed_sec"] / 60, 1),
            "images_seen": trained["images_seen"],
            "guard_events": trained["guard_events"],
        },
        "scores": {
            s["metric"]: {k: s[k] for k in ("value", "low", "high", "floor", "n_real", "n_fake")}
            for s in scores
            if s["metric"].startswith(_SCORES)
        },
    }
    pack(folder, card)
    print(json.dumps(card["scores"], indent=2))


def pack(folder: Path, card: dict[str, Any]) -> None:
    """Write a pushed model as the packages hold it."""
    discriminator = load_tensors((folder / DISCRIMINATOR).read_bytes())
    half = {k: t.half() if t.is_floating_point() else t for k, t in discriminator.items()}
    files = {
        GENERATOR: (folder / GENERATOR).read_bytes(),
        SCREEN: load_gate((folder / SCREEN).read_bytes()).to_bytes(eight_bits=True),
    }
    whole = {**files, DISCRIMINATOR: save_tensors(half)}
    card |= {"screen_sha256": bytes_sha256(files[SCREEN]), "discriminator_sha256": bytes_sha256(whole[DISCRIMINATOR])}
    if card["name"] == IN_CORE:
        _write(CORE / IN_CORE, files, {k: v for k, v in card.items() if k != "discriminator_sha256"})
        whole = {DISCRIMINATOR: whole[DISCRIMINATOR]}
    _write(ZOO / card["name"], whole, card)


def _write(folder: Path, files: dict[str, bytes], card: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
