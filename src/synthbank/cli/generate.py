"""`generate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthbank.cli.options import BankOption, DeviceOption, JsonOption, OnOption, grouped
from synthbank.cli.output import at_bank, opened, say, say_json, say_table, talk, working
from synthbank.records import MAX_ATTEMPTS

if TYPE_CHECKING:
    from synthbank.workflows.generation.generate import GenerateReport, GenerateRequest


def register(app: typer.Typer) -> None:
    """Add `generate`."""
    app.command()(grouped(generate))


@dataclass(frozen=True)
class GenerateFlags:
    """Options that decide the images of a job."""

    n: Annotated[int, typer.Option("-n", "--number", help="Accepted images for each class.")] = 2000
    class_name: Annotated[str | None, typer.Option("--class", help="Only this class.")] = None
    seed: Annotated[int, typer.Option(help="Seed of the job; another seed gives other images.")] = 0
    truncation: Annotated[float, typer.Option(help="1: everything; towards 0: cleaner and less varied.")] = 1.0
    no_screen: Annotated[bool, typer.Option("--no-screen", help="Skip the gate; every row says so.")] = False
    max_attempts: Annotated[float, typer.Option(help="Attempts a class may take, as a multiple of -n.")] = MAX_ATTEMPTS
    select: Annotated[
        float | None, typer.Option(help="Keep this share of each class, such as 0.5: the most typical images.")
    ] = None
    match: Annotated[
        float | None,
        typer.Option(help="Keep this share of each class, such as 0.3, so that its mix follows the originals'."),
    ] = None

    def to_request(self, model: str) -> GenerateRequest:
        """The request of the workflow."""
        from synthbank.workflows.generation.generate import GenerateRequest

        return GenerateRequest(
            model,
            self.n,
            class_name=self.class_name,
            seed=self.seed,
            truncation=self.truncation,
            screen=not self.no_screen,
            max_attempts=self.max_attempts,
            select=self.select,
            match=self.match,
        )


def generate(
    model: Annotated[str, typer.Argument(help="Name of a published model.")],
    flags: GenerateFlags,
    device: DeviceOption = "cpu",
    on: OnOption = None,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Make N accepted images of each class. A killed job resumes where it stopped; asking for more extends it."""
    from synthbank.workflows.generation.generate import generate as generate_here

    request = flags.to_request(model)
    with opened(bank_path, create=False) as bank, working(f"generating with {model}") as show:

        def show_progress(class_name: str, done: int, wanted: int) -> None:
            show(f"generating {class_name}: {done} of {wanted}")

        if on is None:
            report = generate_here(bank, request, device=device, on_progress=show_progress)
        else:
            from synthbank.scale import generate as generate_there

            report = generate_there(bank, request, on=on, device=device, on_progress=show_progress)
    if json:
        say_json(report)
        return
    show_generation(report, bank_path)


def show_generation(report: GenerateReport, bank_path: Path | None = None) -> None:
    """Print counts of a generation job, and the next command (`bank_path` `None`: of the default bank)."""
    rows = [(name, n, report.rejected.get(name, 0)) for name, n in report.accepted.items()]
    say_table(f"job {report.job.id} of model {report.job.model_id}", ("class", "accepted", "rejected"), rows)
    for reason, number in sorted(report.reasons.items()):
        talk(f"  rejected as {reason}: {number}")
    if report.job.message:
        talk(f"[yellow]warning:[/] {report.job.message}; raise --max-attempts, or train longer")
    rate = report.n_new / report.seconds if report.seconds else 0.0
    say(f"{report.n_new} new images in {report.seconds:.1f} s ({rate:.0f} accepted images/s)")
    say(at_bank(f"next: synthbank export --job {report.job.id} --to images.zip", bank_path))
