"""Records that are stored as JSON: what was written is read again, by this version and by those before it."""

import json
from pathlib import Path

import pytest

from synthbank.errors import IntegrityError
from synthbank.records import CardDataset, ModelCard, SnapshotReference, Split

ROOT = Path(__file__).resolve().parents[1]
PACKAGED = sorted([*ROOT.glob("src/synthbank/zoo/*/model.json"), *ROOT.glob("zoo/synthbank_zoo/*/model.json")])
SPEC = {"architecture": "sagan", "size": 64, "channels": 3, "class_names": ["a", "b"]}
LEAST = {"name": "m", "spec": SPEC, "weights_sha256": "ab"}


@pytest.mark.parametrize("path", PACKAGED, ids=lambda p: f"{p.parents[1].name}/{p.parent.name}")
def test_packaged_cards_of_earlier_versions_are_read_and_written_as_they_are(path):
    stored = json.loads(path.read_text())
    card = ModelCard.from_json(stored)
    assert card.to_json() == stored
    assert list(card.to_json()) == list(stored)
    assert card.tells_origin
    assert "lr_floor" in card.training  # an old name, left as it was stored
    assert card.dataset.fingerprint == stored["dataset"]["fingerprint"]
    assert set(card.other) == {"trained", "scores"}
    if card.start is not None:
        assert card.start.source == stored["start"]["from"]


def test_a_card_keeps_the_keys_that_it_does_not_know():
    stored = {
        **LEAST,
        "dataset": {
            "name": "d",
            "version": 1,
            "fingerprint": "f",
            "licence": None,
            "source": None,
            "training_originals": 3,
            "colour": "red",
        },
        "start": {"from": "zoo:x", "weights_sha256": "cd", "dataset": None, "data": None, "licence": None, "new": 1},
        "later": {},
        "originals": ["h1", "h2"],
    }
    card = ModelCard.from_json(stored)
    assert card.to_json() == stored
    assert card.originals == ("h1", "h2")
    assert card.dataset == CardDataset("d", 1, "f", None, None, 3, {"colour": "red"})


def test_what_a_card_does_not_record_has_no_key():
    card = ModelCard.from_json(LEAST)
    assert card.to_json() == LEAST
    assert (card.screen_sha256, card.dataset, card.tells_origin) == (None, None, False)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [1],
        {},
        {**LEAST, "spec": {"size": 64}},
        {**LEAST, "spec": 3},
        {k: v for k, v in LEAST.items() if k != "weights_sha256"},
        {**LEAST, "dataset": {"name": "d"}},
        {**LEAST, "start": 5},
    ],
)
def test_what_is_no_card_of_a_model_is_refused(stored):
    with pytest.raises(IntegrityError, match="not the card of a model"):
        ModelCard.from_json(stored)


def test_model_json_is_read_and_written_in_one_place():
    """Elsewhere a card is a `ModelCard`: nobody picks values out of its JSON."""
    source = ROOT / "src" / "synthbank"
    for path in source.rglob("*.py"):
        text = path.read_text()
        assert ".card[" not in text, path
        assert ".card.get(" not in text, path


@pytest.mark.parametrize(
    ("n", "split", "words"),
    [
        (8, Split.VALIDATION, "8 validation originals"),
        (7, Split.TRAIN, "training originals, as there are only 7"),
        (None, None, "not recorded"),
    ],
)
def test_few_validation_originals_leave_the_choice_to_training_originals(n, split, words):
    reference = SnapshotReference(n)
    assert reference.split is split
    assert words in reference.sentence
