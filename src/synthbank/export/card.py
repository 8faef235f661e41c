"""The data set card of an export: what it is, how it was made, what was measured, and what it must not be used for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from synthbank.catalogue import EvaluationRow
from synthbank.export.base import ExportFacts
from synthbank.export.sinks import MARKER_TEXT
from synthbank.records import Score

_OPEN_LICENCES = ("apache-2.0", "mit", "cc0-1.0", "odbl", "odc-by", "pddl")
_CREATIVE_COMMONS = ("cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LAYOUTS = {
    "imagefolder": "Class folders of PNG files; `metadata.csv` gives label, image id, model, job and seed of each. "
    'Read it with `datasets.load_dataset("imagefolder", data_dir=...)` or any class-folder loader.',
    "npz": "One NumPy file in MedMNIST's layout: `train_images`, `train_labels`, `class_names`, `image_ids`.",
}


def dataset_card(facts: ExportFacts, *, layout: str) -> str:
    """Markdown with YAML front matter, as data set hubs read it.

    Args:
        facts: of the export.
        layout: "imagefolder" or "npz".
    """
    sections = (
        _front_matter(facts),
        f"# Synthetic images: {facts.title}",
        f"**Every image here is synthetic**, {MARKER_TEXT}. None shows a real specimen or a real patient.",
        f"## Layout\n\n{_LAYOUTS[layout]}",
        _origin(facts),
        _counts(facts),
        score_sections(facts.scores, none="Not evaluated yet: `synthbank evaluate`."),
        _LIMITS,
        _CITATION,
    )
    return "\n\n".join(sections) + "\n"


CARD_JSON = "card.json"


def dataset_card_json(facts: ExportFacts, *, layout: str) -> bytes:
    """The card's facts for programs; the same words as the Markdown where it uses words."""
    model, dataset = facts.model, facts.dataset
    scores = [{k: v for k, v in asdict(s).items() if k not in ("id", "created_at")} for s in facts.scores]
    value: dict[str, Any] = {
        "title": f"Synthetic images: {facts.title}",
        "synthetic": True,
        "layout": layout,
        "counts": dict(facts.counts),
        "total": facts.total,
        "withdrawn": facts.withdrawn,
        "model": {"name": model.id, "architecture": model.architecture, "sha256": model.sha256, "card": model.card},
        "image": {"size": model.size, "channels": model.channels, "bits": 8},
        "originals": None
        if dataset is None
        else {
            "name": dataset.name,
            "version": dataset.version,
            "fingerprint": dataset.fingerprint,
            "source": dataset.source,
            "licence": dataset.licence,
            "microns_per_pixel": dataset.microns_per_pixel,
        },
        "scores": scores,
        "limits": [line.removeprefix("- ") for line in _LIMITS.splitlines() if line.startswith("- ")],
    }
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _front_matter(facts: ExportFacts) -> str:
    licence = (facts.dataset.licence or "" if facts.dataset else "").strip()
    known = licence.lower() in _OPEN_LICENCES + _CREATIVE_COMMONS
    lines = [
        "---",
        f"pretty_name: {json.dumps('Synthetic images: ' + facts.title)}",
        f"license: {licence.lower() if known else 'other'}",
        *([f"license_name: {json.dumps(licence)}"] if licence and not known else []),
        "task_categories:\n- image-classification",
        "tags:\n- synthetic\n- medical\n- synthbank",
        f"size_categories:\n- {_size_category(facts.total)}",
        "---",
    ]
    return "\n".join(lines)


def _size_category(total: int) -> str:
    return next((name for limit, name in _SIZES if total < limit), "n>1M")


def _origin(facts: ExportFacts) -> str:
    model, dataset = facts.model, facts.dataset
    depth = "grey" if model.channels == 1 else "RGB"
    lines = [
        "## How it was made\n",
        f"- Model: `{model.id}` (architecture `{model.architecture}`, weights SHA-256 `{model.sha256}`).",
        f"- Images: {model.size} x {model.size} pixels, {depth}, 8 bits a channel, one recorded seed each.",
    ]
    if dataset is not None:
        lines.append(
            f"- Originals: data set `{dataset.name}` version {dataset.version}, fingerprint `{dataset.fingerprint}`."
        )
        lines.append(f"- Source of the originals: {dataset.source or 'not recorded'}.")
        lines.append(f"- Licence of the originals: {dataset.licence or 'not recorded'}.")
        if dataset.microns_per_pixel is not None:
            lines.append(f"- Pixel size of the originals: {dataset.microns_per_pixel:g} micrometres.")
    if facts.withdrawn:
        lines.append(f"- Left out because an original was withdrawn: {facts.withdrawn} images.")
    return "\n".join(lines)


def _counts(facts: ExportFacts) -> str:
    rows = [f"| {cell(name)} | {n} |" for name, n in facts.counts.items()]
    return "\n".join(
        ["## Images per class\n", "| class | images |", "|---|---|", *rows, f"| **all** | {facts.total} |"]
    )


_SECTIONS = (
    ("Use in a classifier", ("utility-", "gain-")),
    (
        "Rare kinds, groups, labels and readers",
        ("rare-coverage-", "common-coverage-", "group-coverage-", "label-agreement-", "reader-"),
    ),
)
_MOST_ROWS = 60


def score_sections(scores: Iterable[EvaluationRow | Score], *, none: str) -> str:
    """Scores as Markdown tables: distances, then use in a classifier, then bias.

    Args:
        scores: of any kind.
        none: what is said where there is none.
    """
    rows = list(scores)
    if not rows:
        return f"## Scores\n\n{none}"
    special = tuple(start for _, starts in _SECTIONS for start in starts)
    parts = [("Scores", [s for s in rows if not s.metric.startswith(special)])]
    parts += [(title, [s for s in rows if s.metric.startswith(starts)]) for title, starts in _SECTIONS]
    return "\n\n".join(_score_table(title, rows) for title, rows in parts if rows)


def _score_table(title: str, scores: list[EvaluationRow | Score]) -> str:
    head = "| metric | class or group | value (95% interval) | real against real | n real / fake | better | note |"
    lines = [
        f"| {cell(s.metric)} | {cell(s.class_name or s.group_name or 'all')} | {_interval(s.value, s.low, s.high)} "
        f"| {_interval(s.floor, s.floor_low, s.floor_high)} | {s.n_real} / {s.n_fake} "
        f"| {'higher' if s.higher_is_better else 'lower'} | {cell(s.note or '')} |"
        for s in scores[:_MOST_ROWS]
    ]
    more = [f"\n{len(scores) - _MOST_ROWS} more stand in `card.json`."] if len(scores) > _MOST_ROWS else []
    return "\n".join([f"## {title}\n", head, "|---|---|---|---|---|---|---|", *lines, *more])


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "not computed"
    return f"{value:.4g}" if low is None or high is None else f"{value:.4g} ({low:.4g} to {high:.4g})"


def cell(text: str) -> str:
    """Text that breaks no Markdown table.

    >>> cell("a|b")
    'a\\\\|b'
    """
    return text.replace("|", "\\|").replace("\n", " ")


_LIMITS = """## Limits

- For research and for training classifiers; not for diagnosis, and no evidence about any patient.
- The images repeat what the originals show, with their bias: staining, scanner, hospital and choice of cases.
- Use them for training only. Validate and test on real images that the generator never saw.
- Screening against copies lowers the risk that an original is reproduced; it does not prove privacy.
- If an original is withdrawn later, so are these images: compare `image_id` with the catalogue of the bank."""

_CITATION = """## How to cite

The method follows Berezsky, Liashchynskyi, Pitsun and Melnyk, *Synthesis of biomedical images based on generative
intelligence tools*, arXiv:2405.16119. Name the originals' own source and licence as well."""
