"""Options that commands share: single ones, and groups that a command takes as one dataclass."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

BankOption = Annotated[
    Path | None, typer.Option("--bank", help="Folder of the bank (default: SYNTHBANK_HOME, else ./bank).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
OnOption = Annotated[
    str | None, typer.Option("--on", help="Cluster to work on: ray, or ray:ADDRESS (default: this process).")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command for Typer, in which each parameter that is a dataclass is replaced by the fields of that dataclass.

    Typer reads options from the signature of a function. The signature of the result has one option for each field of a
    group, declared as the field is; a default of the parameter, an instance, gives the defaults of its fields.

    Args:
        command: its groups are frozen dataclasses whose fields are annotated as Typer's options are.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            groups[parameter.name] = kind
            parameters += _options(kind, parameter.default)
        else:
            # by keyword only: options without a default may then follow others
            parameters.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def run(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in dataclasses.fields(kind)})
        command(**values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options(kind: type[Any], default: Any) -> list[inspect.Parameter]:
    """One parameter for each field of a group."""
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default_of(field) if default is inspect.Parameter.empty else getattr(default, field.name),
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(kind)
    ]


def _default_of(field: dataclasses.Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
