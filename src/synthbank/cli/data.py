"""`ingest` and `expand`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthbank.cli.options import BankOption, JsonOption, grouped
from synthbank.cli.output import escaped, opened, save, say, say_json, say_table, talk, working, writable

if TYPE_CHECKING:
    from synthbank.workflows.data.ingest import IngestOptions, IngestReport


_SHOWN_FILES = 40


def register(app: typer.Typer) -> None:
    """Add `ingest` and `expand`."""
    app.command()(grouped(ingest))
    app.command()(expand)
    app.command("augment", hidden=True)(expand)  # the name that earlier notes and scripts use


@dataclass(frozen=True)
class IngestFlags:
    """Options of the originals, which `ingest` and `run` share."""

    name: Annotated[str | None, typer.Option(help="Name of the data set (default: from the source).")] = None
    size: Annotated[int, typer.Option(help="Side of the square images, in pixels.")] = 64
    fit: Annotated[str, typer.Option(help="How images become square: crop, tile or resize.")] = "resize"
    group_by: Annotated[
        str | None, typer.Option(help="Regex whose group is the patient, slide or source id in the path.")
    ] = None
    ungrouped: Annotated[
        str | None,
        typer.Option(help="own: a file that --group-by does not match is its own group."),
    ] = None
    near_duplicates: Annotated[
        str,
        typer.Option(help="Near duplicates: join (one group, one side of the split), drop (keep one) or ignore."),
    ] = "join"
    split: Annotated[str, typer.Option(help="Shares of train/validation/test.")] = "70/15/15"

    def to_options(self, *, channels: int | None = None) -> IngestOptions:
        """The options of the workflow."""
        from synthbank.workflows.data.ingest import IngestOptions

        return IngestOptions(
            size=self.size,
            fit=self.fit,
            group_by=self.group_by,
            ungrouped=self.ungrouped,
            near_duplicates=self.near_duplicates,
            channels=channels,
        )


def ingest(
    originals: IngestFlags,
    source: Annotated[
        str | None, typer.Argument(help="Folder, .zip, .tar(.gz) or MedMNIST-style .npz, or a URL of one.")
    ] = None,
    sample: Annotated[str | None, typer.Option(help="A built-in sample instead of a source: ihc.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    channels: Annotated[int | None, typer.Option(help="1 or 3 (default: what most files are).")] = None,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Check, split and catalogue a set of labelled images."""
    from synthbank.workflows.data.ingest import default_name, ingest, parse_shares

    if (source is None) == (sample is None):
        raise typer.BadParameter("give either a source or --sample ihc")
    with opened(bank_path) as bank, working("reading images"):
        report = ingest(
            bank,
            f"sample:{sample}" if sample is not None else str(source),
            name=originals.name or default_name(sample or source),
            options=originals.to_options(channels=channels),
            shares=parse_shares(originals.split),
            seed=seed,
        )
    if json:
        say_json(report)
        return
    show_ingest(report)


def show_ingest(report: IngestReport) -> None:
    """Print the tables of an ingest."""
    dataset = report.dataset
    title = f"data set {dataset.name} v{dataset.version}: {report.n_files} files, {report.n_rejected} rejected"
    splits = ("train", "validation", "test")
    rows = [(c, *(n[s] for s in splits), sum(n.values())) for c, n in report.counts.items()]
    say_table(title, ("class", *splits, "all"), rows)
    if report.findings:
        say_table("findings", ("check/effect", "images"), report.findings.items())
    doubtful = [f for f in report.files if f.effect != "convert"]
    if doubtful:
        shown = [
            (f.name, "rejected" if f.effect == "reject" else "warning", f.message) for f in doubtful[:_SHOWN_FILES]
        ]
        say_table("rejected and doubtful files", ("file", "", "why"), shown)
        if len(doubtful) > _SHOWN_FILES:
            talk(f"note: {len(doubtful) - _SHOWN_FILES} more with --json")
    talk(f"groups: {escaped(report.groups.sentence)}")
    for note in report.notes:
        talk(f"note: {escaped(note)}")
    for warning in report.warnings:
        talk(f"[yellow]warning:[/] {escaped(warning)}")
    if not report.is_new:
        talk("nothing new: the same images with the same options are there already")


def expand(
    name: Annotated[str, typer.Argument(help="Name of the data set.")],
    to: Annotated[int | None, typer.Option(help="Originals and copies together (default: 3.8 times).")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draws (default: 0).")] = None,
    preview: Annotated[
        Path | None, typer.Option(callback=writable, help="Write a PNG with originals and their copies.")
    ] = None,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Plan the affine expansion of the training images: scaling, rotation, translation, each with probability 0.5."""
    from synthbank.workflows.data.expand import expand
    from synthbank.workflows.data.preview import expansion_sheet

    with opened(bank_path, create=False) as bank:
        report = expand(bank, name, to=to, seed=seed)
        if preview is not None:
            save(preview, expansion_sheet(bank, report.dataset))
    if json:
        say_json(report)
        return
    say(f"{report.n_originals} originals + {report.n_copies} copies = {report.n_originals + report.n_copies}")
    if preview is not None:
        say(f"preview: {preview}")
