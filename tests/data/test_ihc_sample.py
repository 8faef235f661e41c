from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from synthbank.data import IngestOptions, assign_splits, ingest_source
from synthbank.data.sources.ihc_sample import sample_regions
from synthbank.errors import OptionError
from synthbank.records import Split


@pytest.fixture(scope="module")
def result():
    return ingest_source("ihc")


def test_196_tiles_in_two_equal_classes_without_a_finding(result):
    assert len(result.originals) == 196
    assert result.rejected == ()
    assert Counter(o.class_name for o in result.originals) == {"dab_negative": 98, "dab_positive": 98}
    assert all(o.findings == () and o.pixels.shape == (3, 64, 64) for o in result.originals)
    assert result.licence is not None


def test_every_split_holds_both_classes(result):
    counts = Counter(zip(result.suggested_splits, (o.class_name for o in result.originals), strict=True))
    assert sum(n for (split, _), n in counts.items() if split is Split.TRAIN) == 140
    for split in (Split.VALIDATION, Split.TEST):
        per_class = [counts[split, name] for name in result.class_names]
        assert sum(per_class) == 28
        assert min(per_class) >= 9


def test_groups_reproduce_the_suggested_split(result):
    names, groups = zip(*((o.class_name, o.group) for o in result.originals), strict=True)
    outcome = assign_splits(names, groups, seed=3, suggested=result.suggested_splits)
    assert outcome.splits == result.suggested_splits
    assert outcome.warnings == ()


@pytest.mark.parametrize("size", [32, 64, 128, 200, 256])
def test_no_tile_overlaps_a_tile_of_another_split(size):
    owner = np.full((512, 512), "", dtype="U10")
    for region in sample_regions(size):
        corners = region.corners(size)
        assert corners
        for y, x in corners:
            assert 0 <= y <= 512 - size
            assert 0 <= x <= 512 - size
            tile = owner[y : y + size, x : x + size]
            assert set(np.unique(tile)) <= {"", region.split.value}
            tile[:] = region.split.value


def test_names_tell_where_the_pixels_lie(result):
    from skimage import data

    field = data.immunohistochemistry()
    for original in result.originals[::20]:
        y, x = map(int, original.name.rpartition("#")[2].split(","))
        np.testing.assert_array_equal(original.pixels, field[y : y + 64, x : x + 64].transpose(2, 0, 1))


def test_tiles_larger_than_a_region_are_an_option_error():
    with pytest.raises(OptionError, match="256"):
        ingest_source("ihc", IngestOptions(size=300))
