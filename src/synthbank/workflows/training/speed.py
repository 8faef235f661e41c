"""The precision and memory layout that train fastest on this machine: measured with real steps, not guessed."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from synthbank.config import LAYOUTS, PRECISIONS, TrainConfig
from synthbank.data import EpochSampler
from synthbank.models import ModelSpec
from synthbank.records import LabelledImages
from synthbank.training import BaseTrainer, make_trainer
from synthbank.workflows.training.launch import Processes
from synthbank.workflows.training.pace import ThreadTrial, measures_threads, threads

_CHOICES = {"precision": PRECISIONS, "layout": LAYOUTS}
_ROUNDS = 4
_PATIENCE_SEC, _PATIENCE_SHARE = 15.0, 0.05  # of the run's time budget
_HOPELESS = 2.0  # what takes this many times the quickest one's step is not tried again
_MARGIN = 1.05  # what is not faster than the first choice by this much is not worth leaving it


@dataclass(frozen=True)
class Fastest:
    """A configuration without "auto" in it, and what was measured for it."""

    config: TrainConfig
    images_per_sec: Mapping[str, float]
    """By precision and layout, on one thread, the chosen one first; empty: nothing was open, or it had been decided
    before."""
    seconds: float = 0.0
    """Time that measuring took; it counts in the run's budget."""


def fastest(
    config: TrainConfig, *, spec: ModelSpec, images: LabelledImages, wanted: Processes, run_dir: Path | None = None
) -> Fastest:
    """Decide what the configuration leaves to the machine.

    A resumed run keeps what it began with, wherever it resumes. Several processes do not measure, nor does a run of a
    fixed number of steps, which is meant to come out the same each time, nor one with too few images to train on: they
    take the first choices. On a CPU one thread measures: beside a busy core, more of them would time the other program.

    Args:
        config: `precision` and `layout` may be "auto".
        spec: what is trained.
        images: training originals.
        wanted: on what it trains.
        run_dir: folder of the run; its `config.json` holds what was decided before.
    """
    open_fields = [name for name in _CHOICES if getattr(config, name) == "auto"]
    if not open_fields:
        return Fastest(config, {})
    decided = None if run_dir is None else run_dir / "config.json"
    if decided is not None and decided.exists():
        before = json.loads(decided.read_text())
        return Fastest(dataclasses.replace(config, **{name: before[name] for name in open_fields}), {})
    candidates = []
    for values in product(*(_CHOICES[name] for name in open_fields)):
        decision: dict[str, Any] = dict(zip(open_fields, values, strict=True))
        candidates.append(dataclasses.replace(config, **decision))
    if wanted.count > 1 or config.steps is not None or len(images) < 2:
        return Fastest(candidates[0], {})
    began = time.perf_counter()
    with threads(1 if measures_threads(config, wanted) else None):
        rates = images_per_sec(candidates, spec=spec, images=images, wanted=wanted)
    seconds = time.perf_counter() - began
    best = max(range(len(rates)), key=lambda i: rates[i])
    chosen = best if rates[best] > _MARGIN * rates[0] else 0
    by_name = {f"{c.precision} {c.layout}": rate for c, rate in zip(candidates, rates, strict=False)}
    name = f"{candidates[chosen].precision} {candidates[chosen].layout}"
    return Fastest(candidates[chosen], {name: by_name.pop(name), **by_name}, seconds)


def images_per_sec(
    configs: list[TrainConfig], *, spec: ModelSpec, images: LabelledImages, wanted: Processes
) -> list[float]:
    """Training speed of each configuration on this machine, from a few real steps whose networks are thrown away.

    They take turns, and the quickest step of each counts, so that a busy moment does not decide. What is far behind
    after a step drops out: bf16 takes many times as long on a processor that has no instructions for it. On a slow
    machine the last configurations are left out: measuring takes a small share of the time budget, and half a minute
    at most.
    """
    patience_sec = min(_PATIENCE_SEC, _PATIENCE_SHARE * (configs[0].time_budget_sec or math.inf))
    begin = time.perf_counter()
    trainers: list[BaseTrainer] = []
    for config in configs:
        if trainers and time.perf_counter() - begin > patience_sec:
            break
        trainers.append(_trainer(config, spec, images, wanted))
        _step_sec(trainers[-1], 0)  # warms up
    begin = time.perf_counter()
    seconds: list[list[float]] = [[] for _ in trainers]
    racing = list(zip(trainers, seconds, strict=True))
    for step in range(1, 1 + _ROUNDS):
        for trainer, durations in racing:
            durations.append(_step_sec(trainer, step))
        quickest = min(min(d) for d in seconds)
        racing = [(trainer, d) for trainer, d in racing if min(d) < _HOPELESS * quickest]
        if time.perf_counter() - begin > patience_sec:
            break
    return [c.batch_size / min(d) for c, d in zip(configs, seconds, strict=False)]


def run_images_per_sec(
    config: TrainConfig, *, spec: ModelSpec, images: LabelledImages, wanted: Processes
) -> tuple[float, int]:
    """Training speed that a run of this configuration will have here, and the threads that it will have it with."""
    if not measures_threads(config, wanted):
        (rate,) = images_per_sec([config], spec=spec, images=images, wanted=wanted)
        return rate, torch.get_num_threads()
    with threads() as limit:
        trial, step = ThreadTrial(limit), 0
        torch.set_num_threads(1)
        trainer = _trainer(config, spec, images, wanted)
        while trial.threads is not None:
            torch.set_num_threads(trial.threads)
            trial.add(_step_sec(trainer, step))
            step += 1
    return config.batch_size / trial.step_sec[trial.best], trial.best


def _trainer(config: TrainConfig, spec: ModelSpec, images: LabelledImages, wanted: Processes) -> BaseTrainer:
    sampler = EpochSampler(images.labels, batch_size=config.batch_size, seed=0, balanced=config.balanced)
    return make_trainer(spec, config, train=images, sampler=sampler, fabric=wanted.launch(config.precision))


def _step_sec(trainer: BaseTrainer, step: int) -> float:
    start = time.perf_counter()
    metrics = trainer.step(step, progress=0.0)
    float(next(iter(metrics.values())))  # waits for the device
    return time.perf_counter() - start
