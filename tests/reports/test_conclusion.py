"""The conclusions say what the scores allow, and no more."""

from dataclasses import replace

import pytest

from synthbank.reports import Tone, conclude
from synthbank.reports.numbers import interval, number
from synthbank.reports.omissions import not_measured


def tones(data):
    return {s.title: s.tone for s in conclude(data).statements}


def test_overlap_with_the_floor_is_no_proof(made):
    said = conclude(made.report())
    assert said.headline == "No difference from real images was shown with 60 test images"
    assert set(tones(made.report()).values()) == {Tone.FINE}
    assert "does not prove" in next(s.text for s in said.statements if s.title == "Closeness to real images")


def test_few_test_images_are_never_fine(made):
    data = made.report(scores=made.good_scores(n_real=20))
    said = tones(data)
    assert "too few" in conclude(data).headline
    assert said["Amount of evidence"] == said["Closeness to real images"] == said["Variety"] == Tone.CARE
    assert said["Copies of training originals"] == Tone.CARE
    assert said["Single classes"] == Tone.UNKNOWN


def test_above_the_floor_is_a_problem(made):
    bad = (made.score("kid", 0.9, 0.8, 1.0), *made.good_scores()[1:])
    assert (
        conclude(made.report(scores=bad)).headline == "The synthetic images can still be distinguished from real ones"
    )
    assert tones(made.report(scores=bad))["Closeness to real images"] == Tone.PROBLEM


def test_low_coverage_is_a_problem_though_kid_is_fine(made):
    scores = made.good_scores()
    bad = (scores[0], made.score("coverage", 0.1, 0.05, 0.2, higher=True), *scores[2:])
    data = made.report(scores=bad)
    text = next(s.text for s in conclude(data).statements if s.title == "Variety")
    assert tones(data)["Variety"] == Tone.PROBLEM
    assert "Coverage lies below" in text


def test_copies_lead_the_headline(made):
    scores = made.good_scores()
    data = made.report(scores=(*scores[:3], made.score("copy-rate", 0.9, 0.8, 0.95), *scores[4:]))
    assert "copy training originals" in conclude(data).headline
    assert tones(data)["Copies of training originals"] == Tone.PROBLEM


def test_one_class_above_its_floor_is_named(made):
    scores = [s for s in made.good_scores() if (s.metric, s.class_name) != ("kid-lite1-64", "positive")]
    data = made.report(scores=(*scores, made.score("kid", 0.9, 0.8, 1.0, class_name="positive")))
    text = next(s.text for s in conclude(data).statements if s.title == "Single classes")
    assert "above the floor: positive." in text
    assert tones(data)["Single classes"] == Tone.PROBLEM


def test_scores_that_were_not_computed_say_nothing(made):
    data = made.report(scores=(made.score("kid", None, None, None, floor=(None,) * 3, n_real=2, note="too few"),))
    assert conclude(data).headline.startswith("Too few images to say")
    assert tones(data)["Closeness to real images"] == Tone.UNKNOWN


def test_a_missing_floor_is_not_passed(made):
    data = made.report(scores=(made.score("kid", 0.1, 0.0, 0.2, floor=(None,) * 3),))
    assert "no floor" in conclude(data).headline
    assert tones(data)["Closeness to real images"] == Tone.UNKNOWN


def test_unscreened_withdrawn_and_short_jobs_are_named(made):
    report = made.report()
    data = replace(
        report,
        gate=replace(report.gate, screened=False),
        training=replace(report.training, withdrawn=True),
        job=replace(report.job, n_accepted=50, message="attempt cap reached for positive"),
    )
    said = conclude(data)
    assert said.headline.startswith("Withdrawn")
    assert tones(data)["Copies of training originals"] == Tone.PROBLEM
    assert "attempt cap" in said.statements[-1].text


def test_guard_events_ask_for_care(made):
    data = made.report(training=made.with_events(made.report().training, (70, "collapse")))
    assert tones(data)["Training"] == Tone.CARE


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (0.123456, "0.123"),
        (12.345, "12.3"),
        (33943.4, "33,943"),
        (-0.05, "−0.0500"),
        (1e-9, "0"),
        (-1e-9, "0"),
    ],
)
def test_numbers(value, words):
    assert number(value) == words


def test_no_bounds_are_a_dash():
    assert interval(None, 1.0) == "—"
    assert interval(0.5, 1.0) == "0.500 to 1.00"


def test_what_was_not_measured_follows_the_data(made):
    report = made.report()
    titles = dict(not_measured(report))
    assert {"FID (Inception)", "Inception Score", "Reader study", "Use in a classifier", "Privacy"} <= set(titles)
    assert "Reader study" not in dict(not_measured(replace(report, reader_answers=3)))
    own_groups = replace(report, data=replace(report.data, n_groups=110))
    assert "Independence of the test originals" in dict(not_measured(own_groups))
    assert "All scores" in dict(not_measured(replace(report, scores=())))
