import numpy as np
import pytest

from synthbank.errors import OptionError
from synthbank.metrics.utility import agreement_scores, coverage_mask, find_modes, mode_scores

from .conftest import column_means, squares


@pytest.fixture
def world():
    """Originals with a small island far from the rest; held-out ones alike."""
    rng = np.random.default_rng(0)

    def draw(n, n_island):
        return np.r_[rng.normal(0, 1, (n, 6)), rng.normal(12, 1, (n_island, 6))]

    return draw(80, 5), draw(40, 4), draw


def scores_for(train, test, fake, groups=None):
    groups = ["g"] * len(train) if groups is None else groups
    found = mode_scores(train=train, test=test, fake=fake, groups=groups, protocol="lite1-128", seed=0)
    return {(s.metric.split("-lite1")[0], s.group_name): s for s in found}


def test_a_rare_cluster_is_found_and_its_absence_lowers_rare_coverage(world):
    train, test, draw = world
    modes = find_modes(train, seed=0)
    assert modes.rare[-5:].all()
    assert sum(modes.sizes) == 85
    without = scores_for(train, test, draw(300, 0))
    with_it = scores_for(train, test, draw(300, 25))
    assert without["common-coverage", None].value > 0.9
    assert with_it["rare-coverage", None].value > without["rare-coverage", None].value + 0.3
    island = without["rare-coverage", None]
    assert island.floor > island.value
    assert island.low <= island.value <= island.high


def test_a_group_that_no_synthetic_image_resembles_has_no_coverage(world):
    train, test, draw = world
    groups = ["main"] * 80 + ["island"] * 5
    found = scores_for(train, test, draw(300, 0), groups)
    assert found["group-coverage", "island"].value == 0.0
    assert found["group-coverage", "main"].value > 0.9
    assert found["group-coverage", "island"].n_real == 5
    assert set(scores_for(train, test, draw(9, 0), ["a"] * 82 + ["b"] * 3)) >= {("group-coverage", "a")}


def test_coverage_by_hand():
    real = np.arange(10.0)[:, None]  # the fifth neighbour lies 3 away in the middle, 5 at the ends: 3 typically
    assert coverage_mask(real=real, fake=np.array([[11.5]])).tolist() == [False] * 9 + [True]
    assert not coverage_mask(real=real, fake=np.array([[13.5]])).any()
    with pytest.raises(OptionError, match="too few originals"):
        find_modes(real[:5], seed=0)


def test_agreement_is_high_for_right_labels_and_low_for_wrong_ones():
    train, test = squares(25, seed=0), squares(40, seed=1)
    found = {}
    for wrong in (0.0, 0.8):
        made = squares(60, seed=2, wrong=wrong)
        scores = agreement_scores(
            train=train,
            test=test,
            fake=made,
            train_groups=np.arange(50),
            embed=column_means,
            protocol="lite1-128",
            seed=0,
        )
        found[wrong] = {s.class_name: s for s in scores}
    assert set(found[0.0]) == {None, "left", "right"}
    assert found[0.0][None].value > 0.9
    assert found[0.8][None].value < 0.4
    assert found[0.8][None].floor == found[0.0][None].floor > 0.9
    assert found[0.0]["left"].n_fake == 60
