"""The whole way of an image, from files to a report; every step is safe to repeat, so a run can be resumed anywhere."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthbank.config import TrainConfig
from synthbank.data import DEFAULT_SHARES, IngestOptions
from synthbank.errors import OptionError
from synthbank.models import architectures, count_parameters
from synthbank.records import Split, TrainEvent
from synthbank.settings import Settings
from synthbank.workflows.bank import Bank, open_bank
from synthbank.workflows.data.datasets import load_split
from synthbank.workflows.data.expand import expand
from synthbank.workflows.data.ingest import IngestReport, ingest
from synthbank.workflows.evaluation.bias import bias
from synthbank.workflows.evaluation.evaluate import EvaluateReport, evaluate
from synthbank.workflows.evaluation.report import write_report
from synthbank.workflows.evaluation.requests import BiasRequest, EvaluateRequest, ReportRequest
from synthbank.workflows.evaluation.sets import check_test_originals
from synthbank.workflows.generation.generate import GenerateReport, GenerateRequest, generate
from synthbank.workflows.models.transfer import import_model
from synthbank.workflows.training.configure import Resolved, configure
from synthbank.workflows.training.launch import processes
from synthbank.workflows.training.requests import TrainReport, TrainRequest
from synthbank.workflows.training.run import spec_of
from synthbank.workflows.training.speed import fastest, run_images_per_sec
from synthbank.workflows.training.train import train

TrainingLine = AbstractContextManager[Callable[[TrainEvent], None]]


@dataclass(frozen=True)
class RunRequest:
    """Everything from a folder of images to a report, as a user asks for it.

    Raises:
        OptionError: no image is asked for.
    """

    source: str
    """Folder, archive or URL of the originals, or `sample:NAME`."""
    n: int
    """Accepted images of each class."""
    training: TrainRequest
    """The training; its data set is made from the source."""
    ingest_options: IngestOptions = field(default_factory=IngestOptions)
    shares: tuple[float, float, float] = DEFAULT_SHARES
    """Of originals for train, validation and test."""
    seed: int = 0
    """Of the split, the images and the scores; training has a seed of its own."""
    trained_model: str | None = None
    """A model to pull (`zoo:NAME`, folder or URL) in place of training one; it must come from the same images."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise OptionError("There must be at least one image of each class", got=self.n, allowed="1 or more")


@dataclass(frozen=True)
class RunResult:
    """The reports of all steps."""

    bank: Path
    ingested: IngestReport
    trained: TrainReport | None
    """`None`: the model was pulled."""
    generated: GenerateReport
    evaluated: EvaluateReport
    report: Path
    stage_seconds: dict[str, float]

    def summary(self) -> dict[str, Any]:
        """The one JSON object of `--json`."""
        return {
            "report": str(self.report),
            "bank": str(self.bank),
            "dataset": self.ingested.dataset.name,
            "model": self.generated.job.model_id,
            "job": self.generated.job.id,
            "counts": {
                "originals": self.ingested.counts,
                "accepted": self.generated.accepted,
                "rejected": self.generated.rejected,
            },
            "guard_events": self.trained.guard_events if self.trained else (),
            "chosen_by": self.trained.chosen_by if self.trained else None,
            "shortfall": self.trained.shortfall if self.trained else None,
            "scores": self.evaluated.scores,
            "seconds": self.stage_seconds,
        }


def run(
    bank: Bank,
    request: RunRequest,
    *,
    on_stage: Callable[[str], None] = lambda name: None,
    on_ingested: Callable[[IngestReport], None] = lambda report: None,
    training_line: Callable[[Resolved], TrainingLine] = lambda resolved: nullcontext(lambda event: None),
) -> RunResult:
    """Ingest, split, expand, train (or pull a trained model), generate, evaluate and report.

    Args:
        bank: where everything goes.
        request: see `RunRequest`.
        on_stage: called with the name of each stage as it begins.
        on_ingested: called with the originals' report, before anything takes long.
        training_line: makes, from the configuration and its reasons, the listener of the training's events.
    """
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        on_stage(name)
        start = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - start

    with stage("ingest"):
        ingested = _ingest(bank, request)
        on_ingested(ingested)
        _check_test(ingested)
    trained = None
    if request.trained_model is None:
        with stage("expand"):
            expand(bank, request.training.dataset)
        with stage("train"):
            resolved = configure(bank, request.training)
            with training_line(resolved) as listen:
                trained = train(bank, request.training.resolved(resolved.config), on_event=listen)
        model = trained.model
        assert model is not None
    else:
        with stage("pull"):
            model = import_model(bank, request.trained_model)
    with stage("generate"):
        generated = generate(bank, GenerateRequest(model.id, request.n, seed=request.seed))
    with stage("evaluate"):
        evaluated = evaluate(bank, EvaluateRequest(generated.job.id, seed=request.seed))
        if all(generated.accepted.get(name) for name in evaluated.dataset.class_names):
            bias(bank, BiasRequest(generated.job.id, seed=request.seed))
    with stage("report"):
        path = write_report(bank, ReportRequest(generated.job.id, stage_seconds=seconds))
    return RunResult(bank.settings.home, ingested, trained, generated, evaluated, path, seconds)


@dataclass(frozen=True)
class Plan:
    """The plan of a run: its configuration, time, memory and disk."""

    ingested: IngestReport
    config: TrainConfig
    estimates: dict[str, str]


def plan(request: RunRequest) -> Plan:
    """Read the source into a throw-away bank, resolve the configuration, and probe the machine for estimates."""
    with tempfile.TemporaryDirectory() as folder, open_bank(_throw_away(Path(folder))) as bank:
        ingested = _ingest(bank, request)
        _check_test(ingested)
        config = configure(bank, request.training).config
        train_images = load_split(bank, ingested.dataset, Split.TRAIN).images
        spec = spec_of(ingested.dataset, config, ingested.dataset.class_names)
        wanted = processes(request.training.device)
        speed = fastest(config, spec=spec, images=train_images, wanted=wanted)
        config = speed.config
        rate, threads = run_images_per_sec(config, spec=spec, images=train_images, wanted=wanted)
        with torch.random.fork_rng(devices=[]):
            generator = architectures.get(config.architecture).generator(spec)
    images = request.n * len(ingested.dataset.class_names)
    raw_mb = images * spec.channels * spec.size**2 / 2**20
    seconds = config.time_budget_sec or (config.steps or 0) * config.batch_size / rate
    return Plan(
        ingested,
        config,
        {
            "training speed": f"{rate:.0f} images/s on {threads} threads",
            "training time": f"{seconds / 60:.1f} minutes, {seconds * rate:.0f} images seen",
            "synthetic images": f"{images} accepted",
            "disk": f"{raw_mb * 0.9 + count_parameters(generator) * 4 * 22 / 2**20:.0f} MB",
            "memory": f"{1200 + np.prod(train_images.images.shape) * 5 / 2**20:.0f} MB",
        },
    )


def _throw_away(folder: Path) -> Settings:
    """Nothing goes to where the environment points."""
    return Settings(home=folder, database_url=None, storage_url=None, runs=None)


def _ingest(bank: Bank, request: RunRequest) -> IngestReport:
    return ingest(
        bank,
        request.source,
        name=request.training.dataset,
        options=request.ingest_options,
        shares=request.shares,
        seed=request.seed,
    )


def _check_test(ingested: IngestReport) -> None:
    """Before the training, and not after it."""
    check_test_originals(ingested.dataset.name, sum(counts[Split.TEST] for counts in ingested.counts.values()))
