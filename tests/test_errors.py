"""Every message says what was wrong, what was got, what is allowed, and what to do next."""

import pickle

import pytest

from synthbank import errors
from synthbank.errors import (
    InputError,
    IntegrityError,
    NotFoundError,
    OptionError,
    SetupError,
    SourceError,
    StateError,
    SynthBankError,
    TrainingError,
    UnknownNameError,
    UnsafeArchiveError,
)


def test_a_message_has_all_four_parts_in_order():
    error = SynthBankError("Size is odd.", got=33, allowed=[32, 64], next_step="resize first.", path="a.png")
    assert str(error) == error.message == "Size is odd. Got: 33. Allowed: 32, 64. Next: resize first."
    assert error.facts == {"path": "a.png"}
    assert (error.what, error.got, error.allowed, error.next_step) == ("Size is odd.", 33, [32, 64], "resize first.")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "Broken."),
        ({"got": 0}, "Broken. Got: 0."),
        ({"got": ""}, "Broken. Got: ."),
        ({"allowed": ("a", "b")}, "Broken. Allowed: a, b."),
        ({"next_step": "mend it"}, "Broken. Next: mend it."),
    ],
)
def test_parts_that_were_not_given_are_left_out(facts, message):
    assert str(SynthBankError("Broken", **facts)) == message


def test_the_nearest_name_is_offered():
    error = UnknownNameError("architecture", "projcted", ["sagan", "projected"])
    start = "Unknown architecture. Got: projcted. Allowed: projected, sagan. Next: did you mean 'projected'?"
    assert error.message.startswith(start)
    assert error.facts["kind"] == "architecture"


def test_without_a_near_name_the_given_step_or_nothing_is_offered():
    assert UnknownNameError("model", "zzz", ["alpha"]).next_step is None
    assert UnknownNameError("model", "zzz", ["alpha"], next_step="train one").next_step == "train one"


def test_an_empty_registry_says_so():
    assert "Allowed: none yet." in UnknownNameError("model", "a", []).message


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        (InputError, SynthBankError),
        (SourceError, InputError),
        (UnsafeArchiveError, InputError),
        (OptionError, SynthBankError),
        (UnknownNameError, OptionError),
        (StateError, SynthBankError),
        (NotFoundError, StateError),
        (IntegrityError, StateError),
        (errors.BusyError, StateError),
        (errors.AccessError, SynthBankError),
        (TrainingError, SynthBankError),
        (SetupError, SynthBankError),
    ],
)
def test_the_tree_is_the_documented_one(child, parent):
    assert child.__bases__ == (parent,)
    assert child.__name__ in errors.__doc__


def test_every_error_is_in_the_one_tree():
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    assert len(classes) == 13
    assert all(issubclass(c, SynthBankError) for c in classes)


@pytest.mark.parametrize("error", [OptionError("Bad", got=1), TrainingError("Diverged", got="NaN", step=3)])
def test_an_error_survives_the_way_between_processes(error):
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is type(error)
    assert again.what == error.what
    assert again.facts == error.facts
