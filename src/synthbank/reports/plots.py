"""Plots of a report as SVG data URIs, each drawn for light and for dark pages; the same data give the same bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from synthbank.metrics import KID_SCALE
from synthbank.records import Score
from synthbank.reports.content import Curve, EventLine, MapPart, SnapshotLine
from synthbank.reports.numbers import number

_WIDTH = 3.75
"""Inches of a panel: readable when a phone shrinks it to its own width."""


@dataclass(frozen=True)
class Palette:
    """Colours of one page mode; each has a contrast of at least 4.5 to its page."""

    ink: str
    quiet: str
    grid: str
    hues: tuple[str, ...]
    warning: str


LIGHT = Palette(
    "#20242b",
    "#5b626e",
    "#e1e4e8",
    ("#0b63b0", "#b4530a", "#0d7a5f", "#8a3ba8", "#8c6a00", "#b3245c", "#4a4e9e", "#5c6b00", "#00697d"),
    "#b3261e",
)
DARK = Palette(
    "#e8eaee",
    "#a3abb8",
    "#343b46",
    ("#6db3f2", "#f0a05a", "#4fc7a3", "#cf97ea", "#d9b84a", "#f283ac", "#a9aef5", "#b9c95e", "#5cc8dc"),
    "#ff8a80",
)


@dataclass(frozen=True)
class Plot:
    """One panel: two pictures of the same data and the words for those who cannot see them."""

    light: str
    dark: str
    alt: str
    width: int
    height: int
    """`width` and `height` in CSS pixels, so that the page does not jump while it loads."""


Draw = Callable[[Axes, Palette], None]


def curves_plot(title: str, curves: Sequence[Curve], *, events: Sequence[EventLine] = (), y_label: str = "") -> Plot:
    """Lines over training steps; guard events are vertical marks.

    Args:
        title: of the panel.
        curves: at least one, with the same meaning of `y`.
        events: marked at their steps.
        y_label: what `y` is.
    """

    def draw(axes: Axes, palette: Palette) -> None:
        _mark_events(axes, palette, events)
        for curve, hue, style in zip(curves, _cycle(palette.hues), _cycle(("-", "--", "-.", ":")), strict=False):
            marker = "o" if len(curve.x) < 25 else None
            axes.plot(curve.x, curve.y, style, color=hue, label=curve.name, linewidth=1.5, marker=marker, markersize=3)
        _label_axes(axes, "optimiser step", y_label)

    last = "; ".join(f"{c.name} ends at {number(c.y[-1])}" for c in curves)
    return _plot(draw, title, f"{title} over {curves[0].x[-1]} steps: {last}{_events_in_words(events)}.")


def snapshots_plot(snapshots: Sequence[SnapshotLine], *, events: Sequence[EventLine] = ()) -> Plot:
    """KID of every snapshot, the chosen one marked."""
    scored = [(s.step, s.kid, s.chosen) for s in snapshots if s.kid is not None]
    chosen = next(((step, kid) for step, kid, is_chosen in scored if is_chosen), None)

    def draw(axes: Axes, palette: Palette) -> None:
        _mark_events(axes, palette, events)
        axes.plot(
            [s[0] for s in scored], [s[1] for s in scored], "-o", color=palette.hues[0], linewidth=1.5, markersize=4
        )
        if chosen is not None:
            axes.plot(*chosen, "o", color=palette.hues[1], markersize=9, fillstyle="none", markeredgewidth=2)
            axes.plot([], [], "o", color=palette.hues[1], fillstyle="none", markeredgewidth=2, label="chosen")
        _label_axes(axes, "optimiser step", f"KID × {KID_SCALE:.0f} (lower is better)")

    words = f"chosen at step {chosen[0]} with {number(chosen[1])}" if chosen else "none chosen"
    title = "Kernel distance of snapshots"
    return _plot(draw, title, f"{title}, {len(scored)} of them; {words}{_events_in_words(events)}.")


def distances_plot(distances: Sequence[tuple[str, NDArray[np.float64]]], threshold: float | None) -> Plot:
    """Share of accepted images up to each distance to the nearest training original, with the gate's threshold."""

    def draw(axes: Axes, palette: Palette) -> None:
        for (name, values), hue, style in zip(
            distances, _cycle(palette.hues), _cycle(("-", "--", "-.", ":")), strict=False
        ):
            ordered = np.sort(values)
            share = np.arange(1, len(ordered) + 1) / len(ordered)
            axes.step(ordered, share, style, where="post", color=hue, label=shorten(name), linewidth=1.5)
        if threshold is not None:
            axes.axvline(threshold, color=palette.warning, linewidth=1.5, linestyle="-", label="gate’s threshold")
        axes.set_ylim(0, 1.02)
        _label_axes(axes, "distance to nearest original", "share of accepted images")

    least = "; ".join(
        f"{name}: least {number(float(v.min()))}, middle {number(float(np.median(v)))}" for name, v in distances
    )
    limit = "" if threshold is None else f"; the gate's threshold is {number(threshold)}"
    return _plot(draw, "Distance to the nearest original", f"Distances of accepted images, {least}{limit}.")


def map_plot(embedding: MapPart) -> Plot:
    """Real train, real test and synthetic images on the two leading directions of the real ones."""
    classes = list(dict.fromkeys(group.class_name for group in embedding.groups))
    looks = {"real train": ("o", 0.6, 3.6), "real test": ("s", 1.0, 4.6), "synthetic": ("x", 0.75, 4.0)}

    def draw(axes: Axes, palette: Palette) -> None:
        hues = dict(zip(classes, _cycle(palette.hues), strict=False))
        for group in embedding.groups:
            marker, alpha, size = looks[group.kind]
            hue = hues[group.class_name]
            face = hue if group.kind == "synthetic" else "none"
            axes.plot(
                group.points[:, 0],
                group.points[:, 1],
                marker,
                color=hue,
                markerfacecolor=face,
                markersize=size,
                alpha=alpha,
                markeredgewidth=0.9,
            )
        for kind, (marker, _, size) in looks.items():
            face = palette.ink if kind == "synthetic" else "none"
            axes.plot([], [], marker, color=palette.ink, markerfacecolor=face, markersize=size, label=kind)
        for name in classes:
            axes.plot([], [], "-", color=hues[name], linewidth=4, label=shorten(name))
        first, second = embedding.explained
        _label_axes(axes, f"first direction ({first:.0%} of real variance)", f"second direction ({second:.0%})")
        axes.set_xticks([])
        axes.set_yticks([])

    counts = "; ".join(f"{g.kind} {g.class_name}: {len(g.points)}" for g in embedding.groups)
    return _plot(
        draw, "Map of features", f"Scatter of image features in {embedding.network}; {counts}.", width=4.8, height=5.0
    )


def interval_plot(title: str, scores: Sequence[Score], *, higher_is_better: bool) -> Plot:
    """Value with interval of one metric, for all classes and each class, above the floor's.

    Args:
        title: the metric.
        scores: one a row; those without a value are skipped.
        higher_is_better: said on the axis.
    """
    rows = [s for s in scores if s.value is not None]

    def draw(axes: Axes, palette: Palette) -> None:
        for y, score in enumerate(rows):
            _bar(axes, score.value, score.low, score.high, y - 0.13, palette.hues[0], "o")
            _bar(axes, score.floor, score.floor_low, score.floor_high, y + 0.17, palette.quiet, "D")
        axes.plot([], [], "-o", color=palette.hues[0], markersize=5, label="synthetic")
        axes.plot([], [], "-D", color=palette.quiet, markersize=4.5, markerfacecolor="none", label="floor")
        axes.set_yticks(range(len(rows)), [shorten(s.class_name or "all classes") for s in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        _label_axes(axes, "higher is better" if higher_is_better else "lower is better", "")

    words = "; ".join(_score_in_words(s) for s in rows)
    return _plot(draw, title, f"{title}, {words}.", height=1.15 + 0.4 * len(rows))


def shorten(text: str, width: int = 18) -> str:
    """The label itself; of one longer than `width` characters, the middle becomes an ellipsis."""
    half = width // 2
    return text if len(text) <= width else f"{text[:half]}…{text[half + 1 - width :]}"


def project(
    features: Mapping[str, NDArray[np.floating]], axes_of: Sequence[str]
) -> tuple[dict[str, NDArray[np.float64]], tuple[float, float]]:
    """Two leading principal directions of some sets, and where every set falls on them.

    Args:
        features: name to `[N, D]`.
        axes_of: the sets that the directions are computed from, together at least two images.

    Returns:
        Name to `[N, 2]`, and the share of those sets' variance along each direction. The sign of a direction is fixed
        (its largest component is positive), so that the same features make the same map.
    """
    basis = np.concatenate([np.asarray(features[name], np.float64) for name in axes_of])
    centre = basis.mean(axis=0)
    # rows of `directions` are eigenvectors of the covariance; `strength` squared is n - 1 times their eigenvalues
    _, strength, directions = np.linalg.svd(basis - centre, full_matrices=False)
    leading = np.zeros((2, basis.shape[1]))
    leading[: min(2, len(directions))] = directions[:2]
    # an eigenvector is known up to its sign
    leading *= np.where(leading[np.arange(2), np.abs(leading).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    share = np.zeros(2)
    share[: min(2, len(strength))] = strength[:2] ** 2 / max(float((strength**2).sum()), 1e-12)
    placed = {name: (np.asarray(f, np.float64) - centre) @ leading.T for name, f in features.items()}
    return placed, (float(share[0]), float(share[1]))


def _plot(draw: Draw, title: str, alt: str, *, width: float = _WIDTH, height: float = 2.9) -> Plot:
    light, dark = (_svg_uri(draw, title, palette, (width, height)) for palette in (LIGHT, DARK))
    return Plot(light, dark, alt, round(width * 96), round(height * 96))


def _svg_uri(draw: Draw, title: str, palette: Palette, inches: tuple[float, float]) -> str:
    with _style(palette):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", pad=8)
        axes.grid(True, linewidth=0.6)
        draw(axes, palette)
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=2, handlelength=1.8)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _style(palette: Palette) -> AbstractContextManager[None]:
    """Settings of matplotlib for one page mode; the same figure gives the same bytes."""
    return mpl.rc_context(
        {
            "svg.hashsalt": "synthbank",
            "svg.fonttype": "path",
            "text.parse_math": False,
            "font.family": "DejaVu Sans",
            "font.size": 9.0,
            "text.color": palette.ink,
            "axes.labelcolor": palette.ink,
            "axes.edgecolor": palette.quiet,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.linewidth": 0.8,
            "grid.color": palette.grid,
            "xtick.color": palette.ink,
            "ytick.color": palette.ink,
            "legend.frameon": False,
            "legend.labelcolor": palette.ink,
            "legend.fontsize": 8.5,
        }
    )


def _bar(
    axes: Axes, value: float | None, low: float | None, high: float | None, y: float, hue: str, marker: str
) -> None:
    if value is None:
        return
    if low is not None and high is not None:
        axes.plot([low, high], [y, y], "-", color=hue, linewidth=2.2, solid_capstyle="round")
    face = "none" if marker == "D" else hue
    axes.plot([value], [y], marker, color=hue, markersize=5.5, markerfacecolor=face)


def _mark_events(axes: Axes, palette: Palette, events: Sequence[EventLine]) -> None:
    for i, event in enumerate(events):
        label = "guard event" if i == 0 else None
        axes.axvline(event.step, color=palette.warning, linewidth=1.0, linestyle=(0, (2, 2)), label=label)


def _label_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.tick_params(length=3)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _events_in_words(events: Sequence[EventLine]) -> str:
    return f"; guard events at steps {', '.join(str(e.step) for e in events)}" if events else ""


def _score_in_words(score: Score) -> str:
    assert score.value is not None
    floor = "" if score.floor is None else f" against a floor of {number(score.floor)}"
    return f"{score.class_name or 'all classes'} {number(score.value)}{floor}"


def _cycle(items: Sequence[str]) -> Iterator[str]:
    while True:
        yield from items
