"""The page: content in, one self-contained HTML file out."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from synthbank.metrics import KID_SCALE
from synthbank.records import Score, UInt8Images
from synthbank.reports.conclusion import FEW_TEST_IMAGES, conclude
from synthbank.reports.content import Pair, ReportData
from synthbank.reports.grids import image_grid
from synthbank.reports.numbers import interval, number
from synthbank.reports.omissions import not_measured
from synthbank.reports.plots import Plot, curves_plot, distances_plot, interval_plot, map_plot, snapshots_plot
from synthbank.reports.regimes import WORDS, regime_groups
from synthbank.reports.scorecard import scorecard
from synthbank.reports.scores import (
    group_scores,
    leading_network,
    meaning_of,
    metric_order,
    order_scores,
    parts_of,
    split_by_network,
    title_of,
)

_GRID_COLUMNS = 4
_TARGET_TILE = 128
"""Tiles are shown enlarged by a whole factor until they are about this wide, where the screen has room."""

REASONS = {
    "near_copy": "near copy of a training original",
    "exact_copy": "pixel-for-pixel copy of a training original",
    "near_blank": "nearly blank",
    "low_confidence": "not selected: a real-trained classifier doubts its label",
    "over_represented": "not selected: its like is drawn more often than it occurs among the originals",
    "far_from_class": "not selected: far from the centre of its class",
}


@dataclass(frozen=True)
class Sheet:
    """Images of one kind and class as one picture."""

    kind: str
    """Real or Synthetic."""
    n: int
    """Images on it; 0: there is no picture."""
    uri: str = ""
    width: int = 0
    """CSS pixels at the natural scale."""
    full_width: int = 0
    """Width of a sheet whose rows are full."""
    alt: str = ""


@dataclass(frozen=True)
class Grid:
    """The two sheets of one class, at one scale."""

    class_name: str
    sheets: tuple[Sheet, Sheet]


def render_report(data: ReportData) -> str:
    """The report as one HTML document that asks for nothing else; the same data give the same text."""
    leading, others = split_by_network(data.scores)
    template = _environment().get_template("report.html.j2")
    return template.render(
        data=data,
        conclusions=conclude(data),
        few=FEW_TEST_IMAGES,
        kid_scale=f"{KID_SCALE:.0f}",
        network=leading_network(data.scores),
        grids=_grids(data),
        score_groups=group_scores(leading, data.class_names),
        other_groups=group_scores(others, data.class_names),
        meanings=_meanings(data),
        training_plots=_training_plots(data),
        distance_plot=_distance_plot(data),
        interval_plots=_interval_plots(data),
        map_plot=map_plot(data.map) if data.map else None,
        omissions=not_measured(data),
        scorecard=scorecard(data),
        regimes=regime_groups(data.evidence),
        control=WORDS["affine"],
        bias_rows=[s for s in order_scores(data.evidence) if not s.metric.startswith(("utility-", "gain-"))],
    )


def tile_scale(size: int) -> int:
    """Whole factor by which tiles of this width are enlarged."""
    return max(1, _TARGET_TILE // size)


def png_uri(data: bytes) -> str:
    """A PNG inside the page."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def seconds_in_words(seconds: float | None) -> str:
    """A duration for people.

    >>> seconds_in_words(75)
    '1 min 15 s'
    """
    if seconds is None:
        return "not recorded"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def pair_uri(pair: Pair) -> str:
    """The synthetic image at the left, its nearest original at the right, as a PNG data URI."""
    images: Sequence[UInt8Images] = [pair.synthetic] if pair.original is None else [pair.synthetic, pair.original]
    return png_uri(image_grid(np.stack(images), columns=2))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("synthbank.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number_or_dash,
        "seconds": seconds_in_words,
        "pair_uri": pair_uri,
        "title_of": title_of,
        "multiply_100": lambda share: f"{100 * share:.0f}",
        "reason": lambda reason: REASONS.get(reason, reason.replace("_", " ")),
    }
    environment.globals |= {"interval": interval}
    return environment


def _number_or_dash(value: float | None) -> str:
    return "—" if value is None else number(value)


def _grids(data: ReportData) -> list[Grid]:
    return [
        Grid(
            sample.class_name,
            (
                _sheet("Real", sample.real, sample.class_name),
                _sheet("Synthetic", sample.synthetic, sample.class_name),
            ),
        )
        for sample in data.samples
    ]


def _sheet(kind: str, images: UInt8Images, class_name: str) -> Sheet:
    if not len(images):
        return Sheet(kind, 0)
    scale = tile_scale(images.shape[-1])
    return Sheet(
        kind,
        len(images),
        uri=png_uri(image_grid(images, columns=_GRID_COLUMNS)),
        width=(min(_GRID_COLUMNS, len(images)) * (images.shape[-1] + 2) - 2) * scale,
        full_width=(_GRID_COLUMNS * (images.shape[-1] + 2) - 2) * scale,
        alt=f"{len(images)} {kind.lower()} images of class {class_name}",
    )


def _training_plots(data: ReportData) -> list[Plot]:
    training, plots = data.training, []
    if training.losses:
        plots.append(curves_plot("Losses", training.losses, events=training.events, y_label="loss"))
    if training.logits:
        plots.append(curves_plot("Mean discriminator output", training.logits, events=training.events, y_label="logit"))
    if any(s.kid is not None for s in training.snapshots):
        plots.append(snapshots_plot(training.snapshots, events=training.events))
    return plots


def _distance_plot(data: ReportData) -> Plot | None:
    if data.nearest is None:
        return None
    distances = [(name, values) for name, values in data.nearest.distances if len(values)]
    return distances_plot(distances, data.gate.copy_distance) if distances else None


def _meanings(data: ReportData) -> dict[str, str]:
    """Title and meaning of every measure of the tables, in their order."""
    measures = [score.metric for score in order_scores(data.scores, data.class_names)]
    return {title_of(metric): meaning_of(metric) for metric in measures if meaning_of(metric)}


def _interval_plots(data: ReportData) -> list[Plot]:
    """One panel for each metric of the leading network that has a value."""
    network = leading_network(data.scores)
    by_metric: dict[str, list[Score]] = {}
    for score in order_scores(data.scores, data.class_names):
        if parts_of(score.metric)[1] == network and score.value is not None:
            by_metric.setdefault(score.metric, []).append(score)
    return [
        interval_plot(title_of(metric), by_metric[metric], higher_is_better=by_metric[metric][0].higher_is_better)
        for metric in sorted(by_metric, key=metric_order)
    ]
