"""Output: results to stdout (a table or one JSON object), messages and progress to stderr."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from synthbank.errors import SynthBankError
from synthbank.records import Score, TrainEvent

if TYPE_CHECKING:
    from synthbank.config import TrainConfig
    from synthbank.workflows.bank import Bank

Json = dict[str, "Json"] | list["Json"] | str | int | float | None

_PIPE_WIDTH = 160  # tables in files and pipes are not squeezed
_stdout = Console(soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
_stderr = Console(stderr=True, soft_wrap=True)
_COMMAND = re.compile(r"\bsynthbank (?:(?:catalogue|keys|models|reader) )?(?!cloud\b)[a-z-]+")


def talk(message: str) -> None:
    """Print one line to stderr; rich markup is interpreted."""
    _stderr.print(message, highlight=False)


def say(message: str) -> None:
    """Print one line of result to stdout, without markup."""
    _stdout.print(message, highlight=False, markup=False)


def say_json(value: object) -> None:
    """Print one JSON object to stdout.

    Dataclasses become objects, times ISO 8601 texts, and NaN and infinities null.
    """
    typer.echo(json.dumps(_to_json(value), indent=2, ensure_ascii=False))


def say_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to stdout."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(escaped(_cell(v)) for v in row))
    _stdout.print(table)


def say_scores(scores: Sequence[Score], *, title: str) -> None:
    """Print scores of the leading network and of pixels in the report's order, with floor and image counts."""
    from synthbank.reports.scores import order_scores, parts_of, split_by_network

    shown, others = split_by_network(order_scores(scores))
    rows = [
        (
            f"{s.metric} {'↑' if s.higher_is_better else '↓'}",
            s.class_name or "all",
            "not computed" if s.value is None else f"{s.value:.3g}",
            "" if s.low is None or s.high is None else f"{s.low:.3g} … {s.high:.3g}",
            "" if s.floor is None else f"{s.floor:.3g}",
            f"{s.n_real} / {s.n_fake}",
        )
        for s in shown
    ]
    say_table(title, ("metric", "class", "value", "95% interval", "real vs real", "n real / fake"), rows)
    for note in sorted({s.note for s in shown if s.note and s.class_name is None}):
        talk(f"note: {note}")
    if others:
        spaces = sorted({parts_of(s.metric)[1] for s in others})
        talk(f"note: {len(others)} more scores ({', '.join(spaces)}) with --json and in the report")


@contextmanager
def opened(bank_path: Path | None, *, create: bool = True) -> Iterator[Bank]:
    """The open bank that the options and the environment name; closed at the end.

    Args:
        bank_path: its folder; `None`: as SYNTHBANK_HOME says, else ./bank.
        create: make a bank that is not there; `False`: `NotFoundError`.
    """
    from synthbank.settings import Settings
    from synthbank.workflows.bank import open_bank

    settings = Settings() if bank_path is None else Settings(home=bank_path)
    try:
        with open_bank(settings, create=create) as bank:
            yield bank
    except SynthBankError as error:
        error.facts.setdefault("bank", settings.home)
        raise


def at_bank(text: str, bank_path: Path | None) -> str:
    """`text` with `--bank PATH` after each command in it, unless that bank is the default one."""
    from synthbank.settings import Settings

    if bank_path is None or bank_path.resolve() == Settings().home.resolve():
        return text
    return _COMMAND.sub(lambda match: f"{match[0]} --bank {shlex.quote(str(bank_path))}", text)


def writable(path: Path | None) -> Path | None:
    """Callback of an option: refuse a path where no file can be written, before the work whose result goes there."""
    if path is None:
        return None
    if path.is_dir():
        raise typer.BadParameter(f"'{path}' is a folder; name a file in it")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise typer.BadParameter(f"no file can be written in '{folder}'")
    return path


def save(path: Path, data: bytes) -> None:
    """Write a file that the user asked for; its folder is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


class TrainingLine:
    """The live line of a training run on stderr; of several processes, only the main process has it `shown`."""

    def __init__(self, config: TrainConfig, *, shown: bool = True) -> None:
        self._config, self._shown = config, shown
        self._status = _stderr.status("training: building networks")
        self._first: TrainEvent | None = None
        self._threads: int | None = None

    def __enter__(self) -> TrainingLine:
        if self._shown:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def __call__(self, event: TrainEvent) -> None:
        """Show an event: progress on the live line, snapshots and guards as lines of their own."""
        if event.kind == "progress":
            self._status.update(self._progress(event))
        elif event.kind == "speed":
            rates = [f"{name} {rate:.0f}" for name, rate in event.values.items()]
            talk(f"  fastest when measured, in images/s: [bold]{rates[0]}[/] ({', '.join(rates[1:])})")
        elif event.kind == "threads" and "step_sec" in event.values:
            self._show_threads(event)
        elif event.kind == "snapshot":
            talk(f"  snapshot at step {event.step}: KID {event.values['kid']:.0f} (x1000, lower is better)")
        elif event.kind == "guard":
            talk(f"  [yellow]guard {event.values['name']}[/] at step {event.step}: {event.values['message']}")
        elif event.kind == "rollback":
            talk(f"  [yellow]rolled back[/] to step {event.step}, learning rates x {event.values['lr_scale']:g}")

    def _show_threads(self, event: TrainEvent) -> None:
        if event.values["threads"] != self._threads:
            self._threads = event.values["threads"]
            measured = ", ".join(f"{threads}: {1000 * sec:.0f}" for threads, sec in event.values["step_sec"].items())
            talk(f"  threads from step {event.step}: [bold]{self._threads}[/] (ms a step by threads: {measured})")

    def _progress(self, event: TrainEvent) -> str:
        first = self._first = self._first or event
        seconds = event.elapsed_sec - first.elapsed_sec
        rate = (event.images_seen - first.images_seen) / seconds if seconds > 0 else 0.0
        done = self._config.progress(event.step, event.elapsed_sec)
        left = event.elapsed_sec * (1 - done) / done if done > 0 else math.nan
        losses = "  ".join(f"{k.replace('_', ' ')} {v:.2f}" for k, v in event.values.items() if k.startswith("loss"))
        return f"training {done:4.0%}  step {event.step}  {rate:.0f} images/s  {losses}  {clock(left)} left"


@contextmanager
def working(message: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr; yields a function that changes its text."""
    with _stderr.status(message) as status:
        yield lambda text: status.update(text)


def clock(seconds: float) -> str:
    """Seconds as "1:02" or "1:02:03"."""
    if not math.isfinite(seconds):
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def parse_duration(text: str | None) -> float | None:
    """Seconds from "90", "90s", "20m" or "2h"; `None` stays `None`."""
    if text is None:
        return None
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        return float(number) * unit
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is not a duration; write 90s, 20m or 2h") from error


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return "" if value is None else str(value)


def escaped(text: str) -> str:
    """Text whose brackets rich does not read as markup."""
    return text.replace("[", "\\[")


def _to_json(value: object) -> Json:
    """A value as JSON can hold it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(v) for v in value]
    if isinstance(value, Enum):
        return _to_json(value.value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if hasattr(value, "item"):  # a scalar of numpy or torch
        scalar: Json = value.item()
        return scalar
    return str(value)
