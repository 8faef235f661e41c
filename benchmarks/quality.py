"""Models x sets x sizes x seeds at equal wall-clock, every one through the same public commands.

    python benchmarks/quality.py --data FOLDER [--models auto,sagan] [--minutes 5] [--seeds 0,1,2] [--size 64]
        [--encoder encoder.pt]

FOLDER holds `train/CLASS/*.png` and `test/CLASS/*.png`, or is `sample:ihc`. Each cell is one bank under --work: ingest,
train for the given minutes, generate as many images as there are training originals, evaluate against the test
originals. A cell that is done is not run again, so repeat the command to resume. `auto` is `projected --preset
auto` from scratch (`--init none`), `auto-start` the same with the initial weights that it takes where nobody says
otherwise; every other name is an architecture with its `quick` preset, or `NAME:PRESET`. With `--match SHARE` every
model is asked for as many images again with that option of `generate`, for a line of their own. `--encoder` adds a
scoring network of another family, which `encoder.py` trains. Prints a table; writes JSON, curves of the snapshots' KID
against time, and a sheet of samples of every model.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import write_json
from PIL import Image, ImageDraw, ImageFont

from synthbank.models import AdversarialArchitecture, ModelSpec, architectures, count_parameters
from synthbank.records import ModelCard

_TITLE = 30
LEADING = (
    "kid-lite1",
    "fd-lite1",
    "precision-lite1",
    "recall-lite1",
    "coverage-lite1",
    "copy-rate-lite1",
    "kid-lite0",
    "kid-enc",
    "recall-enc",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--name", default="quality")
    parser.add_argument("--models", default="auto,sagan")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--match", type=float)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build/quality"))
    options = parser.parse_args()
    cells = [
        cell(options, model, int(seed)) for seed in options.seeds.split(",") for model in options.models.split(",")
    ]
    label = f"quality-{options.name}-{options.size}-{options.minutes:g}min"
    show(cells)
    draw_curves(cells, options.work / f"{label}.png")
    draw_samples(cells, options.work, options.work / f"{label}-samples.png")
    print("written", write_json(label, {"minutes": options.minutes, "size": options.size, "cells": cells}))


def cell(options: argparse.Namespace, model: str, seed: int) -> dict[str, Any]:
    """One model on one set with one seed; read from its folder where it was run before."""
    name = f"{options.name}-{options.size}-{options.minutes:g}min-{model.replace(':', '-')}-s{seed}"
    folder = options.work / name
    done = folder / "result.json"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        done.write_text(json.dumps(run(options, folder / "bank", model, seed), indent=2))
    return json.loads(done.read_text())


def run(options: argparse.Namespace, bank: Path, model: str, seed: int) -> dict[str, Any]:
    """Ingest, train, generate, evaluate."""
    is_auto = model in ("auto", "auto-start")
    architecture, preset = ("projected", "auto") if is_auto else (*model.split(":"), "quick")[:2]
    source = ["--sample", "ihc"] if options.data == "sample:ihc" else [options.data]
    ingested = command(bank, "ingest", *source, "--name", "set", "--size", str(options.size))
    budget = ["--time-budget", f"{options.minutes * 60:g}s", "--seed", str(seed)]
    if model == "auto":
        budget += ["--init", "none"]
    start = time.perf_counter()
    training = ["train", "set", "--model", architecture, "--preset", preset, *budget, "--model-name", "m"]
    trained, peak_mib = measured(bank, *training)
    train_sec = time.perf_counter() - start
    per_class = [counts["train"] for counts in ingested["counts"].values()]
    asked = ["generate", "m", "-n", str(round(statistics.mean(per_class)))]
    generated = command(bank, *asked)
    evaluation = ["evaluate", *(["--encoder", str(options.encoder)] if options.encoder else [])]
    scores = overall(command(bank, *evaluation)["scores"])
    matched = None
    if options.match:
        command(bank, *asked, "--match", str(options.match))
        matched = overall(command(bank, *evaluation)["scores"])
    history = [json.loads(line) for line in (Path(trained["run_dir"]) / "history.jsonl").read_text().splitlines()]
    return {
        "model": model,
        "seed": seed,
        "steps": trained["steps"],
        "images_seen": trained["images_seen"],
        "train_sec": train_sec,
        "images_per_sec": trained["images_seen"] / trained["elapsed_sec"],
        "peak_mib": peak_mib,
        "parameters": parameters(ModelSpec.from_json(ModelCard.from_json(trained["model"]["card"]).spec)),
        "generated_per_sec": generated["n_new"] / generated["seconds"],
        "guard_events": trained["guard_events"],
        "rejected": generated["rejected"],
        "curve": [(e["elapsed_sec"], e["values"]["kid"]) for e in history if e["kind"] == "snapshot"],
        "scores": scores,
        "matched": matched,
        "sample": str(max((Path(trained["run_dir"]) / "grids").glob("*.png")).relative_to(options.work)),
    }


def overall(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scores of all classes together."""
    return [s for s in scores if s["class_name"] is None]


def parameters(spec: ModelSpec) -> dict[str, int]:
    """Values that training changes, of each player."""
    architecture = architectures.get(spec.architecture)
    counts = {"generator": count_parameters(architecture.generator(spec))}
    if isinstance(architecture, AdversarialArchitecture):
        counts["discriminator"] = count_parameters(architecture.discriminator(spec))
    return counts


def command(bank: Path, *words: str) -> Any:
    """One public command; its JSON."""
    return measured(bank, *words)[0]


def measured(bank: Path, *words: str) -> tuple[Any, float]:
    """One public command: its JSON, and the most memory that its process held, in MiB."""
    line = [sys.executable, "-m", "synthbank", *words, "--bank", str(bank), "--json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, line)
    return json.loads(said), usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def show(cells: list[dict[str, Any]]) -> None:
    """Mean over seeds, one line a model."""
    names = [n for n in LEADING if any(s["metric"].startswith(n) for s in cells[0]["scores"])]
    print("model".ljust(16), *(n.rjust(16) for n in names), "images/s   peak MiB  parameters (G, D), millions")
    for model in dict.fromkeys(c["model"] for c in cells):
        of_model = [c for c in cells if c["model"] == model]
        rate = statistics.mean(c["images_per_sec"] for c in of_model)
        peak = max(c["peak_mib"] for c in of_model)
        sizes = ", ".join(f"{n / 1e6:.2f}" for n in of_model[0]["parameters"].values())
        for kind, words in (("scores", model), ("matched", f"{model}, matched")):
            if all(c.get(kind) for c in of_model):
                means = [statistics.mean(value(c[kind], n) for c in of_model) for n in names]
                print(words.ljust(16), *(f"{m:16.3g}" for m in means), f"{rate:8.1f} {peak:10.0f}  {sizes}")
    first = cells[0]["scores"]
    floors = [next(s["floor"] for s in first if s["metric"].startswith(n)) for n in names]
    print("real vs real".ljust(16), *("-".rjust(16) if f is None else f"{f:16.3g}" for f in floors))


def value(scores: list[dict[str, Any]], name: str) -> float:
    """The value of the metric whose id starts with `name`."""
    return next(s["value"] for s in scores if s["metric"].startswith(name))


def draw_curves(cells: list[dict[str, Any]], path: Path) -> None:
    """KID of the snapshots (validation originals) against training time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    models = list(dict.fromkeys(c["model"] for c in cells))
    for c in cells:
        seconds, kid = zip(*c["curve"], strict=True)
        first = c is next(d for d in cells if d["model"] == c["model"])
        axes.plot(
            np.array(seconds) / 60,
            kid,
            color=f"C{models.index(c['model'])}",
            marker="o",
            ms=3,
            label=c["model"] if first else None,
        )
    axes.set(xlabel="minutes of training", ylabel="KID (Lite1) x 1000, validation", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


def draw_samples(cells: list[dict[str, Any]], work: Path, path: Path) -> None:
    """The last sample grid of the first seed of every model, one below the other; they lie below `work`."""
    sheets: dict[str, Image.Image] = {}
    for c in cells:
        sheets.setdefault(c["model"], Image.open(work / c["sample"]).convert("RGB"))
    size = max(s.width for s in sheets.values()), sum(s.height + _TITLE for s in sheets.values())
    sheet = Image.new("RGB", size, "white")
    y = 0
    for model, s in sheets.items():
        ImageDraw.Draw(sheet).text((8, y + 6), model, "black", ImageFont.load_default(16))
        sheet.paste(s, (0, y + _TITLE))
        y += s.height + _TITLE
    sheet.save(path)


if __name__ == "__main__":
    main()
