"""The registry of metrics that the protocols walk, and the spec that each metric declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, cast, get_args

from synthbank.errors import OptionError
from synthbank.metrics._checks import Features
from synthbank.metrics._gram import GramMatrices, ResampleMasks, ResampleValues, ThreeWayGram
from synthbank.records import UInt8Images
from synthbank.registry import Registry, check_fact

GramFunction = Callable[[GramMatrices], float]
"""A metric of two feature sets from their inner products; NaN where it does not hold for these sets."""
ResampledFunction = Callable[[GramMatrices, ResampleMasks, ResampleMasks], ResampleValues]
"""A two-sample metric on many resamples at once; NaN for a resample that it leaves out to save time."""


@dataclass(frozen=True, slots=True)
class ThreeWayResult:
    """Value of a metric of three sets, which brings its own interval."""

    value: float
    low: float | None = None
    high: float | None = None
    note: str | None = None


ThreeWayFunction = Callable[[ThreeWayGram], ThreeWayResult]
"""A metric of training, test and synthetic features from their inner products."""


class PixelMetric(Protocol):
    """Metric of pixels: every image is described once, then sets of descriptions are compared."""

    def describe(self, images: UInt8Images) -> Features:
        """`[N, D]`, float64, from images `[N, C, H, W]` of one class; NaN where an image gives nothing to measure."""

    def compare(self, *, real: Features, fake: Features) -> float:
        """One number from the descriptions `[N, D]` and `[M, D]`."""

    def inapplicable_reason(self, real: Features) -> str | None:
        """Reason why the metric does not hold for these originals, for the reader; `None`: it holds."""


Kind = Literal["two-sample", "three-sample", "pixels", "declared"]
Direction = Literal["lower", "higher"]
Reference = Literal["test", "train"]
Metric = GramFunction | ThreeWayFunction | PixelMetric | None
"""The function or object of a registered metric; `None` for the kind "declared"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """Declared facts of a metric; tables, reports, the API and the protocols read them here alone."""

    kind: Kind
    """Input: two or three feature sets, pixels; "declared": a protocol outside this registry computes it."""
    order: int
    """Position in every table, report and answer; KID is first. No two metrics share one."""
    title: str
    """Name for the reader."""
    meaning: str
    """Half a sentence for the reader: what the value is, and what to compare it with."""
    citation: str
    """Source of the definition."""
    direction: Direction = "lower"
    """Better values."""
    minimum_real: int = 8
    """Fewest originals that it is computed for; below, a score has no value and says so."""
    minimum_fake: int = 8
    """Fewest synthetic images, as `minimum_real`."""
    bounds: tuple[float | None, float | None] = (0.0, None)
    """Least and greatest possible value; `None`: open."""
    symmetric: bool = False
    """Swapping real and fake leaves the value."""
    against: Reference = "test"
    """Originals that it compares with; "train" for questions of copying."""
    looks_at: Literal["both", "fake"] = "both"
    """Sets that shape the value; "fake": the originals only give the scale."""
    proportion_of: Literal["real", "fake"] | None = None
    """Set of which the value is a share; its interval is then at least Wilson's. `None`: it is no share."""
    biased: bool = True
    """The expected value depends on the number of images (of fakes, for "train")."""
    resampled: ResampledFunction | None = None
    """The same metric on many resamples at once; `None`: it is called once a resample."""
    note: str | None = None
    """Remark that every score carries; `None`: nothing."""

    def __post_init__(self) -> None:
        check_fact("kind", self.kind, get_args(Kind))
        check_fact("direction", self.direction, get_args(Direction))
        check_fact("against", self.against, get_args(Reference))
        check_fact("looks_at", self.looks_at, ("both", "fake"))
        check_fact("proportion_of", self.proportion_of, (None, "real", "fake"))
        low, high = self.bounds
        faults = {
            "a title, a meaning and a citation": not (self.title and self.meaning and self.citation),
            "minima of 1 or more": min(self.minimum_real, self.minimum_fake) < 1,
            "equal minima where it is symmetric": self.symmetric and self.minimum_real != self.minimum_fake,
            "bounds that rise": low is not None and high is not None and low >= high,
            "bounds 0 and 1 for a share": self.proportion_of is not None and self.bounds != (0.0, 1.0),
            "`resampled` for two samples alone": self.resampled is not None and self.kind != "two-sample",
        }
        for wanted, wrong in faults.items():
            if wrong:
                raise OptionError("The facts of this metric do not fit each other", got=self, allowed=wanted)

    @property
    def higher_is_better(self) -> bool:
        """The direction as scores record it."""
        return self.direction == "higher"


metrics: Registry[Metric, MetricSpec] = Registry(
    "metric", MetricSpec, package="synthbank.metrics", entry_point_group="synthbank.metrics"
)


def two_sample_metric(name: str, **facts: object) -> Callable[[GramFunction], GramFunction]:
    """Decorator that registers a metric of two feature sets; `facts` are fields of `MetricSpec`."""
    store = metrics.register(name, kind="two-sample", **facts)

    def register(function: GramFunction) -> GramFunction:
        store(function)
        return function

    return register


def three_sample_metric(name: str, **facts: object) -> Callable[[ThreeWayFunction], ThreeWayFunction]:
    """Decorator that registers a metric of three feature sets, against training originals."""
    store = metrics.register(name, kind="three-sample", **({"against": "train"} | facts))

    def register(function: ThreeWayFunction) -> ThreeWayFunction:
        store(function)
        return function

    return register


def pixel_metric(name: str, **facts: object) -> Callable[[type[PixelMetric]], type[PixelMetric]]:
    """Class decorator that registers an instance of a metric of pixels."""
    store = metrics.register(name, kind="pixels", **facts)

    def register(pixel_metric_class: type[PixelMetric]) -> type[PixelMetric]:
        store(pixel_metric_class())
        return pixel_metric_class

    return register


def declare_metric(name: str, **facts: object) -> None:
    """Register the facts of a metric that a protocol outside this registry computes."""
    metrics.register(name, kind="declared", **facts)(None)


def two_sample(name: str) -> GramFunction:
    """The function of a metric of the kind "two-sample"."""
    return cast(GramFunction, metrics.get(name))


def three_sample(name: str) -> ThreeWayFunction:
    """The function of a metric of the kind "three-sample"."""
    return cast(ThreeWayFunction, metrics.get(name))


def pixels(name: str) -> PixelMetric:
    """The metric called `name`, of the kind "pixels"."""
    return cast(PixelMetric, metrics.get(name))


def ordered(*kinds: Kind) -> list[str]:
    """Names of the registered metrics of some kinds (none given: of all), in the order of tables."""
    specs = {name: metrics.spec(name) for name in metrics}
    chosen = [name for name, spec in specs.items() if not kinds or spec.kind in kinds]
    return sorted(chosen, key=lambda name: (specs[name].order, name))
