"""The `synthbank` command: groups, and the one place where errors become exit codes."""

from __future__ import annotations

import sys

import typer

from synthbank import __version__
from synthbank.cli import bank, cloud, data, doctor, images, judge, models, reader, run, service
from synthbank.cli.output import talk
from synthbank.errors import SynthBankError

app = typer.Typer(
    name="synthbank",
    help="Turn a small folder of labelled biomedical images into a catalogued, screened artificial database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True)) -> None:
    """Turn a small folder of labelled biomedical images into an artificial database."""


for module in (run, data, models, images, judge, reader, bank, service, cloud, doctor):
    module.register(app)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 something is wrong with the bank, 2 wrong use, 130 interrupted."""
    try:
        app()
    except SynthBankError as error:
        talk(f"[bold red]error:[/] {_escape(error.message)}")
        sys.exit(2)
    except KeyboardInterrupt:
        talk("interrupted; the same command goes on from here")
        sys.exit(130)


def _escape(text: str) -> str:
    return text.replace("[", "\\[")
