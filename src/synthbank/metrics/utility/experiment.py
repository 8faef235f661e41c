"""The utility experiment: the same classifier, steps and test images under five regimes of training images.

Nothing here knows a generator, a file or a catalogue. A `Fold` brings training originals, synthetic images and test
originals; `run_trials` trains every regime on it, seed by seed, so that a run cut off by its budget still holds whole
paired sets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from synthbank.errors import InputError, OptionError, UnknownNameError
from synthbank.fingerprint import bytes_sha256, set_fingerprint, stable_seed
from synthbank.metrics._checks import Floats, Index, Labels
from synthbank.metrics.utility.affine import AffineDraws
from synthbank.metrics.utility.classifiers import Embed, TrainingSet, balanced_weights, classifiers
from synthbank.metrics.utility.selection import Selector
from synthbank.metrics.utility.shifts import shifts as all_shifts
from synthbank.records import LabelledImages

SYNTHETIC_GROUP = -1
"""Group number of a synthetic image in a training set."""


@dataclass(frozen=True, slots=True)
class Regime:
    """Kinds of image that a classifier is trained on."""

    real: bool
    affine: bool
    synthetic: bool
    selected: bool = False
    """Only the synthetic images that a real-trained classifier finds typical of their class."""


REGIMES: Mapping[str, Regime] = {
    "real": Regime(True, False, False),
    "affine": Regime(True, True, False),
    "synthetic": Regime(True, False, True),
    "both": Regime(True, True, True),
    "only": Regime(False, False, True),
    "selected": Regime(True, True, True, True),
}
CONTROL_REGIME = "affine"
"""The regime that gains are measured against: classical augmentation without synthetic images."""
PRIMARY_REGIME = "both"
"""The regime whose gain over the control is the one question asked before anything is computed."""
DEFAULT_REGIMES = ("real", "affine", "synthetic", "both", "only")


@dataclass(frozen=True)
class Fold:
    """One split of a data set: training originals, test originals and synthetic images."""

    train: LabelledImages
    train_groups: Labels
    """`[T]`, int64, 0 or more; patient, slide or source of each training original."""
    test: LabelledImages
    test_groups: Labels
    """`[N]`, int64; shares no group with `train_groups`."""
    synthetic: LabelledImages
    """Made by a generator that never saw a test group."""

    def __post_init__(self) -> None:
        shared = np.intersect1d(self.train_groups, self.test_groups)
        if len(shared):
            raise OptionError("Training and test share groups", got=shared[:5].tolist(), allowed="no group in both")
        for name, images in (("training", self.train), ("synthetic", self.synthetic)):
            empty = [c for i, c in enumerate(images.class_names) if not (images.labels == i).any()]
            if empty:
                raise InputError(
                    f"There is no {name} image of some classes",
                    got=empty,
                    allowed="one or more of each class",
                    next_step="generate that class as well" if name == "synthetic" else "use fewer folds",
                )
        if not len(self.test):
            raise InputError("There is no test original to test on", got=0, next_step="ingest with a test share")

    def fingerprint(self) -> str:
        """Hash over all images, labels and groups."""
        # images, labels and groups in a fixed order; the hash of each keeps the boundaries between them
        arrays = [a for s in (self.train, self.test, self.synthetic) for a in (s.images, s.labels)]
        parts = [*arrays, self.train_groups, self.test_groups]
        return bytes_sha256("".join(bytes_sha256(np.ascontiguousarray(a).tobytes()) for a in parts).encode())


@dataclass(frozen=True)
class UtilityPlan:
    """Regimes, classifiers and sizes of a utility experiment."""

    regimes: tuple[str, ...] = DEFAULT_REGIMES
    classifiers: tuple[str, ...] = ("cnn", "probe")
    n_seeds: int = 5
    real_shares: tuple[float, ...] = (1.0,)
    """Shares of the training originals, for the learning curve; 1.0 must be among them."""
    ratios: tuple[float, ...] = ()
    """Synthetic images as multiples of the originals, beside `ratio`; empty: no such curve."""
    ratio: float | None = None
    """Synthetic images as a multiple of the originals; `None`: all there are."""
    select: float | None = None
    """Share of the synthetic images of each class that "selected" keeps; `None`: that regime is left out."""
    shifts: tuple[str, ...] = ()
    """Names of changes of the test images (`metrics.utility.shifts`) that are tested as well."""
    affine: AffineDraws = field(default_factory=AffineDraws)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.regimes:
            if name not in REGIMES:
                raise UnknownNameError("regime", name, REGIMES)
        for name in self.classifiers:
            classifiers.get(name)
        for name in self.shifts:
            all_shifts.get(name)
        if CONTROL_REGIME not in self.regimes:
            raise OptionError(
                "The control regime must be tried", got=self.regimes, allowed=f"'{CONTROL_REGIME}' among them"
            )
        if self.n_seeds < 1:
            raise OptionError("At least one seed is needed", got=self.n_seeds, allowed="1 or more; 5 is usual")
        if 1.0 not in self.real_shares or not all(0.0 < share <= 1.0 for share in self.real_shares):
            raise OptionError("These are no shares of the originals", got=self.real_shares, allowed="0 to 1, with 1.0")
        if any(r is not None and r <= 0 for r in (self.ratio, *self.ratios)):
            raise OptionError("A ratio must be above zero", got=(self.ratio, *self.ratios))
        if self.select is not None and not 0.0 < self.select < 1.0:
            raise OptionError("The share to select is out of range", got=self.select, allowed="between 0 and 1")

    def cells(self) -> list[Cell]:
        """List every regime with its share and ratio, the five regimes first, the curves after them."""
        names = [n for n in self.regimes if n != "selected" or self.select is not None]
        if self.select is not None and "selected" not in names:
            names.append("selected")
        cells = [Cell(name) for name in names]
        for share in sorted(set(self.real_shares) - {1.0}):
            cells += [Cell(name, share=share) for name in (CONTROL_REGIME, PRIMARY_REGIME) if name in names]
        cells += [Cell(PRIMARY_REGIME, ratio=ratio) for ratio in sorted(set(self.ratios)) if PRIMARY_REGIME in names]
        return cells


@dataclass(frozen=True, slots=True)
class Cell:
    """A regime at one size."""

    regime: str
    share: float = 1.0
    """Of the training originals."""
    ratio: float | None = None
    """Synthetic images as a multiple of the originals; `None`: the plan's own."""

    @property
    def name(self) -> str:
        """Such as "both", "affine@25%" (a quarter of the originals) or "both@x2" (twice as many synthetic images)."""
        share = "" if self.share == 1.0 else f"@{100 * self.share:g}%"
        return self.regime + share + ("" if self.ratio is None else f"@x{self.ratio:g}")


@dataclass(frozen=True)
class Trial:
    """One trained classifier and its predictions."""

    classifier: str
    cell: str
    fold: int
    seed: int
    probabilities: Floats
    """`[N, K]`, float64, of the fold's test images."""
    shifted: Mapping[str, Floats]
    """The same for each shift of the test images."""
    n_real: int
    n_synthetic: int
    seconds: float


@dataclass(frozen=True)
class Trials:
    """Trained classifiers of an experiment, and what its budget left out."""

    finished: tuple[Trial, ...]
    n_seeds: Mapping[str, int]
    """Classifier to complete seeds: those in which every cell of every fold was trained."""
    left_out: tuple[str, ...]
    """Seeds that the budget did not allow, one line a classifier."""

    def of(self, classifier: str, cell: str) -> list[list[Trial]]:
        """`[seed][fold]`, complete seeds only."""
        chosen = [t for t in self.finished if t.classifier == classifier and t.cell == cell]
        seeds = range(self.n_seeds.get(classifier, 0))
        return [sorted((t for t in chosen if t.seed == seed), key=lambda t: t.fold) for seed in seeds]


class TrialMemory(Protocol):
    """Store of finished trials, from which a run that was cut off resumes."""

    def recall(self, key: str) -> Trial | None:
        """Return the trial stored under this key; `None`: none."""

    def keep(self, key: str, trial: Trial) -> None:
        """Store a finished trial."""


def run_trials(
    folds: Sequence[Fold],
    plan: UtilityPlan,
    embed: Embed,
    *,
    memory: TrialMemory | None = None,
    deadline: Callable[[], bool] = lambda: False,
    on_trial: Callable[[str], None] = lambda text: None,
) -> Trials:
    """Train every cell on every fold for every seed; the first seed is always finished.

    Args:
        folds: one, or those of a cross-validation.
        plan: regimes, classifiers, seeds and curves.
        embed: frozen features, for the probe and for selection.
        memory: store of finished trials; `None`: all are trained.
        deadline: called before each classifier of the second seed and on; true ends the run.
        on_trial: called with a line of text before each classifier.

    Returns:
        Complete seeds alone: differences between regimes are paired by seed.

    Raises:
        InputError: a data set of one class.
    """
    if len(folds[0].train.class_names) < 2:
        raise InputError("A classifier needs two classes", got=folds[0].train.class_names, allowed="2 or more")
    cells = plan.cells()
    # seeds outermost: whatever the budget cuts off, each seed before it has all regimes of its classifier
    seeds_and_classifiers = [(s, name) for s in range(plan.n_seeds) for name in plan.classifiers]
    prints = [fold.fingerprint() for fold in folds] if memory is not None else []
    finished: list[Trial] = []
    complete = dict.fromkeys(plan.classifiers, 0)
    stopped = False
    for seed, name in seeds_and_classifiers:
        of_seed: list[Trial] = []
        for fold_index, fold in enumerate(folds):
            for cell in cells:
                stopped = stopped or (seed > 0 and deadline())
                if stopped:
                    break
                on_trial(
                    f"{name}, seed {seed + 1} of {plan.n_seeds}, fold {fold_index + 1} of {len(folds)}, {cell.name}"
                )
                key = _trial_key(prints[fold_index], name, cell, fold_index, seed, plan) if memory is not None else ""
                stored = memory.recall(key) if memory is not None else None
                of_seed.append(stored or _run_trial(name, cell, fold, fold_index, seed, plan, embed))
                if memory is not None and stored is None:
                    memory.keep(key, of_seed[-1])
        if stopped:
            break
        finished += of_seed
        complete[name] += 1
    left_out = tuple(
        f"{name}: {plan.n_seeds - n} of {plan.n_seeds} seeds, as the time budget was used up"
        for name, n in complete.items()
        if n < plan.n_seeds
    )
    return Trials(tuple(finished), complete, left_out)


def _trial_key(fingerprint: str, name: str, cell: Cell, fold_index: int, seed: int, plan: UtilityPlan) -> str:
    """Hash of everything that a trial depends on."""
    select = plan.select if cell.regime == "selected" else None
    # what other cells depend on is left out, so that a plan with more regimes finds the finished ones again
    choices = (plan.affine, plan.ratio, select, plan.shifts, plan.seed)
    return set_fingerprint([fingerprint, repr((name, cell, fold_index, seed)), repr(choices)])


def _run_trial(name: str, cell: Cell, fold: Fold, fold_index: int, seed: int, plan: UtilityPlan, embed: Embed) -> Trial:
    start = time.perf_counter()
    rng_seed = stable_seed(plan.seed, "utility", fold_index, seed)  # shared by the regimes: differences are paired
    train = training_set(fold, cell, plan, embed, seed=rng_seed)
    predict = classifiers.get(name)(embed).fit(train, seed=rng_seed % 2**31)
    shifted = {s: predict(all_shifts.get(s)(fold.test.images)) for s in plan.shifts}
    n_real = int(train.real.sum())
    probabilities = predict(fold.test.images)
    seconds = time.perf_counter() - start
    return Trial(name, cell.name, fold_index, seed, probabilities, shifted, n_real, len(train.labels) - n_real, seconds)


def training_set(fold: Fold, cell: Cell, plan: UtilityPlan, embed: Embed, *, seed: int) -> TrainingSet:
    """Assemble the training images of one cell.

    Subsets depend on the seed alone, and smaller ones lie inside larger ones.

    Args:
        fold: originals and synthetic images to choose from.
        cell: regime, share of the originals and ratio of the synthetic images.
        plan: ratio, selection and affine draws.
        embed: frozen features, for the regime "selected".
        seed: of the subsets.
    """
    regime = REGIMES[cell.regime]
    rng = np.random.default_rng(stable_seed(seed, "originals"))
    chosen = _share_of_groups(fold.train.labels, fold.train_groups, cell.share, rng)
    real, groups = fold.train.take(chosen), fold.train_groups[chosen]
    images, labels = [], []
    all_groups: list[Index] = []
    if regime.real:
        images.append(real.images)
        labels.append(real.labels)
        all_groups.append(groups)
    if regime.synthetic:
        ratio = plan.ratio if cell.ratio is None else cell.ratio
        pool = fold.synthetic
        if regime.selected:
            assert plan.select is not None
            pool = pool.take(selected_index(real, pool, plan.select, embed))
        # the ratio counts from the originals of this cell; at least one image of each class
        n = len(pool) if ratio is None else max(round(ratio * len(real)), len(pool.class_names))
        some = pool.take(_equal_classes(pool.labels, n, np.random.default_rng(stable_seed(seed, "synthetic"))))
        images.append(some.images)
        labels.append(some.labels)
        all_groups.append(np.full(len(some), SYNTHETIC_GROUP))
    joined_labels, joined_groups = np.concatenate(labels), np.concatenate(all_groups)
    return TrainingSet(
        np.concatenate(images),
        joined_labels,
        balanced_weights(joined_labels, joined_groups >= 0),
        joined_groups,
        len(fold.train.class_names),
        plan.affine if regime.affine else None,
    )


def selected_index(real: LabelledImages, synthetic: LabelledImages, share: float, embed: Embed) -> Index:
    """Positions of the synthetic images that a classifier trained on `real` finds most typical of their class.

    Args:
        real: training originals.
        synthetic: images to choose from.
        share: of each class that is kept, between 0 and 1.
        embed: frozen features.
    """
    selector = Selector.fit(embed(real.images), real.labels)
    features = embed(synthetic.images)
    return np.flatnonzero(selector.calibrate(features, synthetic.labels, share).accepts(features, synthetic.labels))


def _share_of_groups(labels: Labels, groups: Labels, share: float, rng: np.random.Generator) -> Index:
    """Positions of about `share` of the images of each class, in whole groups, at least one group a class."""
    if share == 1.0:
        return np.arange(len(labels))
    # one order of groups for all classes and shares: a smaller share is a prefix of a larger one
    rank = {g: i for i, g in enumerate(rng.permutation(np.unique(groups)))}
    chosen: set[int] = set()
    for label in np.unique(labels):
        own = groups[labels == label]
        for group in sorted(set(own.tolist()), key=rank.__getitem__):
            if np.isin(own, list(chosen)).sum() >= max(1, round(share * len(own))):
                break
            chosen.add(group)
    return np.flatnonzero(np.isin(groups, list(chosen)))


def _equal_classes(labels: Labels, n: int, rng: np.random.Generator) -> Index:
    """Positions of `n` images in all, as equally spread over classes as there are images."""
    shuffled = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    # one image of each class in turn until a class runs out; the first n of them
    turns: Iterator[int] = (int(pool[i]) for i in range(max(map(len, shuffled))) for pool in shuffled if i < len(pool))
    return np.sort(np.fromiter(turns, np.int64)[:n])
