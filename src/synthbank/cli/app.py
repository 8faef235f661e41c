"""The `synthbank` command: its groups, and the one place where errors become exit codes."""

from __future__ import annotations

import platform
import sys
import warnings
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typing_extensions import override

from synthbank import __version__
from synthbank.cli import (
    catalogue,
    cloud,
    data,
    doctor,
    evaluate,
    export,
    generate,
    models,
    reader,
    run,
    service,
    train,
)
from synthbank.cli.output import at_bank, escaped, talk
from synthbank.errors import (
    AccessError,
    BusyError,
    InputError,
    IntegrityError,
    OptionError,
    SetupError,
    StateError,
    SynthBankError,
)

_INTERRUPTED = 130


class _Commands(TyperGroup):
    """All commands. Typer itself would end one at Ctrl-C without a message."""

    @override
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            talk("interrupted; repeat the command to resume")
            raise typer.Exit(_INTERRUPTED) from None


app = typer.Typer(
    name="synthbank",
    cls=_Commands,
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
def _root(
    context: typer.Context, version: bool = typer.Option(False, "--version", callback=_version, is_eager=True)
) -> None:
    """Turn a small folder of labelled biomedical images into an artificial database."""
    if platform.system() == "Windows" and context.invoked_subcommand != "doctor":
        from synthbank.workflows.bank import UntestedSystemWarning, untested_system

        warnings.simplefilter("ignore", UntestedSystemWarning)
        talk(f"warning: {untested_system()}")


for module in (run, data, train, models, generate, export, evaluate, reader, catalogue, service, cloud, doctor):
    module.register(app)


def main() -> None:
    """Run the command line.

    Exit codes: 0 done; 1 a problem of the bank, the machine or a server, or a check that failed; 2 the command asks for
    something that cannot be; 130 interrupted.
    """
    try:
        app()
    except SynthBankError as error:
        _fail(error)
    except OSError as error:
        _fail(_setup_error(error))


def exit_code(error: SynthBankError) -> int:
    """2 where another command line would work: other options, names or files, or another step first. Otherwise 1."""
    if isinstance(error, IntegrityError | BusyError):
        return 1
    return 2 if isinstance(error, InputError | OptionError | StateError | AccessError) else 1


def _fail(error: SynthBankError) -> NoReturn:
    talk(f"[bold red]error:[/] {escaped(at_bank(error.message, error.facts.get('bank')))}")
    sys.exit(exit_code(error))


def _setup_error(error: OSError) -> SetupError:
    """An error of the system that no room has translated, with its path and reason."""
    path = error.filename2 or error.filename
    return SetupError(
        "The system refused to read or write",
        got=f"{path}: {error.strerror}" if path is not None else str(error) or type(error).__name__,
        next_step="check the path, its permissions, free space and the connection, then run the same command again",
    )
