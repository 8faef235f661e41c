"""`doctor`: check the machine and the bank."""

from __future__ import annotations

import typer

from synthbank.cli.options import BankOption, JsonOption
from synthbank.cli.output import say, say_json, say_table


def register(app: typer.Typer) -> None:
    """Add `doctor`."""
    app.command()(doctor)


def doctor(bank_path: BankOption = None, json: JsonOption = False) -> None:
    """Check Python, torch, feature networks, disk, memory and the bank; exit code 1 if something is broken."""
    from synthbank.settings import Settings
    from synthbank.workflows.maintenance.doctor import examine

    findings = examine(Settings() if bank_path is None else Settings(home=bank_path))
    broken = [f for f in findings if f.state == "broken"]
    if json:
        say_json({"sound": not broken, "findings": findings})
    else:
        say_table("this machine", ("what", "state", "found"), [(f.what, f.state, f.found) for f in findings])
        say("ready" if not broken else f"{len(broken)} broken")
    if broken:
        raise typer.Exit(1)
