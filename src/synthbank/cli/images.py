"""`generate` and `export`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from synthbank.cli.output import (
    BankOption,
    DeviceOption,
    JsonOption,
    OnOption,
    at_bank,
    opened,
    say,
    say_json,
    say_table,
    talk,
    working,
)
from synthbank.records import MAX_ATTEMPTS


def register(app: typer.Typer) -> None:
    """Add `generate` and `export`."""
    app.command()(generate)
    app.command()(export)


def generate(
    model: Annotated[str, typer.Argument(help="Name of a published model.")],
    n: Annotated[int, typer.Option("-n", "--number", help="Accepted images for each class.")] = 2000,
    class_name: Annotated[str | None, typer.Option("--class", help="Only this class.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the job; another seed gives other images.")] = 0,
    truncation: Annotated[float, typer.Option(help="1: everything; towards 0: cleaner and less varied.")] = 1.0,
    no_screen: Annotated[bool, typer.Option("--no-screen", help="Skip the gate; every row says so.")] = False,
    max_attempts: Annotated[float, typer.Option(help="Attempts a class may take, as a multiple of -n.")] = MAX_ATTEMPTS,
    select: Annotated[
        float | None, typer.Option(help="Keep this share of each class, such as 0.5: the most typical images.")
    ] = None,
    match: Annotated[
        float | None,
        typer.Option(help="Keep this share of each class, such as 0.3, so that its mix follows the originals'."),
    ] = None,
    device: DeviceOption = "cpu",
    on: OnOption = None,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Make N accepted images of each class. A killed job resumes where it stopped; asking for more extends it."""
    from synthbank.workflows.generation.generate import GenerateRequest
    from synthbank.workflows.generation.generate import generate as work

    if on is not None:
        from synthbank.scale import generate as work_there

        work = partial(work_there, on=on)
    request = GenerateRequest(
        model,
        n,
        class_name=class_name,
        seed=seed,
        truncation=truncation,
        screen=not no_screen,
        max_attempts=max_attempts,
        select=select,
        match=match,
    )
    with opened(bank_path, create=False) as bank, working(f"generating with {model}") as show:
        report = work(
            bank,
            request,
            device=device,
            on_progress=lambda name, done, wanted: show(f"generating {name}: {done} of {wanted}"),
        )
    if json:
        say_json(report)
        return
    show_generation(report, bank_path)


def show_generation(report: Any, bank_path: Path | None = None) -> None:
    """Counts of a generation job in a bank (`None`: the one that is used without `--bank`)."""
    rows = [(name, n, report.rejected.get(name, 0)) for name, n in report.accepted.items()]
    say_table(f"job {report.job.id} of model {report.job.model_id}", ("class", "accepted", "rejected"), rows)
    for reason, number in sorted(report.reasons.items()):
        talk(f"  rejected as {reason}: {number}")
    if report.job.message:
        talk(f"[yellow]warning:[/] {report.job.message}; raise --max-attempts, or train longer")
    rate = report.n_new / report.seconds if report.seconds else 0.0
    say(f"{report.n_new} new images in {report.seconds:.1f} s ({rate:.0f} accepted images/s)")
    say(at_bank(f"next: synthbank export --job {report.job.id} --to images.zip", bank_path))


def export(
    to: Annotated[str, typer.Option("--to", help="Folder, file.zip, file.npz, or URL such as gs://bucket/set.")],
    model: Annotated[str | None, typer.Option(help="Everything accepted of this model.")] = None,
    job: Annotated[str | None, typer.Option(help="Everything accepted of this job.")] = None,
    class_name: Annotated[str | None, typer.Option("--class", help="Only this class.")] = None,
    limit: Annotated[int | None, typer.Option("-n", "--number", help="At most so many a class.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="folder or npz (default: npz for file.npz, else folder).")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
    link: Annotated[
        float | None, typer.Option(min=0.01, max=168, help="Hours that a link to the file in a bucket shall open it.")
    ] = None,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Get accepted images out, with metadata.csv and a dataset card."""
    from synthbank.workflows.delivery import export as delivery

    if link is not None:
        delivery.require_linkable(to)
    with opened(bank_path, create=False) as bank, working("exporting"):
        request = delivery.ExportRequest(
            target=to,
            fmt=format_,
            job_id=job,
            model_id=model,
            class_name=class_name,
            limit=limit,
            overwrite=overwrite,
        )
        result = delivery.export(bank, request)
    shared = None if link is None else delivery.share(to, hours=link)
    if json:
        say_json(asdict(result) | ({} if shared is None else {"link": shared}))
        return
    say_table(f"exported to {result.target}", ("class", "images"), result.counts.items())
    if shared is not None:
        say(f"link, good for {link:g} hours:")
        typer.echo(shared)
