from __future__ import annotations

import numpy as np
import pytest

from synthbank.data import IngestOptions, ingest_source
from synthbank.data.divide import large_group_warnings
from synthbank.data.groups import join_groups
from synthbank.errors import OptionError
from synthbank.records import group_facts


def test_a_chain_of_near_duplicates_is_no_group():
    assert join_groups(["a", "b", "c"], [(0, 1), (1, 2)]) == ["a", "a", "c"]
    assert join_groups(["a", "b", "c"], [(1, 2), (0, 1)]) == ["a", "b", "b"]
    assert join_groups(["c", "b", "a"], [(0, 1), (1, 2), (0, 2)]) == ["a", "a", "a"]


def test_groups_that_were_given_join_whole_and_without_chains():
    groups = ["p", "p", "q", "q", "r", "s"]
    assert join_groups(groups, [(1, 2)]) == ["p", "p", "p", "p", "r", "s"]
    assert join_groups(groups, [(1, 2), (3, 4)]) == ["p", "p", "p", "p", "r", "s"]


@pytest.mark.parametrize("seed", range(20))
def test_all_members_of_a_joined_group_are_linked(seed):
    rng = np.random.default_rng(seed)
    n = 24
    names = [f"g{i:02}" for i in range(n)]
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n) if rng.random() < 0.3]
    joined = join_groups(names, pairs)
    together = {(i, j) for i in range(n) for j in range(i + 1, n) if joined[i] == joined[j]}
    assert together <= set(pairs)
    assert together


def test_a_pattern_that_matches_no_file_is_an_error(class_folder):
    with pytest.raises(OptionError, match=r"matches 0 of 8 files, not 'round/p0_0.png'.* and 5 more") as caught:
        ingest_source(class_folder, IngestOptions(group_by=r"slide(\d+)"))
    assert "--ungrouped own" in str(caught.value)


def test_a_pattern_that_misses_some_files_names_them(class_folder):
    options = {"group_by": r"round/(p\d+)_|spiky/(?P<group>p0)_"}
    (class_folder / "round" / "p0_0.png").rename(class_folder / "round" / "p7.png")
    with pytest.raises(OptionError, match=r"'round/p7.png'"):
        ingest_source(class_folder, IngestOptions(group_by=r"(p\d+)_"))
    result = ingest_source(class_folder, IngestOptions(group_by=r"(p\d+)_", ungrouped="own"))
    assert {o.name: o.group for o in result.originals}["round/p7.png"] == "round/p7.png"
    assert options


def test_files_that_are_left_out_need_no_group(class_folder):
    (class_folder / "notes.txt").write_text("hello")
    assert len(ingest_source(class_folder, IngestOptions(group_by=r"(p\d+)_")).originals) == 8


def test_a_group_above_a_tenth_of_a_class_is_a_warning():
    names = ["a"] * 30 + ["b"] * 30
    groups = ["p"] * 4 + ["q"] * 5 + [f"a{i}" for i in range(21)] + [f"b{i // 3}" for i in range(30)]
    (warning,) = large_group_warnings(names, groups, near_duplicates={"q"})
    assert "Group 'q' holds 5 of 30 images of class 'a', and 1 more" in warning
    assert "--near-duplicates" in warning
    assert large_group_warnings(["a"] * 4, ["1", "2", "3", "4"]) == []


def test_groups_that_nobody_gave_are_not_called_groups():
    files = ["a/1.png", "a/2.png", "a/3.png#0,0", "a/3.png#0,64"]
    alone = group_facts(files[:2], files[:2], rule=None)
    assert (alone.given, alone.sentence) == (False, "not given: each file counts as its own group")
    tiles = group_facts(["a/1.png", "a/1.png", "a/3.png", "a/3.png"], files, rule=None)
    assert not tiles.given
    assert group_facts(["left", "left"], files[:2], rule=None).sentence == "1 group, from the source itself"
    one_each = group_facts(["1", "2"], files[:2], rule=r"(\d)")
    assert one_each.sentence == (r"2 groups, read by the pattern (\d); each is one image, so nothing is held together")
