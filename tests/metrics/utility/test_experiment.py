import dataclasses

import numpy as np
import pytest

from synthbank.errors import InputError, OptionError, UnknownNameError
from synthbank.metrics.utility import Fold, UtilityPlan, leave_one_group_out, run_trials, split_folds, utility_scores
from synthbank.metrics.utility.experiment import Cell, selected_index, training_set

from .conftest import column_means, make_fold, squares

PROBE = UtilityPlan(classifiers=("probe",), n_seeds=3)


def by_id(scores, metric, class_name=None):
    return next(s for s in scores if s.metric == metric and s.class_name == class_name and s.group_name is None)


def scored(folds, plan=PROBE, **options):
    trials = run_trials(folds, plan, column_means)
    return utility_scores(trials, folds, plan, n_resamples=200, **options)


def test_good_synthetic_images_help_where_originals_are_scarce():
    scores, (conclusion,) = scored([make_fold(n_train=2, noise=220, n_synthetic=200, n_test=60)])
    assert conclusion.outcome == "helps"
    assert conclusion.gain.low > 0
    gain = by_id(scores, "gain-macro-f1-probe-both")
    assert (gain.value, gain.low, gain.high) == (conclusion.gain.value, conclusion.gain.low, conclusion.gain.high)
    assert gain.details["verdict"] == "helps"
    assert "helps" in conclusion.sentence


def test_mislabelled_synthetic_images_harm():
    _, (conclusion,) = scored([make_fold(n_train=20, noise=50, wrong=0.95, n_test=60)])
    assert conclusion.outcome == "harms"


def test_every_regime_has_every_score_and_gains_agree_with_values():
    scores, _ = scored([make_fold()])
    for regime in ("real", "affine", "synthetic", "both", "only"):
        for name in ("macro-f1", "balanced-accuracy", "accuracy", "auc", "ece"):
            score = by_id(scores, f"utility-{name}-probe-{regime}")
            assert score.low <= score.value <= score.high
            assert score.n_real == 60
        assert by_id(scores, f"utility-f1-probe-{regime}", "left").n_real == 30
    both, control = (by_id(scores, f"utility-macro-f1-probe-{r}").value for r in ("both", "affine"))
    assert by_id(scores, "gain-macro-f1-probe-both").value == pytest.approx(both - control)
    assert not by_id(scores, "utility-ece-probe-real").higher_is_better


def test_a_handful_of_test_groups_still_gives_an_interval_and_a_caution():
    fold = dataclasses.replace(make_fold(noise=220, n_test=40), test_groups=np.full(80, 10_000))
    scores, (conclusion,) = scored([fold])
    gain = by_id(scores, "gain-macro-f1-probe-both")
    assert gain.low < gain.value < gain.high
    assert "too few test groups" in gain.details["method"]
    assert "1 group(s) alone" in conclusion.sentence
    assert "alone" not in scored([make_fold()])[1][0].sentence


def test_curves_and_ratios_become_cells_of_their_own():
    plan = dataclasses.replace(PROBE, n_seeds=1, real_shares=(0.5, 1.0), ratios=(1.0,))
    scores, _ = scored([make_fold(n_train=8)], plan)
    half = by_id(scores, "utility-macro-f1-probe-both@50%")
    assert half.details["training_originals"] == 8
    assert "all training originals" in half.note
    assert by_id(scores, "utility-macro-f1-probe-affine@50%").note is None
    assert by_id(scores, "utility-macro-f1-probe-both@x1").n_fake == 16


def test_smaller_shares_lie_inside_larger_ones_and_keep_groups_whole():
    fold = make_fold(n_train=12)
    groups = np.repeat(np.arange(12), 2)
    fold = dataclasses.replace(fold, train_groups=groups)
    kept = {s: training_set(fold, Cell("real", share=s), PROBE, column_means, seed=5) for s in (0.25, 0.5, 1.0)}
    for small, large in ((0.25, 0.5), (0.5, 1.0)):
        assert set(kept[small].groups) < set(kept[large].groups)
    assert (np.bincount(kept[0.25].groups)[np.unique(kept[0.25].groups)] == 2).all()
    assert (np.bincount(kept[0.25].labels) >= 3).all()


def test_selection_keeps_well_labelled_images_as_a_regime_of_its_own():
    fold = make_fold(n_train=15, noise=50, wrong=0.4, n_synthetic=100)
    plan = dataclasses.replace(PROBE, select=0.5)
    chosen = training_set(fold, Cell("selected"), plan, column_means, seed=0)
    assert abs((~chosen.real).sum() - 100) <= 4
    kept = selected_index(fold.train, fold.synthetic, 0.5, column_means)
    truth = np.repeat([0, 1], 100)
    assert (fold.synthetic.labels != truth).mean() > 0.3
    assert (fold.synthetic.labels != truth)[kept].mean() < 0.1
    scores, _ = scored([fold], plan)
    assert by_id(scores, "gain-macro-f1-probe-selected").details["training_synthetic"] == len(kept)


def test_shifted_test_images_are_scored_as_well():
    plan = dataclasses.replace(PROBE, n_seeds=1, shifts=("brightness", "blur"))
    scores, _ = scored([make_fold()], plan)
    assert by_id(scores, "utility-macro-f1@blur-probe-both").value is not None
    assert by_id(scores, "gain-macro-f1@brightness-probe-only").details["control"] == "affine"


def test_groups_with_enough_images_get_their_accuracy():
    fold = make_fold()
    groups = np.repeat([100, 101, 102], 20)
    names = tuple(f"slide {i}" for i in range(103))
    scores, _ = scored([dataclasses.replace(fold, test_groups=groups)], group_names=names)
    of_groups = [s for s in scores if s.group_name]
    assert {s.group_name for s in of_groups} == {"slide 100", "slide 101", "slide 102"}
    assert all(s.n_real == 20 and s.low <= s.value <= s.high for s in of_groups)


def crossed(n_folds=3):
    data = squares(30, seed=0, noise=70)
    groups = np.arange(60) // 2
    folds = []
    for i, mask in enumerate(split_folds(data.labels, groups, n_folds, seed=0)):
        index = np.flatnonzero(~mask), np.flatnonzero(mask)
        synthetic = squares(20, seed=50 + i)
        folds.append(Fold(data.take(index[0]), groups[index[0]], data.take(index[1]), groups[index[1]], synthetic))
    return folds


def test_cross_validation_uses_the_corrected_test_and_pools_answers():
    folds = crossed()
    scores, (conclusion,) = scored(folds, dataclasses.replace(PROBE, n_seeds=2))
    gain = by_id(scores, "gain-macro-f1-probe-both")
    assert "Nadeau" in gain.details["method"]
    assert gain.details["folds"] == 3
    assert gain.n_real == 60  # every original was tested once
    pooled = by_id(scores, "utility-pooled-macro-f1-probe-real")
    assert pooled.low <= pooled.value <= pooled.high
    assert conclusion.method == gain.details["method"]
    values = [s for s in scores if s.metric.startswith("utility-") and s.value is not None]
    assert all(0.0 <= s.low <= s.value <= s.high <= 1.0 for s in values)  # shares, whatever the t-interval says


def test_folds_keep_groups_whole_and_classes_everywhere():
    labels, groups = np.array([0] * 20 + [1] * 6), np.r_[np.arange(20) // 2, 20 + np.arange(6) // 2]
    masks = split_folds(labels, groups, 3, seed=1)
    assert (np.sum(masks, axis=0) == 1).all()
    for mask in masks:
        assert not set(groups[mask]) & set(groups[~mask])
        assert set(labels[mask]) == set(labels[~mask]) == {0, 1}
    with pytest.raises(OptionError, match="2 to 3"):
        split_folds(labels, groups, 4, seed=1)


def test_leave_one_group_out_needs_few_groups_and_every_class_in_several():
    labels = np.array([0, 1, 0, 1, 0, 1])
    assert [m.sum() for m in leave_one_group_out(np.array([5, 5, 6, 6, 7, 7]), labels)] == [2, 2, 2]
    with pytest.raises(OptionError, match="30 groups"):
        leave_one_group_out(np.arange(30), np.tile([0, 1], 15))
    with pytest.raises(OptionError, match="one group alone"):
        leave_one_group_out(np.array([5, 6, 5, 6, 5, 6]), labels)


def test_a_budget_keeps_whole_seeds_and_lists_what_was_left_out():
    calls = iter([False] * 3 + [True] * 1000)
    trials = run_trials([make_fold()], PROBE, column_means, deadline=lambda: next(calls))
    assert trials.n_seeds == {"probe": 1}
    assert trials.left_out == ("probe: 2 of 3 seeds, as the time budget was used up",)
    assert len(trials.finished) == 5
    scores, conclusions = utility_scores(trials, [make_fold()], PROBE, n_resamples=50)
    assert scores[0].details["seeds"] == 1
    assert len(conclusions) == 1


def test_leaks_and_missing_classes_are_refused():
    fold = make_fold()
    with pytest.raises(OptionError, match="share groups"):
        dataclasses.replace(fold, test_groups=np.arange(60))
    with pytest.raises(InputError, match="synthetic image of some classes"):
        dataclasses.replace(fold, synthetic=fold.synthetic.of_class(0))
    one, groups = squares(4, seed=0, classes=1), np.arange(4)
    single = Fold(one, groups, one, groups + 9, one)
    with pytest.raises(InputError, match="two classes"):
        run_trials([single], PROBE, column_means)
    with pytest.raises(InputError, match="training image of some classes"):
        dataclasses.replace(fold, train=fold.train.of_class(1), train_groups=np.arange(4))


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"regimes": ("real", "both")}, OptionError),
        ({"regimes": ("affine", "booth")}, UnknownNameError),
        ({"classifiers": ("forest",)}, UnknownNameError),
        ({"shifts": ("fog",)}, UnknownNameError),
        ({"n_seeds": 0}, OptionError),
        ({"real_shares": (0.5,)}, OptionError),
        ({"ratios": (-1.0,)}, OptionError),
        ({"select": 1.5}, OptionError),
    ],
)
def test_plans_that_make_no_sense_are_refused_at_once(values, error):
    with pytest.raises(error):
        UtilityPlan(**values)


class Memory(dict):
    """Of trials, and how many of them were asked for in vain."""

    missed = 0

    def recall(self, key):
        self.missed += key not in self
        return self.get(key)

    keep = dict.__setitem__


def test_more_regimes_are_added_to_finished_trials_without_training_those_again():
    folds, memory = [make_fold()], Memory()
    plan = dataclasses.replace(PROBE, n_seeds=2)
    first = run_trials(folds, plan, column_means, memory=memory)
    assert memory.missed == len(memory) == 10
    more = run_trials(folds, dataclasses.replace(plan, select=0.5, ratios=(1.0,)), column_means, memory=memory)
    assert memory.missed == len(memory) == 14
    again = {(t.cell, t.seed): t.probabilities.tobytes() for t in more.finished}
    assert all(again[t.cell, t.seed] == t.probabilities.tobytes() for t in first.finished)
    run_trials(folds, dataclasses.replace(plan, select=0.25), column_means, memory=memory)
    assert memory.missed == 16
