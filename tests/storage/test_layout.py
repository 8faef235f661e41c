import pytest

from synthbank.errors import OptionError
from synthbank.storage import layout

SHA = "ab" * 32


def test_keys_are_what_the_page_says():
    assert layout.original_key("ihc", SHA) == f"originals/ihc/ab/{SHA}.png"
    assert layout.snapshot_key("run-1", 1200) == "runs/run-1/snapshots/00001200.safetensors"
    assert layout.run_key("run-1", "history.jsonl") == "runs/run-1/history.jsonl"
    assert layout.model_key("alpha", "screen.safetensors") == "models/alpha/screen.safetensors"
    assert layout.image_key("j1", 2, 1234) == "images/j1/002/000001/00001234.png"
    assert layout.evaluation_key("job", "j1", "grid.png") == "evaluations/job/j1/grid.png"
    assert layout.report_key("j1") == "reports/j1/report.html"


@pytest.mark.parametrize("name", ["", "..", "a..b", "../a", "a/b", "A", ".hidden", "-x", "ü", "a b", "x" * 121, "a\n"])
def test_names_that_could_leave_the_folder_are_refused(name):
    with pytest.raises(OptionError):
        layout.model_key(name, "model.json")
    with pytest.raises(OptionError):
        layout.model_key("alpha", name)


@pytest.mark.parametrize("bad", ["", "xyz", SHA.upper(), SHA + "/..", SHA + "\n"])
def test_an_original_is_named_by_a_hash(bad):
    with pytest.raises(OptionError):
        layout.original_key("ihc", bad)


def test_counts_are_not_negative():
    with pytest.raises(OptionError):
        layout.image_key("j", 0, -1)
    with pytest.raises(OptionError):
        layout.snapshot_key("r", -1)


@pytest.mark.parametrize("text", ["DAB Negative (2x)", "..", "Ärzte/Labor", "клітина", "", "a..b", "x" * 300, "..a-"])
def test_slugs_are_valid_names(text):
    assert layout.check_name(layout.slugify(text))


def test_slugs_of_other_scripts_differ():
    assert layout.slugify("клітина") != layout.slugify("тканина")


def test_the_refusal_names_a_way_out():
    with pytest.raises(OptionError, match="use 'my-model'"):
        layout.model_prefix("My Model")
