"""The commands that make a report's data set, model and images again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from synthbank.catalogue import DatasetRow, JobRow, ModelRow
from synthbank.config import load_preset, option_defaults, presets, rename_old_options
from synthbank.records import JobRequest, ModelCard

_SEPARATE = ("architecture", "preset", "steps", "time_budget_sec", "seed")


def commands_again(
    job: JobRow, model: ModelRow, *, per_class: int, dataset: DatasetRow | None, expanded_to: int | None
) -> tuple[str, ...]:
    """Commands in order, one a line; what the bank does not know is missing.

    Args:
        job: the generation job.
        model: its model.
        per_class: accepted images a class.
        dataset: `None`: not in this bank, so ingest and training cannot be repeated from here.
        expanded_to: originals and copies of the expansion; `None`: no expansion.
    """
    lines = []
    if dataset is not None:
        lines.append(_ingest(dataset))
        if expanded_to is not None:
            lines.append(f"synthbank expand {dataset.name} --to {expanded_to}")
        lines.append(_train(dataset, model))
    generate = ["synthbank", "generate", model.id, "-n", str(per_class), "--seed", str(job.seed)]
    request = JobRequest.from_json(job.request)
    generate += ["--truncation", f"{request.truncation:g}"] if request.truncation != 1.0 else []
    generate += [] if job.screened else ["--no-screen"]
    if request.selection is not None:
        generate += [f"--{request.selection.option}", f"{request.selection.share:g}"]
    return (*lines, shlex.join(generate), f"synthbank evaluate {job.id}", f"synthbank report {job.id}")


def _ingest(dataset: DatasetRow) -> str:
    options, source = dataset.options, dataset.source or ""
    words = ["synthbank", "ingest"]
    if source.startswith("sample "):
        words += ["--sample", source.removeprefix("sample ").split(":")[0]]
    else:
        words.append(f"path/to/{source.split(' ')[-1] or dataset.name}")
    words += ["--name", dataset.name, "--size", str(dataset.size)]
    words += ["--fit", str(options["fit"])] if "fit" in options else []
    words += ["--group-by", str(options["group_by"])] if options.get("group_by") else []
    words += ["--ungrouped", str(options["ungrouped"])] if options.get("ungrouped") else []
    near = options.get("near_duplicates") or ("join" if options.get("keep_near_duplicates", True) else "drop")
    words += ["--near-duplicates", str(near)] if near != "join" else []
    words += ["--channels", str(options["channels"])] if options.get("channels") else []
    if options.get("shares"):
        words += ["--split", "/".join(f"{100 * share:g}" for share in options["shares"])]
    words += ["--seed", str(options["split_seed"])] if "split_seed" in options else []
    return shlex.join(words)


def _train(dataset: DatasetRow, model: ModelRow) -> str:
    per_class = set(model.class_names) != set(dataset.class_names)
    name = None if model.id == model.run_id or per_class else model.id
    config = {"architecture": model.architecture, **ModelCard.from_json(model.card).training}
    return train_command(dataset.name, config, per_class=per_class, model_name=name)


def train_command(
    dataset: str, config: Mapping[str, Any], *, per_class: bool = False, model_name: str | None = None
) -> str:
    """The command line of a training.

    Args:
        dataset: its name.
        config: as of `TrainConfig.to_json`, of this version or an earlier one.
        per_class: one model for each class.
        model_name: of the published model; `None`: named after the run.
    """
    architecture = str(config["architecture"])
    words = ["synthbank", "train", dataset, "--model", architecture]
    preset = str(config.get("preset", ""))
    known = preset in presets()
    words += ["--preset", preset.removeprefix(f"{architecture}-")] if known else []
    words += ["--steps", str(config["steps"])] if config.get("steps") else []
    words += ["--time-budget", f"{config['time_budget_sec']:g}s"] if config.get("time_budget_sec") else []
    words += ["--seed", str(config.get("seed", 0))]
    for name, value in _choices(config, load_preset(preset) if known else {}).items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    words += ["--per-class"] if per_class else []
    words += ["--model-name", model_name] if model_name is not None else []
    return shlex.join(words)


def _choices(config: Mapping[str, object], preset: Mapping[str, object]) -> dict[str, object]:
    """Options that differ from what the preset alone would give."""
    usual = option_defaults() | dict(preset)
    options = {k: list(v) if isinstance(v, tuple) else v for k, v in usual.items() if k not in _SEPARATE}
    if preset.get("architecture") == "projected" and config.get("init") == "none":
        options["lr_g"] = None  # always named: from scratch, the preset's own would be exchanged for a higher one
    return {k: v for k, v in rename_old_options(config).items() if k in options and v != options[k]}
