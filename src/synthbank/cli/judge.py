"""`evaluate` and `report`."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from synthbank.cli.output import (
    BankOption,
    JsonOption,
    OnOption,
    opened,
    parse_duration,
    say,
    say_json,
    say_scores,
    say_table,
    talk,
    working,
    writable,
)
from synthbank.records import MAX_IMAGES


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(evaluate)
    app.command()(report)


def evaluate(
    job: Annotated[str | None, typer.Argument(help="Id of a generation job (default: the newest).")] = None,
    max_images: Annotated[int, typer.Option(help="Synthetic images looked at, all classes together.")] = MAX_IMAGES,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of subsets and resamples.")] = 0,
    encoder: Annotated[
        Path | None, typer.Option(help="Your own frozen encoder, TorchScript or ONNX (default: SYNTHBANK_ENCODER).")
    ] = None,
    utility: Annotated[
        bool, typer.Option("--utility", help="Also train classifiers with and without these images.")
    ] = False,
    seeds: Annotated[int, typer.Option(help="Utility: classifiers of each kind.")] = 5,
    budget: Annotated[str | None, typer.Option(help="Utility: time for classifiers, such as 20m; else all.")] = None,
    select: Annotated[
        float | None, typer.Option(help="Utility: also try this share of the images, the most typical ones.")
    ] = None,
    curves: Annotated[bool, typer.Option("--curves", help="Utility: parts of the originals; ratios.")] = False,
    shifts: Annotated[bool, typer.Option("--shifts", help="Utility: also under stain, blur, JPEG, light.")] = False,
    folds: Annotated[
        str | None,
        typer.Option(help="Utility: a number of folds, or 'groups'; trains a new generator for each fold."),
    ] = None,
    generator_time: Annotated[
        str | None, typer.Option(help="Training time of each fold's generator (default: as the model's).")
    ] = None,
    bias: Annotated[
        bool, typer.Option("--bias", help="Also rare modes, single groups, and labels against a classifier.")
    ] = False,
    on: OnOption = None,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Score a job's accepted images against the held-out originals, with intervals and real-against-real floors."""
    from synthbank.workflows.evaluation.bias import bias as look_for_bias
    from synthbank.workflows.evaluation.evaluate import evaluate as work
    from synthbank.workflows.generation.generate import newest_job

    if on is not None:
        from synthbank.scale import evaluate as work_there

        work = partial(work_there, on=on)
    with opened(bank_path, create=False) as bank, working("evaluating") as show:
        job_id = job or newest_job(bank)
        result = work(
            bank,
            job_id,
            max_images=max_images,
            n_resamples=resamples,
            seed=seed,
            encoder=encoder,
            on_stage=show,
        )
        unfair = look_for_bias(bank, job_id, seed=seed) if bias else None
        tried = None
        if utility or folds is not None:
            options = {
                "seeds": seeds,
                "select": select,
                "curves": curves,
                "shifts": shifts,
                "seed": seed,
                "budget_sec": parse_duration(budget),
            }
            tried = _utility(bank, job_id, folds, parse_duration(generator_time), options, show)
    if json:
        extra = {name: part for name, part in (("bias", unfair), ("utility", tried)) if part is not None}
        say_json({**{f.name: getattr(result, f.name) for f in dataclasses.fields(result)}, **extra})
        return
    say_scores(result.scores, title=f"job {result.job.id} against the test split of {result.dataset.name}")
    if unfair is not None:
        show_bias(unfair.scores)
    if tried is not None:
        show_utility(tried)


def _utility(bank: Any, job: str, folds: str | None, seconds: float | None, options: dict[str, Any], show: Any) -> Any:
    from synthbank.workflows.evaluation.cross_validation import cross_utility_of_job, fold_number
    from synthbank.workflows.evaluation.utility import utility as work
    from synthbank.workflows.evaluation.utility import utility_plan

    budget_sec = options.pop("budget_sec")
    plan = utility_plan(**options)
    if folds is None:
        return work(bank, job, plan=plan, budget_sec=budget_sec, on_stage=show)
    return cross_utility_of_job(
        bank, job, n_folds=fold_number(folds), plan=plan, budget_sec=budget_sec, generator_sec=seconds, on_stage=show
    )


def show_bias(scores: Any) -> None:
    """Coverage of modes and groups, and agreement of labels, with their floors."""
    rows = [
        (
            s.metric,
            s.class_name or s.group_name or "all",
            "not computed" if s.value is None else f"{s.value:.2f}",
            "" if s.low is None else f"{s.low:.2f} … {s.high:.2f}",
            "" if s.floor is None else f"{s.floor:.2f}",
            s.n_real,
        )
        for s in scores
    ]
    say_table("bias (higher is better)", ("measure", "class or group", "value", "95%", "real vs real", "n"), rows)


def show_utility(report: Any) -> None:
    """The table of regimes and the verdict."""
    from synthbank.workflows.evaluation.utility import regime_table

    columns = ("classifier", "trained on", "macro-F1", "95% interval", "gain over control", "95% interval", "p")
    say_table("utility: classifiers tested on held-out originals", columns, regime_table(report.scores))
    for sentence in report.verdict:
        say(sentence)
    for words in report.left_out:
        talk(f"[yellow]left out:[/] {words}")


def report(
    job: Annotated[str | None, typer.Argument(help="Id of a generation job (default: the newest).")] = None,
    to: Annotated[
        Path | None, typer.Option("--to", callback=writable, help="File to write (default: inside the bank).")
    ] = None,
    scorecard: Annotated[bool, typer.Option("--scorecard", help="Print the seven criteria instead.")] = False,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Write the report of a job: one HTML file that needs nothing else, with a scorecard of seven criteria.

    It shows originals: give it only to those who may see them.
    """
    from synthbank.workflows.evaluation.report import job_scorecard, write_report
    from synthbank.workflows.generation.generate import newest_job

    with opened(bank_path, create=False) as bank, working("writing the report"):
        if scorecard:
            card = job_scorecard(bank, job or newest_job(bank))
        else:
            path = write_report(bank, job or newest_job(bank), to=to)
    if scorecard:
        say_json(card) if json else show_scorecard(card)
        return
    say_json({"report": str(path)}) if json else say(f"report: {path}")


def show_scorecard(card: Any) -> None:
    """Each criterion with its lines and what was not measured."""
    rows = []
    for criterion in card.criteria:
        rows.append((criterion.name.upper(), "", "", "", criterion.met.value))
        rows += [(f"  {x.measure}", x.value, x.threshold, x.better, x.met.value) for x in criterion.lines]
        rows += [("  not measured", gap, "", "", "") for gap in criterion.not_measured]
    rows += [(x.measure, x.value, x.threshold, x.better, x.met.value) for x in card.usefulness]
    say_table(f"scorecard of job {card.job}", ("criterion", "value", "met when", "better", "verdict"), rows)
