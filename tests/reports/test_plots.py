"""Plots: they hold their data, in both modes, and never change by themselves."""

import re
from xml.etree import ElementTree

import numpy as np

from synthbank.reports import Curve, EventLine, MapGroup, MapPart, SnapshotLine, plots, project


def svg_of(made, plot, mode="light"):
    return ElementTree.fromstring(made.decoded(getattr(plot, mode)))


def paths_in(root, colour):
    """Data of every path drawn in a colour."""
    return [e.get("d") for e in root.iter() if e.tag.endswith("}path") and f"stroke: {colour}" in e.get("style", "")]


def marks_in(root, colour):
    return [e for e in root.iter() if e.tag.endswith("}use") and f"stroke: {colour}" in e.get("style", "")]


def test_a_curve_is_drawn_through_its_points(made):
    plot = plots.curves_plot("Losses", [Curve("discriminator", (10, 20, 30), (1.0, 3.0, 2.0))])
    line = max(paths_in(svg_of(made, plot), plots.LIGHT.hues[0]), key=lambda d: d.count("L"))
    points = np.array(re.findall(r"[ML] (\S+) (\S+)", line), float)
    assert len(points) == 3
    assert np.isclose(points[1, 0] - points[0, 0], points[2, 0] - points[1, 0])
    assert np.isclose(points[0, 1] - points[1, 1], 2 * (points[2, 1] - points[1, 1]))  # up is less y
    assert "discriminator ends at 2" in plot.alt


def test_both_modes_show_the_same_shape_in_their_own_ink(made):
    plot = plots.curves_plot("Losses", [Curve("d", (1, 2), (1.0, 2.0))])
    light, dark = svg_of(made, plot), svg_of(made, plot, "dark")
    assert paths_in(light, plots.LIGHT.hues[0]) == paths_in(dark, plots.DARK.hues[0])
    assert not paths_in(dark, plots.LIGHT.hues[0])


def test_guard_events_are_vertical_marks(made):
    curve, events = Curve("d", (10, 90), (1.0, 2.0)), [EventLine(50, "guard", "swing"), EventLine(60, "guard", "swing")]
    plot = plots.curves_plot("Losses", [curve], events=events)
    marks = [
        d for d in paths_in(svg_of(made, plot), plots.LIGHT.warning) if len(set(re.findall(r"[ML] (\S+) ", d))) == 1
    ]
    assert len(marks) == 2
    assert "steps 50, 60" in plot.alt


def test_the_chosen_snapshot_is_named(made):
    lines = [SnapshotLine(10, 80, 9.0, None, None, False), SnapshotLine(20, 160, 4.0, None, None, True)]
    plot = plots.snapshots_plot(lines)
    assert "chosen at step 20 with 4" in plot.alt
    assert len(marks_in(svg_of(made, plot), plots.LIGHT.hues[1])) == 2  # the ring, and its legend


def test_the_map_holds_every_point(made):
    rng = np.random.default_rng(0)
    groups = (MapGroup("real train", "a", rng.normal(size=(9, 2))), MapGroup("synthetic", "b", rng.normal(size=(4, 2))))
    root = svg_of(made, plots.map_plot(MapPart("lite1", groups, (0.3, 0.2))))
    assert len(marks_in(root, plots.LIGHT.hues[0])) == 9
    assert len(marks_in(root, plots.LIGHT.hues[1])) == 4


def test_intervals_leave_out_what_was_not_computed(made):
    scores = [made.score("kid", 1.0, 0.5, 2.0), made.score("kid", None, None, None, class_name="a", floor=(None,) * 3)]
    plot = plots.interval_plot("KID", scores, higher_is_better=False)
    assert plot.alt == "KID, all classes 1.00 against a floor of 0.500."
    assert marks_in(svg_of(made, plot), plots.LIGHT.quiet)


def test_distances_show_the_threshold(made):
    plot = plots.distances_plot([("a$b_c", np.array([3.0, 1.0, 2.0]))], 0.5)
    assert paths_in(svg_of(made, plot), plots.LIGHT.warning)
    assert "a$b_c: least 1.00, middle 2.00; the gate's threshold is 0.500" in plot.alt


def test_the_same_data_give_the_same_bytes():
    curve = Curve("d", (1, 2), (1.0, 2.0))
    assert plots.curves_plot("Losses", [curve]) == plots.curves_plot("Losses", [curve])


def test_long_names_keep_both_ends():
    assert plots.shorten("short") == "short"
    shortened = plots.shorten("actinic keratoses and carcinoma in situ")
    assert len(shortened) == 18
    assert shortened.startswith("actinic k")
    assert shortened.endswith("in situ")


def test_projection_finds_the_directions_of_the_real_images():
    rng = np.random.default_rng(1)
    real = rng.normal(size=(50, 6)) * [10, 3, 0.1, 0.1, 0.1, 0.1]
    fake = np.zeros((2, 6))
    fake[1, 0] = 100.0
    placed, explained = project({"real": real, "fake": fake}, ["real"])
    assert explained[0] > 0.8 > 0.2 > explained[1] > 0.03
    assert np.allclose(placed["real"].mean(axis=0), 0, atol=1e-9)
    assert np.isclose(np.abs(placed["fake"][1, 0] - placed["fake"][0, 0]), 100, rtol=0.01)
    again, _ = project({"real": real[::-1], "fake": fake}, ["real"])
    assert np.allclose(again["fake"], placed["fake"])


def test_projection_of_one_dimension_has_an_empty_second_axis():
    placed, explained = project({"real": np.array([[0.0], [1.0], [5.0]])}, ["real"])
    assert placed["real"].shape == (3, 2)
    assert np.allclose(placed["real"][:, 1], 0)
    assert np.isclose(explained[0], 1)
