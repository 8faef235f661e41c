import json

import pytest

from synthbank.catalogue import queries
from synthbank.export import ExportRequest, export_images, model_card_markdown
from synthbank.records import ModelCard, Score, Shortfall, SnapshotReference

CARD = {
    "name": "m1",
    "spec": {"architecture": "projected", "size": 64, "channels": 3, "class_names": ["a|b", "c"]},
    "weights_sha256": "ab" * 32,
    "dataset": {
        "name": "slides",
        "version": 2,
        "fingerprint": "cd" * 32,
        "licence": None,
        "source": "a folder",
        "training_originals": 130,
    },
    "training": {"steps": 100, "grad_clip": None},
    "snapshot": {"step": 90, "images_seen": 1440, "scores": {}},
    "software": {"synthbank": "0.1.0"},
    "not_for": "diagnosis",
}


def export_set(*, catalogue, store, **options):
    return export_images(ExportRequest(**options), catalogue=catalogue, store=store)


def card_text(card, **more):
    return model_card_markdown(ModelCard.from_json(card), **more)


def test_a_model_card_says_what_it_is_and_is_not_for():
    text = card_text(CARD)
    for phrase in ("# Model card: m1", "a\\|b, c", "130", "check before sharing", "Not for diagnosis", "step 90"):
        assert phrase in text
    assert "Not evaluated yet" in text
    assert "Not filled yet" in text
    assert "chosen by KID to originals whose split is not recorded" in text
    snapshot = CARD["snapshot"] | {"validation_originals": 3}
    assert f"chosen by {SnapshotReference(3).sentence}" in card_text(CARD | {"snapshot": snapshot})
    assert "grad_clip" not in text
    assert "cannot tell" not in text


def test_a_model_card_names_the_classes_whose_copies_the_gate_cannot_tell():
    card = ModelCard.from_json(CARD | {"cannot_tell": ["c"]})
    assert "In c, screening cannot tell copies from new images" in model_card_markdown(card)
    assert card.to_json()["cannot_tell"] == ["c"]


def test_a_model_card_says_that_training_was_too_short():
    short = Shortfall(320, 50_000, "synthbank train slides --steps 3125")
    text = card_text(CARD | {"shortfall": {"images_seen": 320, "good_images": 50_000, "command": short.command}})
    assert f"- Too short: {short.sentence}" in text
    assert "Too short" not in card_text(CARD)


def test_a_model_card_names_the_initial_weights_and_what_they_were_trained_on():
    start = {"from": "zoo:x", "weights_sha256": "ef" * 32, "dataset": CARD["dataset"], "data": None, "licence": None}
    text = card_text(CARD | {"start": start})
    for phrase in ("zoo:x, SHA-256 efef", "They were trained on: a folder", "cdcd", "Licence: not recorded"):
        assert phrase in text.split("## Start")[1]
    known = card_text(CARD | {"start": start | {"data": "Blood cells", "licence": "MIT"}})
    assert "They were trained on: Blood cells" in known
    assert "Licence: MIT" in known
    assert "## Start" not in card_text(CARD)


def test_a_model_card_holds_scores_by_kind_and_the_scorecard():
    scores = [
        Score("kid-lite1-64", 1.0, 0.5, 1.5),
        Score("gain-macro-f1-cnn-both", 0.1, 0.05, 0.15, higher_is_better=True),
        Score("group-coverage-lite1-64", 0.9, group_name="slide 7", higher_is_better=True),
    ]
    card = {"job": "j1", "criteria": [{"name": "Congruence", "conclusion": "shown", "not_measured": ["x | y"]}]}
    text = card_text(CARD, scores=scores, scorecard=card)
    places = [
        text.index(t) for t in ("## Scores", "## Use in a classifier", "## Rare kinds", "| Congruence | shown | x \\|")
    ]
    assert places == sorted(places)
    assert "slide 7" in text


@pytest.mark.parametrize("fmt", ["folder", "npz"])
def test_an_export_has_its_card_for_programs_too(filled, image_rows, store, tmp_path, fmt):
    with filled.session() as session:
        queries.add_images(image_rows("job-alpha", 4, store=store), session=session)
        score = Score("gain-macro-f1-cnn-both", 0.1, 0.05, 0.15, details={"p_value": 0.02, "seeds": 5})
        queries.add_scores([score], session=session, subject_kind="job", subject_id="job-alpha")
    export_set(catalogue=filled, store=store, job_id="job-alpha", target=tmp_path / "out", fmt=fmt)
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["synthetic"] is True
    assert card["counts"] == {"dab_negative": 4, "dab_positive": 4}
    assert card["originals"]["licence"] == "CC0-1.0"
    assert card["scores"][0]["details"] == {"p_value": 0.02, "seeds": 5}
    assert any("diagnosis" in limit for limit in card["limits"])
