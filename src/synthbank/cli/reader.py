"""`reader`: can people tell real from synthetic?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthbank.cli.options import BankOption, JsonOption
from synthbank.cli.output import at_bank, opened, say, say_json, say_table, working, writable

if TYPE_CHECKING:
    from synthbank.workflows.evaluation.reader_study import ReaderScore


def register(app: typer.Typer) -> None:
    """Add the group `reader`."""
    reader = typer.Typer(help="Reader studies: can people tell real from synthetic?", no_args_is_help=True)
    reader.command("make")(reader_make)
    reader.command("import")(reader_import)
    reader.command("show")(reader_show)
    app.add_typer(reader, name="reader")


def reader_make(
    job: Annotated[str | None, typer.Argument(help="Id of a generation job (default: the newest).")] = None,
    to: Annotated[Path, typer.Option("--to", callback=writable, help="HTML file to write.")] = Path("reader.html"),
    n: Annotated[int, typer.Option("-n", "--number", help="Images in all, half of them real.")] = 40,
    seed: Annotated[int, typer.Option(help="Seed of choice, order and tokens.")] = 0,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Make a blinded, balanced sheet: one HTML file that works offline and saves the answers. It holds originals."""
    from synthbank.workflows.evaluation.reader_study import make_study
    from synthbank.workflows.generation.generate import newest_job

    with opened(bank_path, create=False) as bank, working("making the sheet"):
        report = make_study(bank, job or newest_job(bank), to=to, n=n, seed=seed)
    if json:
        say_json(report)
        return
    rows = [(name, kinds["real"], kinds["synthetic"]) for name, kinds in report.counts.items()]
    say_table(f"reader study {report.study.id}", ("class", "real", "synthetic"), rows)
    say(f"sheet: {report.sheet}")
    say(at_bank("next: give it to a reader, then synthbank reader import FILE", bank_path))


def reader_import(
    file: Annotated[Path, typer.Argument(help="JSON or CSV file that the sheet saved.")],
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Import a reader's answers; importing the same file twice adds nothing."""
    from synthbank.workflows.evaluation.reader_study import import_answers

    with opened(bank_path, create=False) as bank:
        report = import_answers(bank, file)
    if json:
        say_json(report)
        return
    say(f"study {report.study.id}, reader {report.reader}: {report.n_new} new answers, {report.n_known} known before")
    say(f"images not answered yet: {report.n_open}")


def reader_show(
    study: Annotated[str | None, typer.Argument(help="Id of a study (default: the newest).")] = None,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Accuracy of each reader with its interval, overall and by class; 0.5 is guessing."""
    from synthbank.workflows.evaluation.reader_study import newest_study, study_scores

    with opened(bank_path, create=False) as bank:
        name = study or newest_study(bank)
        scores = study_scores(bank, name)
    if json:
        say_json({"study": name, "scores": scores})
        return
    say_table(f"reader study {name}", ("reader", "class", "answers", "accuracy", "95%", "conclusion"), _rows(scores))


def _rows(scores: Sequence[ReaderScore]) -> list[tuple[object, ...]]:
    return [
        (
            s.reader or "all",
            s.class_name or "all",
            s.n,
            f"{s.accuracy:.2f}",
            f"{s.low:.2f} … {s.high:.2f}",
            s.conclusion,
        )
        for s in scores
    ]
