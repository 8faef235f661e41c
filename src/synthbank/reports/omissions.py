"""Questions that were not measured; every report names them, so that silence is not read as success."""

from __future__ import annotations

from synthbank.reports.content import ReportData
from synthbank.reports.scores import order_scores, parts_of, title_of


def not_measured(data: ReportData) -> tuple[tuple[str, str], ...]:
    """Pairs of a heading and a sentence, those that follow from the data first."""
    gaps = [*_missing_scores(data), *_data_gaps(data)]
    if not any(s.metric.startswith("utility-") for s in data.evidence):
        text = "Whether a classifier gets better or worse when it is trained with these images was not tried."
        gaps.append(("Use in a classifier", text))
    gaps += [
        (
            "Other centres, scanners and stains",
            "Test originals come from the same source as the training originals; nothing is known beyond it.",
        ),
        (
            "Privacy",
            "The gate looks for originals that were turned, cut, moved or recoloured, and one attack by distance was "
            "tried. That is no formal privacy guarantee, and no attack on the model's weights was tried.",
        ),
        (
            "Medical correctness",
            "Scores compare features of pictures. They do not say that a structure is biologically possible or that "
            "the label is right.",
        ),
    ]
    if not data.reader_answers:
        gaps.append(("Reader study", "No expert was asked to tell real from synthetic images of this job."))
    return tuple(gaps)


def _missing_scores(data: ReportData) -> list[tuple[str, str]]:
    if not data.scores:
        return [("All scores", "This job was not evaluated. The pictures above are the only evidence.")]
    missing = [s for s in order_scores(data.scores, data.class_names) if s.value is None]
    overall = [s for s in missing if s.class_name is None]
    gaps = [(title_of(s.metric), s.note or "not computed") for s in overall]
    present = {parts_of(s.metric)[0] for s in data.scores}
    gaps += [(title_of(name), "was not part of this evaluation") for name in ("fid", "is") if name not in present]
    classes = sorted({s.class_name for s in missing if s.class_name is not None})
    if classes:
        text = f"Some scores of {', '.join(classes)} need more images than there are; the table says which."
        gaps.append(("Single classes", text))
    return gaps


def _data_gaps(data: ReportData) -> list[tuple[str, str]]:
    part = data.data
    if part is None:
        return [("The data set", "It is not in this bank; its counts, splits and originals cannot be shown.")]
    gaps = []
    if part.n_groups >= sum(c.total for c in part.counts):
        text = (
            "No patient, slide or source label joins the originals: every file counts as its own group. If one patient "
            "or slide gave several files, they may lie on both sides of the split, and the scores are then too kind."
        )
        gaps.append(("Independence of the test originals", text))
    elif part.n_groups_across_splits:
        text = f"{part.n_groups_across_splits} groups have images in more than one split; the scores are then too kind."
        gaps.append(("Independence of the test originals", text))
    if part.microns_per_pixel is None:
        gaps.append(("Physical size", "The size of a pixel is not recorded; structures cannot be measured."))
    return gaps
