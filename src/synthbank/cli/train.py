"""`train`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from synthbank.cli.options import BankOption, DeviceOption, JsonOption, grouped
from synthbank.cli.output import TrainingLine, at_bank, opened, parse_duration, say, say_json, say_table, talk
from synthbank.config import preset_architectures

if TYPE_CHECKING:
    from synthbank.workflows.training.requests import TrainReport, TrainRequest


def register(app: typer.Typer) -> None:
    """Add `train`."""
    app.command()(grouped(train))


@dataclass(frozen=True)
class TrainFlags:
    """Options of training, which `train` and `run` share."""

    model: Annotated[str, typer.Option(help=f"Architecture: {', '.join(preset_architectures())}.")] = "projected"
    preset: Annotated[str, typer.Option(help="quick, paper or auto.")] = "auto"
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None
    time_budget: Annotated[str | None, typer.Option(help="Training time, such as 90s, 20m, 2h.")] = None
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn (default: 0).")] = None
    config: Annotated[Path | None, typer.Option(help="YAML file with options over the preset's.")] = None
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE over everything, repeatable.")] = None
    init: Annotated[
        str | None,
        typer.Option(
            help="Initial weights: zoo:NAME, a model of the bank, a folder or URL, or none (auto: its choice)."
        ),
    ] = None

    def to_request(self, dataset: str, *, device: str, model_name: str | None = None) -> TrainRequest:
        """The request of the workflow."""
        from synthbank.workflows.training.requests import TrainRequest

        return TrainRequest(
            dataset=dataset,
            architecture=self.model,
            preset=self.preset,
            steps=self.steps,
            time_budget_sec=parse_duration(self.time_budget),
            seed=self.seed,
            init=self.init,
            overrides=parse_assignments(self.set_),
            file=self.config,
            device=device,
            model_name=model_name,
        )


@dataclass(frozen=True)
class ProcessFlags:
    """Options that say where a training runs."""

    device: DeviceOption = "auto"
    devices: Annotated[
        int | None, typer.Option(help="Processes on each machine, one a device; they share each batch.")
    ] = None
    nodes: Annotated[int | None, typer.Option(help="Machines that run this command, each by torchrun.")] = None


def train(
    name: Annotated[str, typer.Argument(help="Name of the data set.")],
    flags: TrainFlags,
    processes: ProcessFlags,
    per_class: Annotated[bool, typer.Option(help="One model for each class, as in the paper.")] = False,
    model_name: Annotated[str | None, typer.Option(help="Name of the published model.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Print the resolved configuration and stop.")] = False,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Train a generator and publish its best snapshot. Repeat the command to resume a run that was cut off."""
    from synthbank.workflows.training.configure import configure
    from synthbank.workflows.training.launch import is_main_process
    from synthbank.workflows.training.train import train, train_per_class

    request = flags.to_request(name, device=processes.device, model_name=model_name)
    request = replace(request, devices=processes.devices, nodes=processes.nodes)
    with opened(bank_path, create=False) as bank:
        resolved = configure(bank, request)
        is_main = is_main_process()
        for reason in resolved.reasons if is_main else ():
            talk(f"  {reason}")
        if dry_run:
            say_json(resolved.config.to_json())
            return
        request = request.resolved(resolved.config)
        with TrainingLine(resolved.config, shown=is_main) as line:
            if per_class:
                reports = train_per_class(bank, request, on_event=line)
            else:
                reports = [train(bank, request, on_event=line)]
    if not is_main:
        return
    if json:
        say_json(reports if per_class else reports[0])
        return
    for report in reports:
        show_training(report, bank_path)


def show_training(report: TrainReport, bank_path: Path | None = None) -> None:
    """Print how a training run ended (`bank_path` `None`: the bank that is found without `--bank`)."""
    if report.model is None:
        say(f"run {report.run_id} stopped at step {report.steps}; repeat the command to resume")
        return
    rows = [(s.step, s.images_seen, s.scores["kid"], "chosen" if s.chosen else "") for s in report.snapshots]
    say_table(f"snapshots of {report.run_id}", ("step", "images seen", "KID x1000", ""), rows)
    say(f"chosen by {report.chosen_by}")
    say(f"model: {report.model.id}  ({report.images_seen} images in {report.elapsed_sec:.0f} s)")
    if report.shortfall is not None:
        say(at_bank(f"note: {report.shortfall.sentence}", bank_path))
    say(at_bank(f"next: synthbank generate {report.model.id} -n 2000", bank_path))


def parse_assignments(assignments: list[str] | None) -> dict[str, Any]:
    """`["lr_g=1e-4"]` to `{"lr_g": 1e-4}`; values are read as YAML."""
    values: dict[str, Any] = {}
    for text in assignments or []:
        key, mark, value = text.partition("=")
        if not mark:
            raise typer.BadParameter(f"'{text}' is not KEY=VALUE")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise typer.BadParameter(f"the value in '{text}' is not YAML, such as 0.1 or [a, b]") from error
        if parsed is None:  # which would leave the preset's value as it is, unsaid
            raise typer.BadParameter(f"'{text}' gives no value; leave it out to keep the preset's, [] is an empty list")
        try:
            values[key] = float(parsed) if isinstance(parsed, str) else parsed  # YAML reads 1e-4 as text
        except ValueError:
            values[key] = parsed
    return values
