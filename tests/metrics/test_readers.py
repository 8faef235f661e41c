import pytest

from synthbank.errors import OptionError
from synthbank.metrics import Answer, reader_scores, wilson_interval


def answers(reader, right, wrong, *, name="a", truth="synthetic"):
    other = "real" if truth == "synthetic" else "synthetic"
    return [Answer(reader, name, truth, truth)] * right + [Answer(reader, name, truth, other)] * wrong


def test_accuracy_of_each_reader_and_class_by_hand():
    given = answers("ann", 9, 1) + answers("ann", 4, 6, name="b", truth="real") + answers("bob", 5, 5)
    found = {(s.reader, s.class_name): s for s in reader_scores(given)}
    assert set(found) == {
        (None, None),
        (None, "a"),
        (None, "b"),
        ("ann", None),
        ("ann", "a"),
        ("ann", "b"),
        ("bob", None),
        ("bob", "a"),
    }
    assert found["ann", None].accuracy == 13 / 20
    assert (found["ann", None].low, found["ann", None].high) == wilson_interval(13 / 20, 20)
    assert found["ann", "a"].synthetic_called_real == 0.1
    assert found["ann", "a"].real_called_real is None
    assert found["ann", "b"].real_called_real == 0.4
    assert found[None, None].n == 30


def test_the_conclusion_on_a_reader_follows_the_interval():
    assert reader_scores(answers("x", 19, 1))[0].conclusion == "tells them apart"
    assert reader_scores(answers("x", 10, 10))[0].conclusion == "no better than guessing was shown"
    assert reader_scores(answers("x", 1, 19))[0].conclusion == "is fooled more often than not"


def test_missing_and_invalid_answers_raise():
    with pytest.raises(OptionError, match="no answer"):
        reader_scores([])
    with pytest.raises(OptionError, match="no answer of a reader"):
        reader_scores([Answer("x", "a", "real", "maybe")])
