"""Planning without a network and without a catalogue: who gets which image numbers."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from synthbank.records import Verdicts
from synthbank.workflows.generation.plan import (
    BatchSlice,
    ClassTarget,
    Shard,
    free_places,
    limits,
    next_shard,
    next_slice,
    shared_slices,
    until_enough,
)

BLOCK = 64


def target(wanted, *, job="j", next_index=0, accepted=0, cap=None, screened=True):
    cap = 4 * wanted if cap is None else cap
    return ClassTarget(job, 0, "cell", next_index, accepted, wanted, cap, screened)


def shares(slices):
    return [(part.target.job_id, part.first, part.n) for part in slices]


def verdicts(*accepted):
    n = len(accepted)
    reasons = tuple(None if a else "near_copy" for a in accepted)
    return Verdicts(np.array(accepted, bool), reasons, np.zeros(n, np.int64), np.zeros(n, np.float32))


def test_planning_loads_neither_a_network_nor_a_database():
    code = "import synthbank.workflows.generation.plan, sys; print(sorted({'torch', 'sqlalchemy'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_target_misses_what_is_wanted_until_the_cap():
    assert target(10).missing == 10
    assert target(10, accepted=4, next_index=6).missing == 6
    assert target(10, accepted=1, next_index=39).missing == 1
    assert target(10, accepted=1, next_index=40).missing == 0
    assert target(10, accepted=12, next_index=12).missing == 0


def test_counting_images_moves_a_target_on():
    one = target(10)
    one.advance(8, accepted=7)
    assert (one.next_index, one.accepted, one.missing) == (8, 7, 3)


def test_the_cap_is_a_multiple_of_the_images_before_selection_and_never_below_the_attempts_so_far():
    assert limits(10, max_attempts=4.0) == (10, 40)
    assert limits(10, max_attempts=4.0, share=0.5) == (10, 80)
    assert limits(10, max_attempts=1.0, next_index=25) == (10, 25)


def test_an_interpolation_ends_with_its_last_step_however_many_pass():
    wanted, cap = limits(5, max_attempts=4.0, steps=5)
    steps = target(wanted, cap=cap)
    steps.advance(5, accepted=5)
    assert steps.missing == 0
    rejected = target(wanted, cap=cap)
    rejected.advance(4, accepted=0)
    assert rejected.missing == 1


def test_a_lone_slice_ends_with_its_block_or_the_cap():
    assert next_slice(target(200), block=BLOCK) == BatchSlice(target(200), 0, 64)
    assert next_slice(target(200, next_index=70), block=BLOCK).n == 58
    assert next_slice(target(5, next_index=18), block=BLOCK).n == 2


def test_a_shared_block_serves_small_wants_first_and_is_never_overfull():
    slices = shared_slices([target(1000, job="long"), target(3, job="short")], block=BLOCK)
    assert shares(slices) == [("short", 0, 3), ("long", 0, 61)]
    many = [target(n, job=str(n)) for n in range(1, 40)]
    slices = shared_slices(many, block=BLOCK)
    assert sum(part.n for part in slices) == BLOCK
    assert all(part.n > 0 for part in slices)


def test_spare_images_stand_in_for_rejections_where_there_is_room_and_a_gate():
    slices = shared_slices([target(16, job="gate"), target(16, job="free", screened=False)], block=BLOCK)
    assert shares(slices) == [("gate", 0, 19), ("free", 0, 16)]
    assert shares(shared_slices([target(16, job="capped", cap=17)], block=BLOCK)) == [("capped", 0, 17)]
    assert shares(shared_slices([target(62, job="wide"), target(2, job="tight")], block=BLOCK))[1] == ("wide", 0, 62)


def test_free_places_are_what_the_next_block_has_left():
    assert free_places([target(10), target(20)], block=BLOCK) == 34
    assert free_places([target(100)], block=BLOCK) == 0
    assert free_places([], block=BLOCK) == BLOCK


def test_images_are_needed_up_to_the_one_that_completes_the_number():
    mixed = verdicts(True, False, True, True)
    assert [until_enough(mixed, n, 4) for n in (1, 2, 3, 4)] == [1, 3, 4, 4]
    assert until_enough(None, 3, 4) == 3
    assert until_enough(None, 9, 4) == 4


def shards_of(one, *, width, sent=()):
    """Shards until those in the making are enough."""
    sent = list(sent)
    while (shard := next_shard(one, sent, block=BLOCK, width=width)) is not None:
        sent.append(shard)
    return sent


@pytest.mark.parametrize(("wanted", "width"), [(1, 2), (150, 2), (1000, 2), (5000, 7)])
def test_shards_follow_each_other_hold_enough_and_lie_on_whole_blocks(wanted, width):
    shards = shards_of(target(wanted), width=width)
    assert shards[0].first == 0
    assert all(one.end == following.first for one, following in pairwise(shards))
    assert shards[-1].first < wanted <= shards[-1].end
    assert all(shard.first % BLOCK == 0 and 0 < shard.n <= 256 for shard in shards)


def test_a_small_job_is_cut_so_that_every_worker_has_some():
    assert len(shards_of(target(256), width=4)) == 4
    assert len(shards_of(target(256), width=1)) == 1


def test_shards_reach_further_where_few_images_pass():
    passing, failing = target(500, next_index=64, accepted=64), target(500, next_index=64, accepted=16)
    ahead = [shards_of(one, width=2)[-1].end for one in (passing, failing)]
    assert ahead[0] < ahead[1] <= failing.cap
    assert shards_of(target(10, next_index=10, accepted=9, cap=12), width=2) == [Shard(0, 10, 2, 1)]


def test_no_shard_is_planned_for_a_target_that_has_ended():
    assert next_shard(target(10, accepted=10, next_index=10), (), block=BLOCK, width=2) is None
    assert next_shard(target(10, accepted=0, next_index=40), (), block=BLOCK, width=2) is None
