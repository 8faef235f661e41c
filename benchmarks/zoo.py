"""Trains the models that come with the package, and writes their cards.

    python benchmarks/zoo.py ihc-64 [--minutes 20]
    python benchmarks/zoo.py cytology3-64 --data ../shared/data/cytology3 [--minutes 20]

Ingests, trains with `--preset auto`, generates and evaluates through the public commands, and pushes the model into
`src/synthbank/zoo/NAME`. An interrupted training goes on with the same command, and one that is done goes on with more
--minutes. The card says on which machine it was trained, for how long, on what, and how it scores on the held-out
originals.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from machine import machine
from quality import command

ZOO = Path(__file__).parents[1] / "src" / "synthbank" / "zoo"
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
    folder = ZOO / options.name
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
    (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card["scores"], indent=2))


if __name__ == "__main__":
    main()
