"""Terminal, report and API list the scores of a job in one order, which the specs of the metrics declare."""

import re

import numpy as np
import pytest

from synthbank.catalogue import queries
from synthbank.cli.output import say_scores
from synthbank.metrics import metrics
from synthbank.metrics._registry import ordered
from synthbank.records import Score
from synthbank.reports import render_report
from synthbank.reports.scores import meaning_of, order_scores, title_of

from ..reports.conftest import make_report
from .conftest import CLASSES

SPACES = {"two-sample": "lite1-64", "three-sample": "lite1-64", "pixels": "pixels-64", "declared": "inception-299"}


def shuffled_scores():
    """Every registered metric over all classes and for each, some through a second network, and an unknown metric."""
    scores = [
        Score(f"{name}-{SPACES[metrics.spec(name).kind]}", 0.5, 0.4, 0.6, 0.5, 0.4, 0.6, 60, 80, class_name)
        for name in metrics
        for class_name in (None, *CLASSES)
    ]
    scores += [Score(f"{name}-lite0-64", 0.5, class_name=None) for name in ("vendi", "fd-inf", "kid", "recall")]
    scores.append(Score("a-metric-of-old-lite1-64", 0.5))
    return [scores[i] for i in np.random.default_rng(0).permutation(len(scores))]


def ids_of_the_page(scores):
    page = render_report(make_report(CLASSES, scores=tuple(scores)))
    return re.findall(r'<span class="id">([^<]+)</span>', page)


@pytest.fixture
def listed(client):
    """Scores of a job as the API lists them."""
    job = client.get("/v1/jobs").json()["items"][0]["id"]
    with client.app.state.service.bank.catalogue.session() as session:
        queries.add_scores(shuffled_scores(), subject_kind="job", subject_id=job, session=session)
    return client.get("/v1/evaluations", params={"subject": job}).json()


def test_terminal_report_and_api_list_the_same_metrics_in_the_same_order(listed, capsys):
    scores = shuffled_scores()
    say_scores(scores, title="scores")
    terminal = re.findall(r"│ (\S+-(?:\d+)) [↑↓]", capsys.readouterr().out)
    api = [(row["metric"], row["class_name"]) for row in listed]
    report = ids_of_the_page(scores)
    assert [metric for metric, _ in api] == report
    n_leading = len(terminal)
    assert terminal == report[:n_leading]
    assert {metric.split("-")[-2] for metric in report[n_leading:]} == {"lite0"}
    over_all = [metric for metric, class_name in api[:n_leading] if class_name is None]
    assert [metric.rsplit("-", 2)[0] for metric in over_all] == [*ordered(), "a-metric-of-old"]


def test_the_api_gives_the_title_and_meaning_of_the_spec(listed):
    for row in listed:
        assert (row["title"], row["meaning"]) == (title_of(row["metric"]), meaning_of(row["metric"]))
    kid = next(row for row in listed if row["metric"] == "kid-lite1-64")
    assert kid["title"] == metrics.spec("kid").title


def test_all_classes_come_before_single_ones_and_the_leading_network_first():
    ordered_scores = order_scores(shuffled_scores(), CLASSES)
    networks = [s.metric.split("-")[-2] for s in ordered_scores]
    assert networks.index("lite0") > max(i for i, name in enumerate(networks) if name == "lite1")
    names = [s.class_name for s in ordered_scores if "lite0" not in s.metric]
    assert names == sorted(names, key=lambda name: (None, *CLASSES).index(name))
