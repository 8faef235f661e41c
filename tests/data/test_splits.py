from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from synthbank.data import assign_splits, parse_shares
from synthbank.errors import OptionError
from synthbank.records import Split

TRAIN, VALIDATION, TEST = Split.TRAIN, Split.VALIDATION, Split.TEST


def test_parse_shares():
    assert parse_shares("70/15/15") == (0.7, 0.15, 0.15)
    assert parse_shares("0.8/0.2/0") == (0.8, 0.2, 0.0)


@pytest.mark.parametrize("text", ["70/30", "70/15/20", "a/b/c", "", "0/50/50", "110/-5/-5", "nan/1/1"])
def test_bad_shares(text):
    with pytest.raises(OptionError):
        parse_shares(text)


def test_shares_are_met_in_every_class():
    names = ["a"] * 100 + ["b"] * 20
    result = assign_splits(names, [str(i) for i in range(120)], seed=0)
    counts = Counter(zip(names, result.splits, strict=True))
    assert [counts["a", s] for s in Split] == [70, 15, 15]
    assert [counts["b", s] for s in Split] == [14, 3, 3]
    assert result.warnings == ()


def random_set(rng):
    n = int(rng.integers(1, 120))
    names = [f"class{c}" for c in rng.integers(0, rng.integers(1, 5), n)]
    groups = [f"group{g}" for g in rng.integers(0, rng.integers(1, 40), n)]
    return names, groups


@pytest.mark.parametrize("seed", range(40))
def test_groups_stay_whole_and_order_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    names, groups = random_set(rng)
    result = assign_splits(names, groups, seed=seed)
    of_group = {}
    for group, split in zip(groups, result.splits, strict=True):
        assert of_group.setdefault(group, split) is split
    for name in set(names):
        assert (
            any(n == name and s is TRAIN for n, s in zip(names, result.splits, strict=True))
            or len({g for g, n in zip(groups, names, strict=True) if n == name}) > 1
        )
    order = rng.permutation(len(names))
    shuffled = assign_splits([names[i] for i in order], [groups[i] for i in order], seed=seed)
    assert shuffled.splits == tuple(result.splits[i] for i in order)
    assert shuffled.warnings == result.warnings


def test_the_seed_decides():
    names, groups = ["a"] * 50, [str(i) for i in range(50)]
    assert assign_splits(names, groups, seed=1) == assign_splits(names, groups, seed=1)
    assert assign_splits(names, groups, seed=1).splits != assign_splits(names, groups, seed=2).splits


def test_a_class_of_one_group_trains_and_is_warned():
    names = ["a"] * 30 + ["rare"] * 5
    groups = [str(i) for i in range(30)] + ["one patient"] * 5
    result = assign_splits(names, groups, seed=0)
    assert set(result.splits[30:]) == {TRAIN}
    assert result.warnings == ("Class 'rare' has 1 group: no image of it is in validation or test",)


def test_a_share_of_zero_leaves_the_split_empty():
    result = assign_splits(["a"] * 20, [str(i) for i in range(20)], shares=(0.8, 0.0, 0.2), seed=0)
    assert Counter(result.splits) == {TRAIN: 16, TEST: 4}
    assert result.warnings == ()


def test_suggestions_are_respected_and_the_rest_is_filled():
    suggested = [TEST] * 6 + [TRAIN] * 34
    result = assign_splits(["a"] * 40, [str(i) for i in range(40)], seed=0, suggested=suggested)
    assert result.splits[:6] == (TEST,) * 6
    assert Counter(result.splits)[VALIDATION] == 6
    assert "no validation part" in result.warnings[0]


def test_a_source_of_training_images_only_is_split_as_usual():
    result = assign_splits(["a"] * 20, [str(i) for i in range(20)], seed=0, suggested=[TRAIN] * 20)
    assert Counter(result.splits) == {TRAIN: 14, VALIDATION: 3, TEST: 3}


def test_a_group_in_two_suggested_splits_is_kept_whole_on_the_side_that_is_held_out():
    suggested = [TRAIN, TRAIN, TEST, VALIDATION, TEST, TRAIN]
    result = assign_splits(["a"] * 6, ["p", "p", "p", "q", "r", "q"], seed=0, suggested=suggested)
    assert result.splits == (TEST, TEST, TEST, VALIDATION, TEST, VALIDATION)
    assert "'p'" in result.warnings[0]
    assert "put in test" in result.warnings[0]


@pytest.mark.parametrize("seed", range(30))
def test_no_image_suggested_as_test_ever_leaves_test(seed):
    rng = np.random.default_rng(seed)
    names, groups = random_set(rng)
    choices = [TRAIN, VALIDATION, TEST, None]
    suggested = [choices[i] for i in rng.integers(0, 4, len(names))]
    splits = assign_splits(names, groups, seed=seed, suggested=suggested).splits
    assert all(now is TEST for now, given in zip(splits, suggested, strict=True) if given is TEST)


def test_lengths_must_agree():
    with pytest.raises(OptionError):
        assign_splits(["a"], ["1", "2"], seed=0)
    with pytest.raises(OptionError):
        assign_splits(["a"], ["1"], seed=0, shares=(0.5, 0.1, 0.1))
