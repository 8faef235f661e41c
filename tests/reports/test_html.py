"""The page: sections, self-containment, escaping, pictures."""

import re
import subprocess
import sys
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from synthbank.metrics import metrics
from synthbank.reports import plots, render_report

SECTIONS = [
    "conclusion",
    "scorecard",
    "utility",
    "data",
    "split",
    "training",
    "samples",
    "nearest",
    "gate",
    "scores",
    "map",
    "omissions",
    "again",
]


def test_every_section_is_there_in_order_and_has_a_heading(made, usual_page):
    page = made.page(usual_page)
    assert [i for i in page.ids if i in SECTIONS] == SECTIONS
    assert [tag for tag, _ in page.headings].count("h1") == 1
    assert all(text for _, text in page.headings)
    assert [tag for tag, _ in page.headings].count("h2") == len(SECTIONS)


def test_nothing_is_asked_from_outside_and_nothing_runs(made, usual_page):
    html = usual_page
    page = made.page(html)
    assert page.addresses
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert "script" not in page.tags
    assert "@import" not in html
    assert "url(" not in html
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)


def test_hostile_names_are_text(made):
    hostile = '<script>alert("x")</script>'
    names = (hostile, "b$x^2$ & co")
    report = made.report(class_names=names, title=hostile, commands=(hostile,))
    html = render_report(replace(report, scores=(made.score("kid", 1, 0, 2, class_name=hostile, note=hostile),)))
    page = made.page(html)
    assert "script" not in page.tags
    assert "<script" not in html
    assert hostile in page.text
    assert names[1] in page.text


def test_sheets_and_pairs_hold_the_images_themselves(made, usual_page):
    report = made.report()
    page = made.page(usual_page)
    n, gap = made.size, 2
    sheets = [i for i in page.images if i["alt"].startswith("6 ")]
    assert [i["alt"] for i in sheets[:2]] == ["6 real images of class negative", "6 synthetic images of class negative"]
    sheet = made.pixels(sheets[1]["src"])
    assert sheet.shape == (2 * n + gap, 4 * n + 3 * gap, 3)
    assert np.array_equal(sheet[:n, :n], report.samples[0].synthetic[0].transpose(1, 2, 0))
    pairs = [i for i in page.images if i["alt"].startswith("Synthetic image")]
    shapes = [made.pixels(i["src"]).shape for i in pairs]
    assert shapes.count((n, 2 * n + gap, 3)) == len(pairs) - 1
    assert shapes.count((n, n, 3)) == 1  # its original is not in the bank


def test_every_picture_has_words_and_every_head_a_scope(made, usual_page):
    page = made.page(usual_page)
    assert all(len(image.get("alt", "")) > 10 for image in page.images)
    assert page.heads
    assert all(head.get("scope") in ("col", "row") for head in page.heads)


def test_a_job_without_scores_says_so(made):
    page = made.page(render_report(made.report(scores=())))
    assert "has not been evaluated" in page.text
    assert "Not evaluated: nothing can be said" in page.text
    assert [i for i in page.ids if i in SECTIONS] == SECTIONS


def test_a_model_from_elsewhere_says_what_is_missing(made):
    report = made.report()
    training = replace(report.training, run_id=None, losses=(), logits=(), snapshots=(), history_found=False, config=())
    bare = replace(report, data=None, expansion=None, nearest=None, map=None, training=training, samples=())
    text = made.page(render_report(bare)).text
    assert "not in this bank" in text
    assert "loss curves cannot be drawn" in text
    assert "too few images, or no originals" in text


def test_training_that_was_too_short_is_said(made):
    short = "Training saw 320 images; good sets of this size had seen about 50,000."
    report = made.report()
    assert short not in made.page(render_report(report)).text
    training = replace(report.training, shortfall=short)
    assert short in made.page(render_report(replace(report, training=training))).text


def test_guard_events_are_listed(made):
    training = made.with_events(made.report().training, (70, "a loss reached 51"))
    text = made.page(render_report(made.report(training=training))).text
    assert "a loss reached 51" in text
    assert "No guard fired" not in text


def test_the_same_content_gives_the_same_bytes(made, usual_page):
    assert render_report(made.report()) == usual_page


def test_grey_images_and_one_class(made):
    report = made.report(class_names=("only",))
    grey = replace(report.samples[0], real=report.samples[0].real[:, :1], synthetic=report.samples[0].synthetic[:, :1])
    page = made.page(render_report(replace(report, samples=(grey,))))
    assert any(i["alt"] == "6 real images of class only" for i in page.images)


def test_no_torch_is_loaded():
    code = "import synthbank.reports, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_ink_stands_out_from_the_page(mode):
    css = (resources.files("synthbank.reports") / "templates" / "report.css").read_text()
    block = css.split("prefers-color-scheme: dark")[mode == "dark"]
    colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block))
    inks = [colours[name] for name in ("ink", "soft", "link", "fine", "care", "problem", "unknown")]
    palette = plots.DARK if mode == "dark" else plots.LIGHT
    for paper in (colours["page"], colours["panel"]):
        assert all(_contrast(ink, paper) >= 4.5 for ink in inks)
    assert all(_contrast(ink, colours["page"]) >= 4.5 for ink in (palette.ink, palette.quiet, *palette.hues))


def _contrast(a, b):
    """WCAG 2 contrast ratio of two colours."""
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour):
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_the_page_says_what_each_measure_means_in_the_order_of_the_tables(made, usual_page):
    text = made.page(usual_page).text
    meanings = text[text.index("Meaning of the measures") : text.index("Intervals beside floors")]
    expected = [metrics.spec(name) for name in ("kid", "recall", "coverage", "copy-rate")]
    places = [meanings.index(spec.title + spec.meaning) for spec in expected]
    assert places == sorted(places)


def test_the_gate_names_the_classes_in_which_it_cannot_tell_copies_from_new_images(made, usual_page):
    data = made.report()
    text = made.page(render_report(replace(data, gate=replace(data.gate, cannot_tell=("blurred cells",))))).text
    assert "Cannot tell: in blurred cells" in text
    assert "Cannot tell" not in usual_page
