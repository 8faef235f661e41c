"""`evaluate`, `utility`, `bias` and `report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthbank.cli.options import BankOption, JsonOption, OnOption, grouped
from synthbank.cli.output import (
    at_bank,
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
from synthbank.errors import OptionError
from synthbank.records import MAX_IMAGES, Score

if TYPE_CHECKING:
    from synthbank.reports import Scorecard
    from synthbank.workflows.evaluation.cross_validation import CrossReport
    from synthbank.workflows.evaluation.requests import UtilityRequest
    from synthbank.workflows.evaluation.utility import UtilityReport

JobArgument = Annotated[str | None, typer.Argument(help="Id of a generation job (default: the newest).")]
MaxImagesOption = Annotated[int, typer.Option(help="Synthetic images that are used, all classes together.")]


def register(app: typer.Typer) -> None:
    """Add `evaluate`, `utility`, `bias` and `report`."""
    for command in (evaluate, utility, bias, report):
        app.command()(grouped(command))


def _refuse_old_option(value: bool) -> bool:
    if value:
        raise OptionError(
            "Utility and bias are commands of their own",
            got="evaluate --utility or --bias",
            next_step="synthbank utility, or synthbank bias",
        )
    return value


@dataclass(frozen=True)
class EvaluateFlags:
    """Options of the scores."""

    max_images: MaxImagesOption = MAX_IMAGES
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 200
    seed: Annotated[int, typer.Option(help="Seed of subsets and resamples.")] = 0
    encoder: Annotated[
        Path | None, typer.Option(help="Your own frozen encoder, TorchScript or ONNX (default: SYNTHBANK_ENCODER).")
    ] = None


def evaluate(
    flags: EvaluateFlags,
    job: JobArgument = None,
    on: OnOption = None,
    bank_path: BankOption = None,
    json: JsonOption = False,
    old_option: Annotated[bool, typer.Option("--utility", "--bias", hidden=True, callback=_refuse_old_option)] = False,
) -> None:
    """Score a job's accepted images against the held-out originals, with intervals and real-against-real floors."""
    from synthbank.workflows.evaluation.evaluate import evaluate as evaluate_here
    from synthbank.workflows.evaluation.requests import EvaluateRequest
    from synthbank.workflows.generation.generate import newest_job

    with opened(bank_path, create=False) as bank, working("evaluating") as show:
        request = EvaluateRequest(job or newest_job(bank), flags.max_images, flags.resamples, flags.seed, flags.encoder)
        if on is None:
            result = evaluate_here(bank, request, on_stage=show)
        else:
            from synthbank.scale import evaluate as evaluate_there

            result = evaluate_there(bank, request, on=on, on_stage=show)
    if json:
        say_json(result)
        return
    say_scores(result.scores, title=f"job {result.job.id} against the test split of {result.dataset.name}")
    say(at_bank(f"next: synthbank report {result.job.id}, synthbank utility {result.job.id}", bank_path))


@dataclass(frozen=True)
class UtilityFlags:
    """Options of the classifiers that are trained, and of the images that they are trained on."""

    seeds: Annotated[int, typer.Option(help="Classifiers of each kind.")] = 5
    budget: Annotated[str | None, typer.Option(help="Time for classifiers, such as 20m (default: all).")] = None
    select: Annotated[float | None, typer.Option(help="Also try this share of the images, the most typical ones.")] = (
        None
    )
    curves: Annotated[bool, typer.Option("--curves", help="Also parts of the originals, and ratios.")] = False
    shifts: Annotated[bool, typer.Option("--shifts", help="Also under other stain, blur, JPEG and light.")] = False
    folds: Annotated[
        str | None, typer.Option(help="A number of folds, or 'groups'; trains a new generator for each fold.")
    ] = None
    generator_time: Annotated[
        str | None, typer.Option(help="Training time of each fold's generator (default: as the model's).")
    ] = None
    seed: Annotated[int, typer.Option(help="Seed of classifiers, subsets and folds.")] = 0

    def to_request(self, job: str) -> UtilityRequest:
        """The request of the workflow."""
        from synthbank.workflows.evaluation.requests import UtilityRequest

        return UtilityRequest(
            job,
            seeds=self.seeds,
            budget_sec=parse_duration(self.budget),
            select=self.select,
            curves=self.curves,
            shifts=self.shifts,
            folds=self.folds,
            generator_sec=parse_duration(self.generator_time),
            seed=self.seed,
        )


def utility(
    flags: UtilityFlags, job: JobArgument = None, bank_path: BankOption = None, json: JsonOption = False
) -> None:
    """Train classifiers with and without a job's images, and test them on held-out originals."""
    from synthbank.workflows.evaluation.utility import utility as measure_utility
    from synthbank.workflows.generation.generate import newest_job

    with opened(bank_path, create=False) as bank, working("training classifiers") as show:
        result = measure_utility(bank, flags.to_request(job or newest_job(bank)), on_stage=show)
    if json:
        say_json(result)
        return
    show_utility(result)


def show_utility(report: UtilityReport | CrossReport) -> None:
    """Print the table of regimes, and one sentence a classifier."""
    from synthbank.workflows.evaluation.utility import regime_table

    columns = ("classifier", "trained on", "macro-F1", "95% interval", "gain over control", "95% interval", "p")
    say_table("utility: classifiers tested on held-out originals", columns, regime_table(report.scores))
    for sentence in report.sentences:
        say(sentence)
    for words in report.left_out:
        talk(f"[yellow]left out:[/] {words}")


def bias(
    job: JobArgument = None,
    max_images: MaxImagesOption = MAX_IMAGES,
    seed: Annotated[int, typer.Option(help="Seed of clusters and of the choice of regularisation.")] = 0,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Look for rare modes and single groups that a job's images leave out, and for labels that do not fit."""
    from synthbank.workflows.evaluation.bias import bias as measure_bias
    from synthbank.workflows.evaluation.requests import BiasRequest
    from synthbank.workflows.generation.generate import newest_job

    with opened(bank_path, create=False) as bank, working("looking for bias"):
        result = measure_bias(bank, BiasRequest(job or newest_job(bank), max_images, seed))
    if json:
        say_json(result)
        return
    show_bias(result.scores)


def show_bias(scores: Sequence[Score]) -> None:
    """Print coverage of modes and groups, and agreement of labels, with their floors."""
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


def report(
    job: JobArgument = None,
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
    from synthbank.workflows.evaluation.requests import ReportRequest
    from synthbank.workflows.generation.generate import newest_job

    with opened(bank_path, create=False) as bank, working("writing the report"):
        job_id = job or newest_job(bank)
        if scorecard:
            card = job_scorecard(bank, job_id)
        else:
            path = write_report(bank, ReportRequest(job_id, to))
    if scorecard:
        say_json(card) if json else show_scorecard(card)
        return
    say_json({"report": str(path)}) if json else say(f"report: {path}")


def show_scorecard(card: Scorecard) -> None:
    """Print each criterion with its lines and what was not measured."""
    rows: list[tuple[object, ...]] = []
    for criterion in card.criteria:
        rows.append((criterion.name.upper(), "", "", "", criterion.conclusion.value))
        rows += [(f"  {x.measure}", x.value, x.threshold, x.better, x.conclusion.value) for x in criterion.lines]
        rows += [("  not measured", gap, "", "", "") for gap in criterion.not_measured]
    rows += [(x.measure, x.value, x.threshold, x.better, x.conclusion.value) for x in card.usefulness]
    say_table(f"scorecard of job {card.job}", ("criterion", "value", "limit", "better", "conclusion"), rows)
