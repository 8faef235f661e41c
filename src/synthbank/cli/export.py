"""`export`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from synthbank.cli.options import BankOption, JsonOption, grouped
from synthbank.cli.output import opened, say, say_json, say_table, working

if TYPE_CHECKING:
    from synthbank.workflows.delivery.export import ExportRequest


def register(app: typer.Typer) -> None:
    """Add `export`."""
    app.command()(grouped(export))


@dataclass(frozen=True)
class ExportFlags:
    """Options that choose the images, and their format."""

    model: Annotated[str | None, typer.Option(help="Everything accepted of this model.")] = None
    job: Annotated[str | None, typer.Option(help="Everything accepted of this job.")] = None
    class_name: Annotated[str | None, typer.Option("--class", help="Only this class.")] = None
    limit: Annotated[int | None, typer.Option("-n", "--number", help="At most so many a class.")] = None
    format_: Annotated[
        str | None, typer.Option("--format", help="folder or npz (default: npz for file.npz, else folder).")
    ] = None
    overwrite: Annotated[bool, typer.Option(help="Replace what is there.")] = False

    def to_request(self, target: str) -> ExportRequest:
        """The request of the workflow."""
        from synthbank.workflows.delivery.export import ExportRequest

        return ExportRequest(
            target=target,
            fmt=self.format_,
            job_id=self.job,
            model_id=self.model,
            class_name=self.class_name,
            limit=self.limit,
            overwrite=self.overwrite,
        )


def export(
    to: Annotated[str, typer.Option("--to", help="Folder, file.zip, file.npz, or URL such as gs://bucket/set.")],
    flags: ExportFlags,
    link: Annotated[
        float | None, typer.Option(min=0.01, max=168, help="Hours for which a link to the file in a bucket is valid.")
    ] = None,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Export accepted images, with metadata.csv and a dataset card."""
    from synthbank.workflows.delivery.export import export, require_linkable, share

    if link is not None:
        require_linkable(to)
    with opened(bank_path, create=False) as bank, working("exporting"):
        result = export(bank, flags.to_request(to))
    shared = None if link is None else share(to, hours=link)
    if json:
        say_json(asdict(result) | ({} if shared is None else {"link": shared}))
        return
    say_table(f"exported to {result.target}", ("class", "images"), result.counts.items())
    if shared is not None:
        say(f"link, good for {link:g} hours:")
        typer.echo(shared)
