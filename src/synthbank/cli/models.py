"""`train` and `models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from synthbank.cli.output import (
    BankOption,
    DeviceOption,
    JsonOption,
    TrainingLine,
    at_bank,
    opened,
    parse_duration,
    say,
    say_json,
    say_table,
    talk,
)
from synthbank.config import preset_architectures


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(train)
    models = typer.Typer(help="Published models.", no_args_is_help=True)
    models.command("ls")(models_ls)
    models.command("show")(models_show)
    models.command("pull")(models_pull)
    models.command("push")(models_push)
    app.add_typer(models, name="models")


def train(
    name: Annotated[str, typer.Argument(help="Name of the data set.")],
    model: Annotated[str, typer.Option(help=f"Architecture: {', '.join(preset_architectures())}.")] = "projected",
    preset: Annotated[str, typer.Option(help="quick, paper or auto.")] = "auto",
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    time_budget: Annotated[str | None, typer.Option(help="Training time, such as 90s, 20m, 2h.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, batches and latents.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with options over the preset's.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE over everything, repeatable.")] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Start weights: zoo:NAME, a model of the bank, a folder or URL, or none (auto: its choice)."),
    ] = None,
    per_class: Annotated[bool, typer.Option(help="One model for each class, as in the paper.")] = False,
    model_name: Annotated[str | None, typer.Option(help="Name of the published model.")] = None,
    device: DeviceOption = "auto",
    devices: Annotated[
        int | None, typer.Option(help="Processes on each machine, one a device; they share each batch.")
    ] = None,
    nodes: Annotated[int | None, typer.Option(help="Machines that run this command, each by torchrun.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Print the resolved configuration and stop.")] = False,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Train a generator and publish its best snapshot. The same command resumes a run that was cut off."""
    from synthbank.workflows.training.configure import configure
    from synthbank.workflows.training.launch import is_first
    from synthbank.workflows.training.train import train as work
    from synthbank.workflows.training.train import train_per_class

    with opened(bank_path, create=False) as bank:
        overrides = parse_assignments(set_) | {
            "steps": steps,
            "time_budget_sec": parse_duration(time_budget),
            "seed": seed,
            "init": init,
        }
        resolved = configure(bank, name, architecture=model, preset=preset, file=config, overrides=overrides)
        first = is_first()
        for reason in resolved.reasons if first else ():
            talk(f"  {reason}")
        if dry_run:
            say_json(resolved.config.to_json())
            return
        with TrainingLine(resolved.config, shown=first) as line:
            run = train_per_class if per_class else work
            reports = run(
                bank,
                name,
                resolved.config,
                device=device,
                devices=devices,
                nodes=nodes,
                model_name=model_name,
                on_event=line,
            )
    if not first:
        return
    if json:
        say_json(reports)
        return
    for report in reports if isinstance(reports, list) else [reports]:
        show_training(report, bank_path)


def show_training(report: Any, bank_path: Path | None = None) -> None:
    """What a training run in a bank ended with (`None`: the bank that is found without `--bank`)."""
    if report.model is None:
        say(f"run {report.run_id} stopped at step {report.steps}; the same command resumes it")
        return
    rows = [(s.step, s.images_seen, s.scores["kid"], "chosen" if s.chosen else "") for s in report.snapshots]
    say_table(f"snapshots of {report.run_id}", ("step", "images seen", "KID x1000", ""), rows)
    say(f"model: {report.model.id}  ({report.images_seen} images in {report.elapsed_sec:.0f} s)")
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


def models_ls(
    zoo: Annotated[bool, typer.Option("--zoo", help="The models that come with the package.")] = False,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """List published models, or with --zoo those that come with the package."""
    from synthbank.catalogue import queries

    if zoo:
        _show_zoo(json)
        return
    with opened(bank_path, create=False) as bank, bank.catalogue.session() as session:
        rows = queries.list_models(session=session)
    if json:
        say_json(rows)
        return
    shown = [(m.id, m.architecture, m.size, ", ".join(m.class_names), m.status, m.created_at) for m in rows]
    say_table("models", ("name", "architecture", "size", "classes", "status", "made"), shown)


def _show_zoo(json: bool) -> None:
    from synthbank.workflows.models.transfer import zoo_cards

    cards = zoo_cards()
    if json:
        say_json(cards)
        return
    rows = [
        (f"zoo:{name}", c["spec"]["architecture"], c["spec"]["size"], ", ".join(c["spec"]["class_names"]), c["licence"])
        for name, c in cards.items()
    ]
    say_table("models that come with the package", ("name", "architecture", "size", "classes", "licence"), rows)


def models_show(
    name: Annotated[str, typer.Argument(help="A model of the bank, or zoo:NAME.")],
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Show the card of a model."""
    from synthbank.catalogue import queries
    from synthbank.workflows.models.transfer import ZOO, read_package

    if name.startswith(ZOO):
        card = read_package(name).card
        say_json(card) if json else say(_as_yaml(card))
        return
    with opened(bank_path, create=False) as bank, bank.catalogue.session() as session:
        row = queries.get_model(name, session=session)
    say_json(row) if json else say(_as_yaml(row.card))


def _as_yaml(card: Any) -> str:
    return yaml.safe_dump(card, sort_keys=False, allow_unicode=True).rstrip()


def models_pull(
    source: Annotated[str, typer.Argument(help="zoo:NAME, or the folder or URL of a pushed model.")],
    name: Annotated[str | None, typer.Option(help="Its name in this bank (default: its own).")] = None,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Enter a model into the bank, ready to generate; every file is checked against its hash."""
    from synthbank.workflows.models.transfer import pull

    with opened(bank_path) as bank:
        row = pull(bank, source, name=name)
    if json:
        say_json(row)
        return
    say(f"model: {row.id}  ({row.architecture}, {row.size} pixels, classes {', '.join(row.class_names)})")
    say(at_bank(f"next: synthbank generate {row.id} -n 2000", bank_path))


def models_push(
    name: Annotated[str, typer.Argument(help="A model of the bank.")],
    target: Annotated[str, typer.Argument(help="Folder or URL (gs://…, s3://…) to write it to.")],
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Write a model as a folder that pull and --init read: weights, screen and card.

    The screen holds small grey pictures of the training originals: whoever may not see them may not have it.
    """
    from synthbank.workflows.models.transfer import push

    with opened(bank_path, create=False) as bank:
        files = push(bank, name, target)
    if json:
        say_json({"target": target, "files": files})
        return
    say(f"{len(files)} files in {target}: {', '.join(files)}")
