"""Groups of options: one dataclass in place of many parameters of a command."""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from synthbank import cli
from synthbank.cli.options import grouped


@dataclass(frozen=True)
class Machine:
    kind: Annotated[str, typer.Option("--machine", help="Its kind.")] = "small"
    count: Annotated[int, typer.Option(min=1)] = 1


def _run(*words):
    app = typer.Typer()
    received = []

    def train(name: str, on: Machine, *, quick: bool = False) -> None:
        received.append((name, on, quick))

    def deploy(name: str, on: Machine = Machine("large", 2)) -> None:
        received.append((name, on))

    app.command()(grouped(train))
    app.command()(grouped(deploy))
    result = CliRunner().invoke(app, words)
    return result, received


def test_a_group_is_made_of_its_options():
    result, received = _run("train", "cells", "--machine", "large", "--count", "3", "--quick")
    assert result.exit_code == 0, result.output
    assert received == [("cells", Machine("large", 3), True)]


def test_a_group_has_the_defaults_of_its_fields_or_those_that_the_command_gives():
    assert _run("train", "cells")[1] == [("cells", Machine("small", 1), False)]
    assert _run("deploy", "cells")[1] == [("cells", Machine("large", 2))]
    assert _run("deploy", "cells", "--count", "1")[1] == [("cells", Machine("large", 1))]


def test_a_field_without_a_default_is_a_required_option():
    @dataclass(frozen=True)
    class Place:
        project: Annotated[str, typer.Option()]

    received = []

    def init(place: Place) -> None:
        received.append(place)

    app = typer.Typer()
    app.command()(grouped(init))
    assert "--project" in CliRunner().invoke(app, []).output
    assert CliRunner().invoke(app, ["--project", "p"]).exit_code == 0
    assert received == [Place("p")]


def test_options_of_a_group_are_checked_and_listed_as_others_are():
    assert _run("train", "cells", "--count", "0")[0].exit_code == 2
    shown = _run("train", "--help")[0].output
    assert "--machine" in shown
    assert "Its kind." in shown
    assert "default: small" in shown


@pytest.mark.parametrize("path", sorted(Path(cli.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_no_command_takes_more_than_eight_parameters_and_workflows_keep_their_names(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert len(node.args.args + node.args.kwonlyargs) <= 8, node.name
        if isinstance(node, ast.ImportFrom):
            assert "work" not in {alias.asname for alias in node.names}, ast.unparse(node)
