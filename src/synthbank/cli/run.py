"""`demo` and `run`: everything, from a folder to a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthbank.cli.data import IngestFlags, show_ingest
from synthbank.cli.generate import show_generation
from synthbank.cli.options import BankOption, DeviceOption, JsonOption, grouped
from synthbank.cli.output import TrainingLine, clock, opened, parse_duration, say, say_json, say_scores, say_table, talk
from synthbank.cli.train import TrainFlags, show_training

if TYPE_CHECKING:
    from synthbank.workflows.run import RunRequest
    from synthbank.workflows.training.configure import Resolved


def register(app: typer.Typer) -> None:
    """Add `demo` and `run`."""
    app.command()(demo)
    app.command()(grouped(run))


def demo(
    n: Annotated[int, typer.Option("-n", "--number", help="Accepted images for each class.")] = 500,
    time_budget: Annotated[str, typer.Option(help="Training time, such as 90s, 20m, 2h.")] = "4m",
    init: Annotated[
        str | None, typer.Option(help="Initial weights: zoo:NAME, or none (default: those of --preset auto).")
    ] = None,
    from_zoo: Annotated[bool, typer.Option("--from-zoo", help="Use the model that comes with the package.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    device: DeviceOption = "auto",
    bank_path: Annotated[Path, typer.Option("--bank", help="Folder of the bank.")] = Path("demo-bank"),
    json: JsonOption = False,
) -> None:
    """The whole way on real immunohistochemistry images that come with the package.

    Training begins with weights that know blood cells, and no tissue; without the package that has them, from scratch.
    """
    from synthbank.workflows.models.zoo import ZOO, missing_zoo_names
    from synthbank.workflows.run import RunRequest
    from synthbank.workflows.training.configure import START
    from synthbank.workflows.training.requests import TrainRequest

    start = "none" if START.removeprefix(ZOO) in missing_zoo_names() else START
    training = TrainRequest(
        dataset="ihc",
        preset="quick",
        time_budget_sec=parse_duration(time_budget),
        seed=seed,
        init=init or start,
        device=device,
    )
    request = RunRequest("sample:ihc", n, training, seed=seed, trained_model="zoo:ihc-64" if from_zoo else None)
    _run_all(request, bank_path, json)


def run(
    source: Annotated[str, typer.Argument(help="Folder, .zip, .tar(.gz) or MedMNIST-style .npz, or a URL of one.")],
    originals: IngestFlags,
    training: TrainFlags,
    n: Annotated[int, typer.Option("-n", "--number", help="Accepted images for each class.")] = 2000,
    dry_run: Annotated[bool, typer.Option(help="Print counts, configuration and estimates, and stop.")] = False,
    device: DeviceOption = "auto",
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """The whole way on your own images: ingest, split, expand, train, generate, evaluate, report."""
    from synthbank.workflows.data.ingest import default_name, parse_shares
    from synthbank.workflows.run import RunRequest, plan

    seed = training.seed or 0
    request = RunRequest(
        source,
        n,
        replace(training.to_request(originals.name or default_name(source), device=device), seed=seed),
        ingest_options=originals.to_options(),
        shares=parse_shares(originals.split),
        seed=seed,
    )
    if not dry_run:
        _run_all(request, bank_path, json)
        return
    planned = plan(request)
    if json:
        say_json(planned)
        return
    show_ingest(planned.ingested)
    say_table("configuration", ("option", "value"), planned.config.to_json().items())
    say_table("estimates (measured by a short probe on this machine)", ("what", "about"), planned.estimates.items())


class _Talker:
    """Shows on stderr how the run goes."""

    def __init__(self) -> None:
        self._line: TrainingLine | None = None

    def stage(self, name: str) -> None:
        talk(f"[bold]{name}[/]")

    def training(self, resolved: Resolved) -> TrainingLine:
        for reason in resolved.reasons:
            talk(f"  {reason}")
        self._line = TrainingLine(resolved.config)
        return self._line


def _run_all(request: RunRequest, bank_path: Path | None, json: bool) -> None:
    from synthbank.workflows.run import run

    talker = _Talker()
    with opened(bank_path) as bank:
        result = run(
            bank,
            request,
            on_stage=talker.stage,
            on_ingested=(lambda report: None) if json else show_ingest,
            training_line=talker.training,
        )
    if json:
        say_json(result.summary())
        return
    if result.trained:
        show_training(result.trained, bank_path)
    show_generation(result.generated, bank_path)
    say_scores(result.evaluated.scores, title="scores against the test originals")
    say_table("time", ("stage", "min:s"), [(k, clock(v)) for k, v in result.stage_seconds.items()])
    say(f"bank:   {result.bank}")
    say(f"report: {result.report}")
