import itertools

import pytest

from synthbank.generation import image_id, image_seed


def test_seeds_are_the_same_in_every_release():
    """A seed in a catalogue must draw the same image for ever: these numbers may not change."""
    assert [image_seed(0, 0, 0), image_seed(7, 1, 42)] == [6583832602205394894, 5966642921445752564]


def test_seeds_of_many_images_differ_and_fit_the_catalogue():
    seeds = {image_seed(*parts) for parts in itertools.product((0, 1, 11, 2**62), (0, 1, 11), range(300))}
    assert len(seeds) == 4 * 3 * 300
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62  # all bits are used


def test_parts_of_a_seed_do_not_run_together():
    assert len({image_seed(1, 11, 1), image_seed(11, 1, 1), image_seed(1, 1, 11), image_seed(111, 1, 1)}) == 4


def test_ids_sort_by_number_and_stay_apart():
    ids = [image_id("j1", 0, i) for i in range(0, 20_000, 7)]
    assert ids == sorted(ids)
    assert len({image_id(j, c, i) for j, c, i in itertools.product(("j1", "j2"), range(12), range(50))}) == 1200


@pytest.mark.parametrize(("index", "expected"), [(42, "j1a2b-1-000042"), (1_234_567, "j1a2b-1-1234567")])
def test_ids_name_job_class_and_number(index, expected):
    assert image_id("j1a2b", 1, index) == expected
