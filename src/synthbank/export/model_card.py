"""The model card in Markdown, beside its JSON: what the model is, what it was made from, how it scored, and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synthbank.errors import StateError
from synthbank.export.card import cell, score_sections
from synthbank.records import CardStart, ModelCard, Score


def model_card_markdown(
    card: ModelCard,
    *,
    scores: Sequence[Score] = (),
    scorecard: Mapping[str, Any] | None = None,
    chosen_by: str | None = None,
) -> str:
    """Markdown of a published model's card.

    Args:
        card: of the model; it must say what the model was made from.
        scores: of a job of this model; empty: not evaluated yet.
        scorecard: the seven criteria of that job in plain values; `None`: not filled yet.
        chosen_by: how the snapshot was chosen, in words; `None`: as the card records it.

    Raises:
        StateError: the card names no data set, or no snapshot.

    Source: Mitchell et al. 2019, "Model cards for model reporting", arXiv 1810.03993 (the order of sections).
    """
    dataset, snapshot, spec = card.dataset, card.snapshot, card.spec
    if dataset is None or snapshot is None:
        raise StateError("The card does not say what its model was made from", got=card.name)
    sections = [
        f"# Model card: {card.name}",
        "A generator of synthetic biomedical images. **Its images are not observations.**",
        _facts(
            "Model",
            {
                "Architecture": spec["architecture"],
                "Images": f"{spec['size']} x {spec['size']} pixels, {spec['channels']} channels",
                "Classes": ", ".join(spec["class_names"]),
                "Weights, SHA-256": card.weights_sha256,
                "Made with": ", ".join(f"{name} {version}" for name, version in card.software.items()),
            },
        ),
        "## Intended use\n\nMore training images for a classifier whose originals are scarce, and method studies. "
        f"Not for {card.not_for}.",
        _facts(
            "Originals",
            {
                "Data set": f"{dataset.name} version {dataset.version}, fingerprint {dataset.fingerprint}",
                "Training originals": dataset.training_originals,
                "Source": dataset.source or "not recorded",
                "Licence": dataset.licence or "not recorded: check before sharing",
            },
        ),
        _facts(
            "Training",
            {
                "Published snapshot": f"step {snapshot.step}, {snapshot.images_seen} images seen; "
                f"chosen by {chosen_by or snapshot.reference.sentence}",
                **({} if card.shortfall is None else {"Too short": card.shortfall.sentence}),
                **{name: value for name, value in sorted(card.training.items()) if value not in (None, {}, [])},
            },
        ),
        *([] if card.start is None else [_start(card.start)]),
        score_sections(scores, none="Not evaluated yet: `synthbank evaluate`."),
        _scorecard(scorecard),
        "## Limits\n\n- It repeats what its originals show, with their bias: staining, scanner, hospital, choice of "
        "cases.\n- It cannot make a kind of image that its originals lack.\n- Screening lowers the risk of copies; it "
        "is no privacy guarantee.\n"
        + _cannot_tell(card.cannot_tell)
        + "- When an original is withdrawn, this model and all its images are withdrawn too.",
    ]
    return "\n\n".join(sections) + "\n"


def _cannot_tell(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"- In {', '.join(names)}, screening cannot tell copies from new images: accepted ones may be copies.\n"


def _facts(title: str, facts: Mapping[str, Any]) -> str:
    return "\n".join([f"## {title}", "", *(f"- {name}: {cell(str(value))}" for name, value in facts.items())])


def _start(start: CardStart) -> str:
    dataset = start.dataset
    facts = {
        "Initial weights": f"{start.source}, SHA-256 {start.weights_sha256}",
        "They were trained on": start.data or (dataset and (dataset.source or dataset.name)) or "not recorded",
        "Fingerprint of that data set": "not recorded" if dataset is None else dataset.fingerprint,
        "Licence": start.licence or (dataset and dataset.licence) or "not recorded: check before sharing",
    }
    return _facts("Start", facts)


def _scorecard(scorecard: Mapping[str, Any] | None) -> str:
    if scorecard is None:
        return "## Scorecard\n\nNot filled yet: `synthbank report`."
    rows = [
        f"| {c['name']} | {c['conclusion']} | {cell('; '.join(c['not_measured']))} |" for c in scorecard["criteria"]
    ]
    head = ["## Scorecard", "", f"Of job `{scorecard['job']}`; the report has every line with its limit.", ""]
    return "\n".join([*head, "| criterion | conclusion | not measured |", "|---|---|---|", *rows])
