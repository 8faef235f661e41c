"""`evaluate` and `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthbank.cli.output import BankOption, JsonOption, opened, say, say_json, say_scores, working


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(evaluate)
    app.command()(report)


def evaluate(
    job: Annotated[str | None, typer.Argument(help="Id of a generation job (default: the newest).")] = None,
    max_images: Annotated[int, typer.Option(help="Synthetic images looked at, all classes together.")] = 2048,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of subsets and resamples.")] = 0,
    encoder: Annotated[
        Path | None, typer.Option(help="Your own frozen encoder, TorchScript or ONNX (default: SYNTHBANK_ENCODER).")
    ] = None,
    bank: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Score a job's accepted images against the held-out originals, with intervals and real-against-real floors."""
    from synthbank.workflows.evaluate import evaluate as work
    from synthbank.workflows.generate import newest_job

    with opened(bank, create=False) as found, working("evaluating") as show:
        result = work(
            found,
            job or newest_job(found),
            max_images=max_images,
            n_resamples=resamples,
            seed=seed,
            encoder=encoder,
            on_stage=show,
        )
    if json:
        say_json(result)
        return
    say_scores(result.scores, title=f"job {result.job.id} against the test split of {result.dataset.name}")


def report(
    job: Annotated[str | None, typer.Argument(help="Id of a generation job (default: the newest).")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Where to write (default: inside the bank).")] = None,
    bank: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Write the report of a job: one HTML file that needs nothing else."""
    from synthbank.workflows.generate import newest_job
    from synthbank.workflows.report import write_report

    with opened(bank, create=False) as found, working("writing the report"):
        path = write_report(found, job or newest_job(found), to=to)
    say_json({"report": str(path)}) if json else say(f"report: {path}")
