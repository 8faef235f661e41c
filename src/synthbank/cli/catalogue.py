"""`catalogue`: list and search a bank, verify it, regenerate an image, withdraw an original."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from synthbank.cli.options import BankOption, DeviceOption, JsonOption
from synthbank.cli.output import opened, save, say, say_json, say_table, talk, working, writable


def register(app: typer.Typer) -> None:
    """Add the group `catalogue`."""
    catalogue = typer.Typer(help="List, search and check a bank.", no_args_is_help=True)
    commands: dict[str, Callable[..., None]] = {
        "ls": ls,
        "show": show,
        "search": search,
        "verify": verify,
        "regenerate": regenerate,
        "withdraw": withdraw,
        "migrate": migrate,
        "clear-cache": clear_cache,
    }
    for name, command in commands.items():
        catalogue.command(name)(command)
    app.add_typer(catalogue, name="catalogue")


def ls(bank_path: BankOption = None, json: JsonOption = False) -> None:
    """List data sets, models and jobs, and count every table."""
    from synthbank.catalogue import queries

    with opened(bank_path, create=False) as bank, bank.catalogue.session(read_only=True) as session:
        counts = queries.counts(session=session)
        datasets = queries.list_datasets(session=session)
        models = queries.list_models(session=session)
        jobs = queries.list_jobs(session=session)
    if json:
        say_json({"counts": counts, "datasets": datasets, "models": models, "jobs": jobs})
        return
    rows = [(d.name, d.version, ", ".join(d.class_names), d.size, d.created_at) for d in datasets]
    say_table("data sets", ("name", "version", "classes", "size", "made"), rows)
    say_table(
        "models", ("name", "architecture", "size", "status"), [(m.id, m.architecture, m.size, m.status) for m in models]
    )
    shown = [(j.id, j.model_id, j.status, j.n_accepted, j.n_rejected, j.started_at) for j in jobs]
    say_table("jobs", ("id", "model", "status", "accepted", "rejected", "started"), shown)
    say_table("rows", ("table", "rows"), counts.items())


def show(
    identity: Annotated[str, typer.Argument(help="Id of an image.")],
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Show everything recorded about an image: model, seed, hashes, nearest original, verdict."""
    from dataclasses import asdict

    from synthbank.catalogue import queries

    with opened(bank_path, create=False) as bank, bank.catalogue.session(read_only=True) as session:
        row = queries.get_image(identity, session=session)
    say_json(row) if json else say_table(f"image {identity}", ("", ""), asdict(row).items())


def search(
    text: Annotated[str, typer.Argument(help="Part of a name or id.")],
    limit: Annotated[int, typer.Option(help="Hits at most.")] = 20,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Find data sets, originals, runs, models, jobs and images by name or id."""
    from synthbank.catalogue import queries

    with opened(bank_path, create=False) as bank, bank.catalogue.session(read_only=True) as session:
        hits = queries.search(text, limit=limit, session=session)
    say_json(hits) if json else say_table(
        f"{len(hits)} hits", ("kind", "id", "title"), [(h.kind, h.id, h.title) for h in hits]
    )


def verify(
    quick: Annotated[
        bool, typer.Option("--quick", help="Only check that the files exist, without reading them.")
    ] = False,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Check that the files of images, originals, models and snapshots have their recorded hashes, and images have rows.

    Exit code 1 if they do not. Half-written files that killed processes left more than an hour ago are removed.
    """
    from synthbank.workflows.maintenance.verify import verify

    with opened(bank_path, create=False) as bank, working("checking") as update:
        report = verify(bank, hashes=not quick, on_progress=lambda n: update(f"checking: {n} files"))
    if json:
        say_json(report)
    else:
        for problem in report.problems:
            talk(f"[red]{problem}[/]")
        if report.n_swept:
            talk(f"removed {report.n_swept} half-written files")
        say(
            f"{report.n_images} images in {report.n_files} files, {report.n_originals} originals, "
            f"{report.n_weights} weights files, {report.n_problems} problems"
        )
    if not report.sound:
        raise typer.Exit(1)


def regenerate(
    identity: Annotated[str, typer.Argument(help="Id of an image.")],
    to: Annotated[Path | None, typer.Option("--to", callback=writable, help="Write the image as PNG.")] = None,
    device: DeviceOption = "cpu",
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Make an image again from its row and compare it with the stored one; exit code 1 if they differ."""
    from synthbank.workflows.maintenance.verify import regenerate

    with opened(bank_path, create=False) as bank, working("drawing"):
        report = regenerate(bank, identity, device=device)
    if to is not None:
        save(to, report.png())
    if json:
        say_json({"id": identity, "equal": report.equal, "seed": report.row.seed, "model": report.row.model_id})
    else:
        say(f"{identity}: {'equal to the stored image' if report.equal else 'DIFFERS from the stored image'}")
    if not report.equal:
        raise typer.Exit(1)


def withdraw(
    sha256: Annotated[str, typer.Argument(help="Pixel hash of the original that must go.")],
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Mark an original, and every model and image that depended on it, as withdrawn; records are kept."""
    from synthbank.catalogue import queries

    with opened(bank_path, create=False) as bank, bank.catalogue.session() as session:
        report = queries.withdraw_original(sha256, session=session)
    if json:
        say_json(report)
        return
    rows = [
        ("data sets", ", ".join(report.datasets)),
        ("runs", ", ".join(report.runs)),
        ("models", ", ".join(report.models)),
        ("jobs", ", ".join(report.jobs)),
        ("images", len(report.images)),
    ]
    say_table(f"withdrawn with original {sha256[:12]}", ("what", "which"), rows)


def migrate(bank_path: BankOption = None, json: JsonOption = False) -> None:
    """Bring the catalogue to the newest schema (every other command does so as well)."""
    with opened(bank_path) as bank:
        version = bank.catalogue.schema_version()
    say_json({"schema_version": version}) if json else say(f"schema version {version}")


def clear_cache(bank_path: BankOption = None, json: JsonOption = False) -> None:
    """Delete the cached feature vectors; the next evaluation computes them again."""
    from synthbank.workflows.features import clear_features

    with opened(bank_path, create=False) as bank:
        freed = clear_features(bank)
    say_json({"bytes": freed}) if json else say(f"freed {freed / 2**20:.1f} MB")
