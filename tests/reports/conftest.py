"""Report content made by hand, and a reader of the rendered page."""

import base64
import io
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from synthbank.records import Score
from synthbank.reports import (
    ClassCounts,
    ClassSample,
    Curve,
    DataPart,
    EventLine,
    ExpansionPart,
    FindingLine,
    GatePart,
    JobPart,
    MapGroup,
    MapPart,
    NearestPart,
    Pair,
    ReportData,
    SnapshotLine,
    TrainingPart,
    render_report,
)

CLASSES = ("negative", "positive")
SIZE = 16


def make_score(metric, value, low, high, *, floor=(0.5, 0.4, 0.6), class_name=None, n_real=60, higher=False, note=None):
    """A score in Lite1, beside a floor."""
    bounds = dict(zip(("floor", "floor_low", "floor_high"), floor, strict=True))
    return Score(
        f"{metric}-lite1-64",
        value,
        low,
        high,
        **bounds,
        n_real=n_real,
        n_fake=80,
        class_name=class_name,
        higher_is_better=higher,
        note=note,
    )


def good_scores(n_real=60):
    """Scores whose intervals overlap their floors'."""
    return tuple(
        make_score(metric, 0.52, 0.45, 0.58, class_name=name, n_real=n_real, higher=metric in ("coverage", "recall"))
        for name in (None, *CLASSES)
        for metric in ("kid", "coverage", "recall", "copy-rate")
    )


def make_pair(rng, name, distance, *, reason=None, with_original=True):
    """A pair of random images."""
    synthetic, original = rng.integers(0, 256, (2, 3, SIZE, SIZE), dtype=np.uint8)
    shown = original if with_original else None
    return Pair(f"j-{distance}", name, synthetic, shown, name if with_original else None, distance, reason)


def make_report(class_names=CLASSES, **changes):
    """Complete report content; `changes` replace its parts."""
    rng = np.random.default_rng(0)
    counts = tuple(ClassCounts(name, 20, 5, 30, 4) for name in class_names)
    data = DataPart(
        name="slides",
        version=2,
        source="folder slides",
        licence="CC0-1.0",
        fingerprint="ab" * 32,
        size=SIZE,
        channels=3,
        microns_per_pixel=None,
        counts=counts,
        n_files=115,
        n_rejected=5,
        n_converted=3,
        findings=(FindingLine("near_blank", "reject", 5, "deviation 0.4 is below 2"),),
        group_rule=None,
        n_groups=8,
        n_groups_across_splits=0,
        shares=(0.7, 0.15, 0.15),
        split_seed=3,
    )
    training = TrainingPart(
        model="m1",
        architecture="projected",
        parameters=1_234_567,
        run_id="run-1",
        config=(("batch_size", "8"), ("loss", "hinge")),
        losses=(Curve("discriminator", (50, 100), (1.5, 1.2)), Curve("generator", (50, 100), (0.5, 0.9))),
        logits=(Curve("real (train)", (50, 100), (1.0, 1.1)), Curve("synthetic", (50, 100), (-1.0, -0.7))),
        snapshots=(SnapshotLine(50, 400, 9.5, 3.0, 2.0, False), SnapshotLine(100, 800, 7.25, 3.0, 2.5, True)),
        history_found=True,
        status="done",
        images_seen=800,
        elapsed_sec=75.0,
    )
    images = rng.integers(0, 256, (len(class_names), 2, 6, 3, SIZE, SIZE), dtype=np.uint8)
    nearest = NearestPart(
        "lite0",
        tuple(make_pair(rng, name, 12.5 + i) for i, name in enumerate(class_names)),
        (make_pair(rng, class_names[0], 11.5, with_original=False),),
        (make_pair(rng, class_names[0], 4.5, reason="near_copy"),),
        tuple((name, rng.uniform(11, 20, 40)) for name in class_names),
    )
    groups = [
        MapGroup(k, c, rng.normal(size=(7, 2))) for k in ("real train", "real test", "synthetic") for c in class_names
    ]
    parts = {
        "title": "Synthetic images from slides",
        "job": JobPart("j1", "done", None, 0, 1.0, 80, 80, 81, 12.0, None),
        "class_names": class_names,
        "training": training,
        "gate": GatePart(True, 10.25, 3.5, tuple((name, 40, 1) for name in class_names), (("near_copy", 2),)),
        "samples": tuple(ClassSample(name, images[i, 0], images[i, 1]) for i, name in enumerate(class_names)),
        "data": data,
        "expansion": ExpansionPart(40, 112, (("Scale, factor", 0.85, 1.15),), False),
        "nearest": nearest,
        "scores": good_scores(),
        "map": MapPart("lite1", tuple(groups), (0.25, 0.125)),
        "commands": ("synthbank ingest path/to/slides --name slides", "synthbank train slides"),
        "versions": (("synthbank", "0.1.0"),),
        "device": "cpu: x86_64, 1 threads",
        "stage_seconds": (("train", 75.0),),
    }
    return ReportData(**{**parts, **changes})


def with_events(training, *events):
    """The training part with guard events."""
    return replace(training, events=tuple(EventLine(step, "guard", message) for step, message in events))


@dataclass
class Page(HTMLParser):
    """What a reader of the page finds: headings, ids, links, pictures, table heads and text."""

    headings: list = field(default_factory=list)
    ids: list = field(default_factory=list)
    addresses: list = field(default_factory=list)
    images: list = field(default_factory=list)
    tags: list = field(default_factory=list)
    heads: list = field(default_factory=list)
    text: str = ""

    def __post_init__(self):
        super().__init__()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.addresses += [
            value for name, value in attributes.items() if name in ("src", "href", "srcset", "action", "data")
        ]
        if tag == "img":
            self.images.append(attributes)
        if tag == "th":
            self.heads.append(attributes)
        if tag in ("h1", "h2", "h3"):
            self.headings.append((tag, ""))

    def handle_data(self, data):
        self.text += data
        if self.headings and self.lasttag == self.headings[-1][0] and not self.headings[-1][1]:
            self.headings[-1] = (self.lasttag, data.strip())


def read_page(html):
    """The parsed page."""
    page = Page()
    page.feed(html)
    return page


def decoded(uri):
    """Bytes of a base64 data URI."""
    return base64.b64decode(uri.partition(",")[2])


def pixels_of(uri):
    """`[H, W, 3]` of a PNG data URI."""
    return np.array(Image.open(io.BytesIO(decoded(uri))))


@pytest.fixture(scope="session")
def usual_page():
    """The rendered page of `made.report()`."""
    return render_report(make_report())


@pytest.fixture(scope="session")
def made():
    """The makers and readers of this file, by name."""
    return SimpleNamespace(
        report=make_report,
        score=make_score,
        good_scores=good_scores,
        with_events=with_events,
        page=read_page,
        decoded=decoded,
        pixels=pixels_of,
        classes=CLASSES,
        size=SIZE,
    )
