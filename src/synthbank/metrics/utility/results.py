"""Scores of a utility experiment: means with intervals, gains over the control with a test, and a conclusion in words.

The ids are `utility-SCORE-CLASSIFIER-CELL` and `gain-SCORE-CLASSIFIER-CELL`, such as `gain-macro-f1-cnn-both`; under a
shift of the test images the score carries its name, as in `utility-macro-f1@blur-cnn-both`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthbank.metrics._checks import Floats, Labels
from synthbank.metrics.resampling import wilson_interval
from synthbank.metrics.utility.experiment import CONTROL_REGIME, PRIMARY_REGIME, Fold, Trial, Trials, UtilityPlan
from synthbank.metrics.utility.intervals import Difference, bootstrap_difference, corrected_t
from synthbank.metrics.utility.scores import CLASS_SCORES, SCORES, class_scores, group_weights, overall_scores
from synthbank.records import Score

_Measure = Callable[[Floats, Labels, Floats | None], dict[str, Floats]]
PRIMARY_SCORE = "macro-f1"
"""The score of the one question that was asked before anything was computed."""
FEWEST_OF_GROUP = 5
"""A group with fewer test images gets no accuracy of its own."""
_MOST_GROUPS = 40
"""Groups that are scored one by one."""
_FEWEST_DRAWN = 8
"""With fewer test groups, images are drawn instead: groups drawn from a handful hardly differ from draw to draw."""
_BOOTSTRAP = "bootstrap of test groups and seeds (one held-out test set)"
_IMAGES = "bootstrap of test images and seeds: too few test groups to draw groups"
_CORRECTED = "corrected t-test over folds (Nadeau and Bengio 2003), seeds averaged"
_POOLED = "bootstrap of groups and seeds over pooled out-of-fold answers; training sets are taken as fixed"
_FULL_GENERATOR = "the generator was trained on all training originals, not on this share alone"


@dataclass(frozen=True)
class UtilityConclusion:
    """Answer to the one question of a utility plan: does adding synthetic images to the augmented originals help?"""

    classifier: str
    outcome: str
    """helps, no difference shown or harms."""
    gain: Difference
    method: str
    caution: str = ""
    """Limit that the sentence must add, such as too few test groups; empty: none."""

    @property
    def sentence(self) -> str:
        """The conclusion with its numbers.

        >>> UtilityConclusion("cnn", "helps", Difference(0.05, 0.01, 0.09, 0.02), "test").sentence
        'cnn: helps. Macro-F1 changes by +0.050 (95% interval +0.010 to +0.090, p = 0.02) over the affine control.'
        """
        g = self.gain
        return (
            f"{self.classifier}: {self.outcome}. Macro-F1 changes by {g.value:+.3f} (95% interval {g.low:+.3f} to "
            f"{g.high:+.3f}, p = {g.p_value:.2g}) over the affine control.{self.caution}"
        )


def utility_scores(
    trials: Trials,
    folds: Sequence[Fold],
    plan: UtilityPlan,
    *,
    group_names: Sequence[str] = (),
    n_resamples: int = 1000,
) -> tuple[list[Score], list[UtilityConclusion]]:
    """Score every cell that was trained, and conclude for each classifier.

    Args:
        trials: of `run_trials`.
        folds: the same as `run_trials` was given.
        plan: the same.
        group_names: of the numbers in `Fold.test_groups`; empty: no scores of single groups.
        n_resamples: of the bootstrap.

    Returns:
        Scores (shares from 0 to 1; gains are differences of shares) and one conclusion a classifier.
    """
    scores: list[Score] = []
    conclusions: list[UtilityConclusion] = []
    for classifier in plan.classifiers:
        if not trials.n_seeds.get(classifier):
            continue
        table = _ClassifierTable(trials, folds, classifier, plan, n_resamples)
        scores += table.scores()
        scores += _of_groups(trials, folds, classifier, group_names)
        conclusion = table.conclusion()
        if conclusion is not None:
            conclusions.append(conclusion)
    return scores, conclusions


class _ClassifierTable:
    """Values of all cells of one classifier, with bootstrap draws that the cells share."""

    def __init__(
        self, trials: Trials, folds: Sequence[Fold], classifier: str, plan: UtilityPlan, n_resamples: int
    ) -> None:
        self.trials, self.folds, self.classifier, self.plan = trials, folds, classifier, plan
        self.class_names = folds[0].train.class_names
        groups = np.concatenate([fold.test_groups for fold in folds])
        self.n_groups = len(np.unique(groups))
        few_groups = self.n_groups < _FEWEST_DRAWN
        units = np.arange(len(groups)) if few_groups else groups
        # one set of draws for all cells: differences between regimes are paired by test image
        self.draws = group_weights(units, n_resamples=n_resamples, rng=np.random.default_rng(plan.seed))
        self.labels = np.concatenate([fold.test.labels for fold in folds])
        self.crossed = len(folds) > 1
        self.method = _CORRECTED if self.crossed else _IMAGES if few_groups else _BOOTSTRAP
        self.cells = [cell.name for cell in plan.cells()]
        self._values = {
            (cell, shift): self._cell_values(cell, shift) for cell in self.cells for shift in ("", *plan.shifts)
        }

    def scores(self) -> list[Score]:
        out = [self._pooled(cell) for cell in self.cells] if self.crossed else []
        for cell in self.cells:
            for name, better in SCORES.items():
                out += [self._score("utility", n, cell, better) for n in self._with_shifts(name)]
            for name, better in CLASS_SCORES.items():
                out += [self._score("utility", name, cell, better, k) for k in range(len(self.class_names))]
        for cell in (c for c in self.cells if c != CONTROL_REGIME):
            for name, better in SCORES.items():
                out += [self._score("gain", n, cell, better) for n in self._with_shifts(name)]
            out += [self._score("gain", "f1", cell, True, k) for k in range(len(self.class_names))]
            out += [self._pooled(cell, gain=True)] if self.crossed else []
        return out

    def _with_shifts(self, name: str) -> list[str]:
        """Name of a score, and for the primary one its names under each shift of the test images."""
        return [name, *(f"{name}@{shift}" for shift in self.plan.shifts if name == PRIMARY_SCORE)]

    def conclusion(self) -> UtilityConclusion | None:
        if PRIMARY_REGIME not in self.cells:
            return None
        gain = self._difference(PRIMARY_SCORE, PRIMARY_REGIME, gain=True)
        few_groups = self.method == _IMAGES
        caution = (
            f" The test images are of {self.n_groups} group(s) alone: nothing is said of others." if few_groups else ""
        )
        return None if gain is None else UtilityConclusion(self.classifier, gain.outcome, gain, self.method, caution)

    def _score(self, kind: str, name: str, cell: str, better: bool, label: int | None = None) -> Score:
        estimate = self._difference(name, cell, gain=kind == "gain", label=label)
        return self._row(f"{kind}-{name}-{self.classifier}-{cell}", cell, estimate, better, kind == "gain", label)

    def _pooled(self, cell: str, *, gain: bool = False) -> Score:
        """Macro-F1 over the predictions of all folds together, as a fold alone may test hardly any image of a class."""
        estimate = self._bootstrap(*self._pooled_draws(cell, minus_control=gain))
        name = f"{'gain' if gain else 'utility'}-pooled-{PRIMARY_SCORE}-{self.classifier}-{cell}"
        return self._row(name, cell, estimate, True, gain, None, method=_POOLED)

    def _row(
        self,
        metric: str,
        cell: str,
        estimate: Difference | None,
        better: bool,
        gain: bool,
        label: int | None,
        method: str | None = None,
    ) -> Score:
        trials = self.trials.of(self.classifier, cell)
        n_fake = round(float(np.mean([t.n_synthetic for seed in trials for t in seed])))
        details: dict[str, object] = {
            "seeds": len(trials),
            "folds": len(self.folds),
            "training_originals": round(float(np.mean([t.n_real for seed in trials for t in seed])), 1),
            "training_synthetic": n_fake,
            "method": method or self.method,
        }
        if gain and estimate is not None:
            # the outcome is that of a score where more is better; of a calibration error less is
            reverse = {"helps": "harms", "harms": "helps"}
            outcome = estimate.outcome if better else reverse.get(estimate.outcome, estimate.outcome)
            details |= {"p_value": estimate.p_value, "control": CONTROL_REGIME, "verdict": outcome}
        n_test = len(self.labels) if label is None else int((self.labels == label).sum())
        return Score(
            metric=metric,
            value=None if estimate is None else estimate.value,
            # a t-interval does not know that shares end at 0 and 1
            low=None if estimate is None else estimate.low if gain else max(estimate.low, 0.0),
            high=None if estimate is None else estimate.high if gain else min(estimate.high, 1.0),
            n_real=n_test,
            n_fake=n_fake,
            class_name=None if label is None else self.class_names[label],
            higher_is_better=better,
            seconds=sum(t.seconds for seed in trials for t in seed) if label is None and not gain else 0.0,
            note=_note(cell, n_fake, estimate),
            details=details,
        )

    def _difference(self, name: str, cell: str, *, gain: bool, label: int | None = None) -> Difference | None:
        values, draws = self._values_and_draws(name, cell, label)  # [S, F], [S, B]
        if gain:
            base_values, base_draws = self._values_and_draws(name, CONTROL_REGIME, label)
            values, draws = values - base_values, draws - base_draws
        # one test set has no folds to compare: the draws of test groups and seeds carry the variation
        if not self.crossed:
            return None if np.isnan(values).any() else self._bootstrap(values[:, 0], draws)
        # seeds of one fold share all their images and add no degree of freedom
        of_folds = values.mean(axis=0)
        of_folds = of_folds[~np.isnan(of_folds)]
        return corrected_t(of_folds, test_share=self._test_share()) if len(of_folds) > 1 else None

    def _bootstrap(self, of_seeds: Floats, drawn: Floats) -> Difference:
        """The same seeds are drawn for every score, so that a number is the same wherever it stands."""
        return bootstrap_difference(of_seeds, drawn, rng=np.random.default_rng(self.plan.seed))

    def _values_and_draws(self, name: str, cell: str, label: int | None) -> tuple[Floats, Floats]:
        """Values `[S, F]` by seed and fold, and draws `[S, B]` by seed and resample, of one score of one cell."""
        score, _, shift = name.partition("@")
        values, draws = self._values[cell, shift][label is None, score]
        return (values, draws) if label is None else (values[..., label], draws[..., label])

    def _cell_values(self, cell: str, shift: str) -> dict[tuple[bool, str], tuple[Floats, Floats]]:
        """Map (over all classes, score) to values `[S, F]` or `[S, F, K]`, and draws `[S, B]` or `[S, B, K]`."""
        out: dict[tuple[bool, str], tuple[Floats, Floats]] = {}
        trials = self.trials.of(self.classifier, cell)
        for overall, measure in ((True, overall_scores), (False, class_scores)):

            def on_test_images(trial: Trial, measure: _Measure = measure) -> dict[str, Floats]:
                return measure(_probabilities(trial, shift), self.folds[trial.fold].test.labels, None)

            def on_draws(trial: Trial, measure: _Measure = measure) -> dict[str, Floats]:
                return measure(_probabilities(trial, shift), self.labels, self.draws)

            values = _stack(trials, on_test_images)
            # the corrected t-test of folds needs no draws, which are the slow part
            draws = values if self.crossed else _stack(trials, on_draws)
            out |= {(overall, name): (v[:, :, 0], draws[name][:, 0]) for name, v in values.items()}
        return out

    def _pooled_draws(self, cell: str, *, minus_control: bool) -> tuple[Floats, Floats]:
        def drawn(name: str) -> tuple[Floats, Floats]:
            pooled = [np.concatenate([t.probabilities for t in seed]) for seed in self.trials.of(self.classifier, name)]
            once = np.array([overall_scores(p, self.labels)[PRIMARY_SCORE][0] for p in pooled])
            return once, np.stack([overall_scores(p, self.labels, self.draws)[PRIMARY_SCORE] for p in pooled])

        once, draws = drawn(cell)
        if minus_control:
            control_once, control_draws = drawn(CONTROL_REGIME)
            return once - control_once, draws - control_draws
        return once, draws

    def _test_share(self) -> float:
        return float(np.mean([len(fold.test) / len(fold.train) for fold in self.folds]))


def _probabilities(trial: Trial, shift: str) -> Floats:
    return trial.shifted[shift] if shift else trial.probabilities


def _stack(trials: Sequence[Sequence[Trial]], measure: Callable[[Trial], Mapping[str, Floats]]) -> dict[str, Floats]:
    """Score name to `[S, F, ...]`."""
    measured = [[measure(t) for t in seed] for seed in trials]
    return {name: np.stack([np.stack([m[name] for m in seed]) for seed in measured]) for name in measured[0][0]}


def _note(cell: str, n_synthetic: int, estimate: Difference | None) -> str | None:
    if estimate is None:
        return "not computed: too few test images of this class in the folds"
    return _FULL_GENERATOR if "%" in cell and n_synthetic else None


def _of_groups(trials: Trials, folds: Sequence[Fold], classifier: str, names: Sequence[str]) -> list[Score]:
    """Score the accuracy in each group that has enough test images, with and without synthetic images."""
    groups = np.concatenate([fold.test_groups for fold in folds])
    counts = Counter(groups.tolist())
    large = sorted(g for g, n in counts.items() if n >= FEWEST_OF_GROUP)[:_MOST_GROUPS] if names else []
    labels = np.concatenate([fold.test.labels for fold in folds])
    scores = []
    for cell in (CONTROL_REGIME, PRIMARY_REGIME) if large else ():
        seeds = trials.of(classifier, cell)
        if not seeds or not seeds[0]:
            continue
        # the share of seeds that were right about an image, then the mean over the images of a group
        right = np.mean([np.concatenate([t.probabilities for t in s]).argmax(axis=1) == labels for s in seeds], axis=0)
        for group in large:
            share, n = float(right[groups == group].mean()), counts[group]
            low, high = wilson_interval(share, n)
            scores.append(
                Score(
                    f"utility-accuracy-{classifier}-{cell}",
                    share,
                    low,
                    high,
                    n_real=n,
                    n_fake=seeds[0][0].n_synthetic,
                    higher_is_better=True,
                    group_name=names[group],
                    details={"seeds": len(seeds), "method": "Wilson interval over the group's images"},
                )
            )
    return scores
