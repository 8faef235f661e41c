from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from synthbank.data import IngestOptions, divide, ingest_source
from synthbank.data.held_out import twins_outside
from synthbank.errors import OptionError
from synthbank.records import Split


@pytest.fixture
def parts(tmp_path, picture, encoded):
    """Twelve training and four test images of two classes; the first training image is a twin of the first test one."""
    root = tmp_path / "own"
    for c, name in enumerate(("round", "spiky")):
        for part, n in (("train", 6), ("test", 2)):
            (root / part / name).mkdir(parents=True)
            for i in range(n):
                seed = 100 * c + 10 * (part == "test") + i
                (root / part / name / f"p{seed % 4}_{i}.png").write_bytes(encoded(picture(seed)))
    return root


def brighter(image, by=5):
    return np.clip(image.astype(int) + by, 0, 255).astype(np.uint8)


def divided(root, **options):
    chosen = IngestOptions(**options)
    return divide(ingest_source(root, chosen), chosen, seed=0)


def split_of(result, split):
    return {o.name: s for o, s in zip(result.originals, split.splits, strict=True)}


def held_out(result):
    return {r.name: (r.findings[-1].check, r.findings[-1].other) for r in result.rejected}


def test_the_twin_of_a_test_image_is_left_out_and_the_test_image_stays(parts, picture, encoded):
    (parts / "train" / "spiky" / "twin.png").write_bytes(encoded(brighter(picture(10))))
    result, split = divided(parts)
    assert held_out(result) == {"train/spiky/twin.png": ("held_out_twin", "test/round/p2_0.png")}
    assert "'test/round/p2_0.png', which is a test image" in result.rejected[0].findings[-1].message
    assert result.rejected[0].original.name == "train/spiky/twin.png"
    of_name = split_of(result, split)
    assert Counter(s for n, s in of_name.items() if n.startswith("test/")) == {Split.TEST: 4}
    assert not any(s is Split.TEST for n, s in of_name.items() if n.startswith("train/"))
    assert any("'train/spiky/twin.png'" in w for w in split.warnings)


def test_an_equal_image_is_left_out_of_the_part_that_is_not_held_out(tmp_path, parts, picture, encoded):
    (parts / "test").rename(parts / "validation")
    same = (parts / "validation" / "round" / "p2_0.png").read_bytes()
    (parts / "train" / "round" / "again.png").write_bytes(same)
    result, split = divided(parts)
    assert "train/round/again.png" in {r.name for r in result.rejected}
    assert split_of(result, split)["validation/round/p2_0.png"] is Split.VALIDATION


def test_a_group_in_train_and_test_stays_in_test_alone(parts):
    result, split = divided(parts, group_by=r"/(p[01])_|(?P<group>p\d+_\d+)", ungrouped="own")
    assert split_of(result, split)["test/round/p2_0.png"] is Split.TEST
    by_patient, split = divided(parts, group_by=r"(p2)_", ungrouped="own")
    left = held_out(by_patient)
    assert left
    assert {check for check, _ in left.values()} == {"held_out_group"}
    assert all(name.startswith("train/") and "/p2_" in name for name in left)
    of_name = split_of(by_patient, split)
    assert {s for n, s in of_name.items() if n.startswith("test/")} == {Split.TEST}
    assert any("groups" in w and "p2_" in w for w in split.warnings)


def test_groups_that_leave_no_training_image_are_an_error(parts):
    with pytest.raises(OptionError, match="No training image of class 'round' is left") as caught:
        divided(parts, group_by=r"/(round|spiky)/")
    assert "--group-by" in str(caught.value)


@pytest.mark.parametrize("treatment", ["join", "drop", "ignore"])
@pytest.mark.parametrize("group_by", [None, r"/(\w+)\.png"])
def test_no_test_image_leaves_the_test_part(parts, picture, encoded, treatment, group_by):
    for i, seed in enumerate((10, 11, 110)):
        for copy in range(2):
            twin = brighter(picture(seed), 4 + 3 * copy)
            (parts / "train" / "spiky" / f"x{i}{copy}.png").write_bytes(encoded(twin))
    result, split = divided(parts, near_duplicates=treatment, group_by=group_by)
    of_name = split_of(result, split)
    in_test = {n for n, s in of_name.items() if s is Split.TEST}
    assert in_test == {n for n in of_name if n.startswith("test/")}
    assert len(in_test) == 4
    copies = {n for n in of_name if "/x" in n}
    assert len(copies) == (6 if treatment == "ignore" else 0)
    assert any("were kept, as asked" in w for w in split.warnings) == (treatment == "ignore")


def test_drop_keeps_what_is_not_near_to_anything_kept(class_folder, picture, encoded):
    base = picture(0)
    for i in range(3):
        (class_folder / "round" / f"q{i}.png").write_bytes(encoded(brighter(base, 3 * i + 3)))
    result = ingest_source(class_folder, IngestOptions(near_duplicates="drop"))
    assert {r.name for r in result.rejected} == {"round/q0.png", "round/q1.png", "round/q2.png"}


def test_near_duplicates_that_no_group_holds_together_do_not_cross_the_split():
    train, validation, test = Split.TRAIN, Split.VALIDATION, Split.TEST
    assert twins_outside([(0, 1), (1, 2)], [train, train, test]) == {1: 2}
    assert twins_outside([(0, 1), (1, 2)], [test, validation, train]) == {1: 0}
    assert twins_outside([(0, 1)], [test, test]) == {}
    assert twins_outside([(0, 1), (1, 2), (0, 2)], [train, validation, test]) == {0: 2, 1: 2}
    assert twins_outside([(0, 1)], [None, test]) == {0: 1}


@pytest.mark.parametrize("n", [1, 2])
def test_a_class_of_few_images_and_one_class_alone_are_divided_with_words(tmp_path, picture, encoded, n):
    (tmp_path / "set" / "only").mkdir(parents=True)
    for i in range(n):
        (tmp_path / "set" / "only" / f"{i}.png").write_bytes(encoded(picture(i)))
    result, split = divided(tmp_path / "set")
    assert any("one class only" in note for note in result.notes)
    assert any("no image of it is in" in w for w in split.warnings)
    assert len(split.splits) == n


def test_one_image_a_class_is_divided_with_words(tmp_path, picture, encoded):
    for i, name in enumerate("abc"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "1.png").write_bytes(encoded(picture(i)))
    result, split = divided(tmp_path / "set", group_by=r"(\w)/1")
    assert set(split.splits) == {Split.TRAIN}
    assert sum("no image of it is in validation or test" in w for w in split.warnings) == 3
    assert result.class_names == ("a", "b", "c")
