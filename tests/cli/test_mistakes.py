"""A user's mistake gets an error that helps, exit code 2 and no traceback; and nothing is left behind."""

import re
import shutil

import pytest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ingest", "nowhere"], "nowhere"),
        (["ingest"], "--sample"),
        (["ingest", "--sample", "ich"], "ihc"),
        (["ingest", "--sample", "ihc", "--size", "7"], "8 to 1024"),
        (["ingest", "--sample", "ihc", "--fit", "crp"], "crop"),
        (["ingest", "--sample", "ihc", "--split", "80/30"], "80/30"),
        (["ingest", "--sample", "ihc", "--group-by", "("], "("),
        (["train", "ihc"], "ingest"),
        (["generate", "m"], "no bank"),
        (["evaluate"], "no bank"),
        (["utility"], "no bank"),
        (["bias"], "no bank"),
        (["report"], "no bank"),
        (["export", "--to", "x"], "no bank"),
        (["catalogue", "ls"], "no bank"),
        (["models", "ls"], "no bank"),
        (["nosuch"], "nosuch"),
        (["generate", "m", "-n", "many"], "--number"),
        (["cloud", "train", "ihc", "--config", "none.yaml"], "none.yaml"),
    ],
)
def test_without_a_bank(cli, words, said):
    ran = cli(*words)
    assert ran.code == 2, ran
    assert said in flat(ran.err)
    assert "Traceback" not in ran.err + ran.out


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    from synthbank.data import IngestOptions
    from synthbank.settings import Settings
    from synthbank.workflows.bank import open_bank
    from synthbank.workflows.data.ingest import ingest

    home = tmp_path_factory.mktemp("ingested") / "bank"
    with open_bank(Settings(home=home)) as bank:
        ingest(bank, "sample:ihc", name="ihc", options=IngestOptions(size=32))
    return home


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "ich"], "ihc"),
        (["train", "ihc", "--model", "projcted"], "projected"),
        (["train", "ihc", "--preset", "slow"], "quick"),
        (["train", "ihc", "--steps", "0"], "above zero"),
        (["train", "ihc", "--set", "lr=1"], "lr_g"),
        (["train", "ihc", "--set", "lr_g"], "KEY=VALUE"),
        (["train", "ihc", "--set", "augment_d=[colour"], "is not YAML"),
        (["train", "ihc", "--set", "augment_d="], "gives no value"),
        (["train", "ihc", "--set", "ema_decay=2"], "ema_decay"),
        (["train", "ihc", "--config", "none.yaml"], "none.yaml"),
        (["train", "ihc", "--device", "tpu"], "cpu"),
        (["train", "ihc", "--time-budget", "soon"], "20m"),
        (["generate", "m"], "model"),
        (["evaluate"], "synthbank generate"),
        (["evaluate", "j1"], "j1"),
        (["evaluate", "j1", "--resamples", "1"], "2 or more"),
        (["evaluate", "j1", "--utility"], "synthbank utility"),
        (["evaluate", "j1", "--bias"], "synthbank bias"),
        (["utility", "j1"], "j1"),
        (["utility", "j1", "--folds", "1"], "no number of folds"),
        (["bias", "j1"], "j1"),
        (["report", "j1"], "j1"),
        (["export", "--to", "x"], "--job"),
        (["export", "--to", "x", "--job", "j1"], "j1"),
        (["export", "--to", "x", "--job", "j1", "--format", "tfrecord"], "folder"),
        (["catalogue", "show", "i1"], "i1"),
        (["catalogue", "regenerate", "i1"], "i1"),
        (["catalogue", "withdraw", "abc"], "abc"),
        (["models", "show", "m"], "m"),
        (["expand", "ihc", "--to", "3"], "3"),
    ],
)
def test_in_a_bank(cli, ingested, words, said):
    before = sorted(p for p in ingested.rglob("*") if p.is_file() and "catalogue.db" not in p.name)
    ran = cli(*words, "--bank", ingested)
    assert ran.code == 2, ran
    assert said in flat(ran.err)
    assert "Traceback" not in ran.err + ran.out
    assert sorted(p for p in ingested.rglob("*") if p.is_file() and "catalogue.db" not in p.name) == before


def test_a_preview_makes_its_folder(cli, ingested, tmp_path):
    bank = shutil.copytree(ingested, tmp_path / "bank")
    ran = cli("expand", "ihc", "--preview", "new/folder/sheet.png", "--bank", bank)
    assert ran.code == 0, ran.err
    assert (tmp_path / "new" / "folder" / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_augment_is_another_name_of_expand_and_not_listed(cli, ingested, tmp_path):
    bank = shutil.copytree(ingested, tmp_path / "bank")
    first = cli("expand", "ihc", "--to", 200, "--seed", 3, "--bank", bank, "--json")
    again = cli("augment", "ihc", "--to", 200, "--seed", 3, "--bank", bank, "--json")
    assert (first.code, again.code) == (0, 0), again.err
    assert again.json["n_copies"] == first.json["n_copies"] == 200 - first.json["n_originals"]
    assert not re.search(r"^│ augment ", cli("--help").out, re.MULTILINE)


def test_every_command_explains_itself(cli):
    top = cli("--help")
    assert top.code == 0
    for name in re.findall(r"^│ (\w+) ", top.out, re.MULTILINE):
        assert cli(name, "--help").code == 0, name


def flat(text):
    """Without the frames and line breaks that tables and boxes put in."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)
