"""The command that an answer names next is one that works: it names the bank where that is not the usual one."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from synthbank.cli.output import at_bank
from synthbank.cli.train import show_training
from synthbank.records import Shortfall


def named(text):
    """The words of the command that follows "next: synthbank"."""
    (line,) = [line for line in text.splitlines() if line.startswith("next: ")]
    words = shlex.split(line)
    assert words[1] == "synthbank"
    return words[2:]


def test_each_named_command_works_in_another_bank(cli, tmp_path):
    pulled = cli("models", "pull", "zoo:ihc-64", "--bank", "my bank")
    assert pulled.code == 0, pulled.err
    made = cli(*(word.replace("2000", "2") for word in named(pulled.out)))
    assert made.code == 0, made.err
    assert cli(*named(made.out)).code == 0
    assert (tmp_path / "images.zip").is_file()
    array = [word.replace("images.zip", "images.npz") for word in named(made.out)]
    assert cli(*array).code == 0
    assert len(np.load(tmp_path / "images.npz")["train_images"]) == 4
    refused = cli(*array, "--format", "folder")
    assert refused.code == 2
    assert "--format npz" in refused.err
    assert not (tmp_path / "bank").exists()


def test_a_training_names_its_bank(capsys):
    report = SimpleNamespace(
        run_id="r",
        snapshots=(),
        model=SimpleNamespace(id="m"),
        images_seen=1,
        elapsed_sec=1.0,
        steps=1,
        chosen_by="KID",
        shortfall=None,
    )
    show_training(report, Path("other"))
    assert named(capsys.readouterr().out) == ["generate", "--bank", "other", "m", "-n", "2000"]
    show_training(report)
    assert named(capsys.readouterr().out) == ["generate", "m", "-n", "2000"]
    report.shortfall = Shortfall(320, 50_000, "synthbank train ihc --time-budget 20m")
    show_training(report, Path("other"))
    said = capsys.readouterr().out
    assert "saw 320 images; good sets of this size had seen about 50,000" in said
    assert "synthbank train --bank other ihc --time-budget 20m" in said


def test_an_error_names_the_bank(cli):
    ran = cli("catalogue", "ls", "--bank", "other")
    assert "'synthbank ingest --bank other FOLDER --name NAME'" in ran.err.replace("\n", " ")
    assert "'synthbank ingest FOLDER --name NAME'" in cli("catalogue", "ls").err.replace("\n", " ")
    refused = cli("serve", "--host", "0.0.0.0", "--port", 0, "--bank", "other")
    assert "synthbank keys create --bank other NAME" in refused.err.replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run `synthbank generate` first", "run `synthbank generate --bank b` first"),
        ("synthbank catalogue search X", "synthbank catalogue search --bank b X"),
        ("synthbank cloud status", "synthbank cloud status"),
        ("pip install 'synthbank[ray]'", "pip install 'synthbank[ray]'"),
    ],
)
def test_only_commands_of_a_bank_name_it(text, shown, monkeypatch):
    assert at_bank(text, Path("b")) == shown
    assert at_bank(text, Path("bank")) == at_bank(text, None) == text
    monkeypatch.setenv("SYNTHBANK_HOME", "b")
    assert at_bank(text, Path("b").absolute()) == text
