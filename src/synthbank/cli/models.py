"""`models`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer
import yaml

from synthbank.cli.options import BankOption, JsonOption
from synthbank.cli.output import at_bank, opened, say, say_json, say_table, talk


def register(app: typer.Typer) -> None:
    """Add the group `models`."""
    models = typer.Typer(help="Published models.", no_args_is_help=True)
    models.command("ls")(models_ls)
    models.command("show")(models_show)
    models.command("pull")(models_pull)
    models.command("push")(models_push)
    app.add_typer(models, name="models")


def models_ls(
    zoo: Annotated[bool, typer.Option("--zoo", help="The models that come with SynthBank.")] = False,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """List published models, or with --zoo those that come with SynthBank."""
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
    from synthbank.workflows.models.zoo import HOW_TO_INSTALL, ZOO_PACKAGE, missing_zoo_names, zoo_cards

    cards, missing = zoo_cards(), missing_zoo_names()
    if missing:
        talk(f"The package {ZOO_PACKAGE} is not installed; it adds {', '.join(missing)}: {HOW_TO_INSTALL}")
    if json:
        say_json({name: card.to_json() for name, card in cards.items()})
        return
    rows = [
        (f"zoo:{n}", c.spec["architecture"], c.spec["size"], ", ".join(c.spec["class_names"]), c.licence)
        for n, c in cards.items()
    ]
    say_table("models that come with SynthBank", ("name", "architecture", "size", "classes", "licence"), rows)


def models_show(
    name: Annotated[str, typer.Argument(help="A model of the bank, or zoo:NAME.")],
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Show the card of a model."""
    from synthbank.catalogue import queries
    from synthbank.workflows.models.transfer import read_package
    from synthbank.workflows.models.zoo import ZOO

    if name.startswith(ZOO):
        card = read_package(name).card.to_json()
        say_json(card) if json else say(_as_yaml(card))
        return
    with opened(bank_path, create=False) as bank, bank.catalogue.session() as session:
        row = queries.get_model(name, session=session)
    say_json(row) if json else say(_as_yaml(row.card))


def _as_yaml(card: Mapping[str, object]) -> str:
    return yaml.safe_dump(dict(card), sort_keys=False, allow_unicode=True).rstrip()


def models_pull(
    source: Annotated[str, typer.Argument(help="zoo:NAME, or the folder or URL of a pushed model.")],
    name: Annotated[str | None, typer.Option(help="Its name in this bank (default: its own).")] = None,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Import a model into the bank, ready to generate; every file is checked against its hash."""
    from synthbank.workflows.models.transfer import import_model

    with opened(bank_path) as bank:
        row = import_model(bank, source, name=name)
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

    The screen holds small grey descriptors of the training originals: share it only with those who may see them.
    """
    from synthbank.workflows.models.transfer import push

    with opened(bank_path, create=False) as bank:
        files = push(bank, name, target)
    if json:
        say_json({"target": target, "files": files})
        return
    say(f"{len(files)} files in {target}: {', '.join(files)}")
