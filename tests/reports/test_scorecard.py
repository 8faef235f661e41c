import dataclasses
import json
import re
from pathlib import Path

from synthbank.records import Score
from synthbank.reports import Conclusion, render_report, scorecard

SEVEN = ["Congruence", "Coverage", "Constraint", "Completeness", "Compliance", "Comprehension", "Consistency"]


def gain(value, low, high, *, name="macro-f1", cell="both"):
    details = {"p_value": 0.01, "verdict": "helps", "seeds": 5, "folds": 1, "method": "bootstrap"}
    return Score(f"gain-{name}-cnn-{cell}", value, low, high, n_real=60, n_fake=80, details=details)


def use(cell, value):
    return Score(
        f"utility-macro-f1-cnn-{cell}",
        value,
        value - 0.1,
        value + 0.1,
        n_real=60,
        higher_is_better=True,
        details={"seeds": 5, "folds": 1, "method": "bootstrap"},
    )


def agreement(value, low, high):
    return Score(
        "label-agreement-lite1-64", value, low, high, 0.9, 0.85, 0.95, n_real=60, n_fake=80, higher_is_better=True
    )


def named(data):
    return {c.name: c for c in scorecard(data).criteria}


def test_all_seven_stand_there_with_what_was_not_measured(made):
    card = scorecard(made.report())
    assert [c.name for c in card.criteria] == SEVEN
    assert all(c.not_measured for c in card.criteria)
    assert all(line.threshold and line.better in ("higher", "lower", "yes") for c in card.criteria for line in c.lines)
    assert json.loads(json.dumps(card.to_json()))["criteria"][0]["conclusion"] == card.criteria[0].conclusion.value


def test_what_was_not_computed_is_never_called_shown(made):
    criteria = named(made.report(scores=()))
    of_three = {criteria[name].conclusion for name in ("Congruence", "Coverage", "Constraint")}
    assert of_three == {Conclusion.UNDECIDED}
    congruence = named(made.report())["Congruence"]
    assert congruence.conclusion == Conclusion.PARTLY  # no Fréchet distance and no precision there


def test_a_score_beyond_its_floor_fails_its_criterion(made):
    bad = made.score("kid", 5.0, 4.0, 6.0)
    rest = tuple(s for s in made.good_scores() if not (s.metric.startswith("kid") and s.class_name is None))
    assert named(made.report(scores=(bad, *rest)))["Congruence"].conclusion == Conclusion.PROBLEM
    assert named(made.report(evidence=(agreement(0.5, 0.4, 0.6),)))["Constraint"].conclusion == Conclusion.PROBLEM
    assert named(made.report(evidence=(agreement(0.88, 0.8, 0.93),)))["Constraint"].conclusion == Conclusion.SHOWN


def test_few_test_originals_show_nothing(made):
    lines = named(made.report(scores=made.good_scores(n_real=12)))["Consistency"].lines
    assert {line.conclusion for line in lines} == {Conclusion.NOT_SHOWN}


def test_facts_of_data_gate_and_job_decide_the_rest(made):
    data = made.report()
    assert named(data)["Completeness"].conclusion == Conclusion.SHOWN
    short = dataclasses.replace(data, job=dataclasses.replace(data.job, n_accepted=10))
    assert named(short)["Completeness"].conclusion == Conclusion.PROBLEM
    leak = dataclasses.replace(data, data=dataclasses.replace(data.data, n_groups_across_splits=2))
    assert named(leak)["Compliance"].conclusion == Conclusion.PROBLEM
    unscreened = dataclasses.replace(data, gate=dataclasses.replace(data.gate, screened=False))
    assert named(unscreened)["Compliance"].conclusion == Conclusion.PROBLEM


def test_groups_and_shifts_count_for_consistency(made):
    groups = [
        Score("group-coverage-lite1-64", v, v - 0.1, v + 0.1, n_real=60, higher_is_better=True, group_name=g)
        for g, v in (("slide 1", 0.9), ("slide 2", 0.15))
    ]
    criteria = named(made.report(evidence=tuple(groups)))["Consistency"]
    assert criteria.conclusion == Conclusion.PROBLEM
    assert any("slide 2" in line.measure for line in criteria.lines)
    worse = named(made.report(evidence=(gain(-0.2, -0.3, -0.1, name="macro-f1@blur"),)))["Consistency"]
    assert any("blur" in line.measure and line.conclusion == Conclusion.PROBLEM for line in worse.lines)


def test_the_page_shows_scorecard_and_regimes(made):
    evidence = (
        use("real", 0.6),
        use("affine", 0.7),
        use("both", 0.8),
        gain(0.1, 0.02, 0.18),
        agreement(0.88, 0.8, 0.93),
    )
    page = made.page(render_report(made.report(evidence=evidence)))
    for name in SEVEN:
        assert name in page.text
    assert "originals and synthetic images, affine augmentation" in page.text
    assert "Label agreement" in page.text
    assert "Not tried." not in page.text
    assert {"scorecard", "utility"} <= set(page.ids)
    empty = made.page(render_report(made.report()))
    assert "synthbank utility j1" in empty.text


def test_the_documents_explain_every_conclusion():
    text = (Path(__file__).parents[2] / "docs" / "utility.md").read_text()
    table = text.split("| conclusion | meaning |", 1)[1].split("\n\n", 1)[0]
    assert re.findall(r"^\| ([a-z ]+) \|", table, re.MULTILINE) == [c.value for c in Conclusion]
