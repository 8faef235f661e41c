"""Each command of the way, on a small folder of real tiles, through the command line."""

import csv
import io
import json
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
import skimage.data
from PIL import Image

SMALL = [
    *("--set", "batch_size=4"),
    *("--set", "snapshot_images=16"),
    *("--set", "model_options={width: 0.25, mixing: 16}"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of thirty 40-pixel tiles from a stained field, and some files that are no images."""
    root = tmp_path_factory.mktemp("folder")
    field = skimage.data.immunohistochemistry()
    for c, name in enumerate(("left", "right")):
        (root / name).mkdir()
        for i in range(30):
            y, x = 45 * (i // 5) + 20, 256 * c + 45 * (i % 5)
            Image.fromarray(field[y : y + 40, x : x + 40]).save(root / name / f"p{i // 3}_{i}.png")
    (root / "left" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (root / "left" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(50))
    (root / "right" / "empty.png").touch()
    Image.fromarray(np.full((64, 64, 3), 255, np.uint8)).save(root / "right" / "blank.png")
    Image.fromarray(field[:4, :4]).save(root / "right" / "tiny.png")
    return root


@pytest.fixture(scope="module")
def whole_run(folder, tmp_path_factory):
    """One `synthbank run`, and the bank it left; the module's tests only read it."""
    import subprocess
    import sys

    bank = tmp_path_factory.mktemp("run") / "bank"
    command = [sys.executable, "-m", "synthbank", "run", folder, "-n", 6, "--size", 32, "--steps", 4, *SMALL]
    command += [
        "--name",
        "tiles",
        "--group-by",
        r"(p\d+)_",
        "--ungrouped",
        "own",
        "--bank",
        bank,
        "--json",
        "--split",
        "60/20/20",
    ]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return bank, json.loads(done.stdout), done.stderr


def test_run_walks_the_whole_way(whole_run):
    _, result, talk = whole_run
    assert result["counts"]["accepted"] == {"left": 6, "right": 6}
    assert sum(result["counts"]["originals"]["left"].values()) == 30
    assert list(result["seconds"]) == ["ingest", "expand", "train", "generate", "evaluate", "report"]
    assert "Traceback" not in talk
    page = Path(result["report"]).read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "tiles" in page
    assert result["scores"][0]["metric"].startswith("kid-lite1")


def test_repeating_the_run_repeats_nothing(whole_run, folder, cli):
    bank, result, _ = whole_run
    words = ["run", folder, "-n", 6, "--size", 32, "--steps", 4, *SMALL, "--name", "tiles", "--split", "60/20/20"]
    again = cli(*words, "--group-by", r"(p\d+)_", "--ungrouped", "own", "--bank", bank, "--json")
    assert again.code == 0, again.err
    assert again.json["model"] == result["model"]
    assert again.json["job"] == result["job"]
    assert cli("catalogue", "verify", "--bank", bank).code == 0


def test_a_dry_run_starts_nothing(folder, cli, tmp_path):
    words = ["run", folder, "-n", 6, "--size", 32, "--steps", 4, *SMALL, "--bank", tmp_path / "none", "--json"]
    planned = cli(*words, "--dry-run")
    assert planned.code == 0, planned.err
    assert planned.json["ingested"]["counts"]["left"]
    assert planned.json["config"]["steps"] == 4
    assert {"training time", "disk", "memory"} <= set(planned.json["estimates"])
    assert not (tmp_path / "none").exists()


def test_every_reporting_command_prints_one_json_object(whole_run, cli, tmp_path):
    bank, result, _ = whole_run
    image = cli("catalogue", "search", result["job"], "--bank", bank, "--json").json
    image_id = next(hit["id"] for hit in image if hit["kind"] == "image")
    for words in (
        ["catalogue", "ls"],
        ["catalogue", "show", image_id],
        ["catalogue", "verify"],
        ["catalogue", "regenerate", image_id],
        ["catalogue", "migrate"],
        ["models", "ls"],
        ["models", "show", result["model"]],
        ["evaluate", "--resamples", 2],
        ["bias"],
        ["report", "--to", tmp_path / "r.html"],
        ["generate", result["model"], "-n", 3, "--seed", 5],
        ["expand", "tiles", "--preview", tmp_path / "sheet.png"],
        ["export", "--job", result["job"], "--to", tmp_path / "set.npz", "--format", "npz"],
    ):
        ran = cli(*words, "--bank", bank, "--json")
        assert ran.code == 0, (words, ran.err)
        assert ran.json is not None
    with np.load(tmp_path / "set.npz") as arrays:
        assert arrays["train_images"].shape[0] == 12
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 100


def test_tables_name_what_json_holds(whole_run, cli):
    bank, result, _ = whole_run
    listed = cli("catalogue", "ls", "--bank", bank)
    assert listed.code == 0
    for word in ("tiles", result["model"], result["job"]):
        assert word in listed.out
    shown = cli("models", "show", result["model"], "--bank", bank)
    assert "not_for" in shown.out


def test_two_thousand_images_of_one_class_are_one_command_away(whole_run, cli, tmp_path):
    bank, result, _ = whole_run
    made = cli("generate", result["model"], "-n", 25, "--class", "right", "--seed", 9, "--bank", bank, "--json")
    assert made.code == 0, made.err
    assert made.json["accepted"] == {"right": 25}
    target = tmp_path / "right.zip"
    out = cli("export", "--job", made.json["job"]["id"], "--class", "right", "--to", target, "--bank", bank)
    assert out.code == 0, out.err
    assert "25" in out.out
    with zipfile.ZipFile(target) as archive:
        names = archive.namelist()
        table = csv.DictReader(archive.read("metadata.csv").decode().splitlines())
        assert len(list(table)) == 25
    assert sum(n.endswith(".png") for n in names) == 25


def test_a_link_to_an_export_in_a_bucket(whole_run, cli, s3_bucket, tmp_path):
    bank, result, _ = whole_run
    words = ["export", "--job", result["job"], "--bank", bank, "--link", 1]
    out = cli(*words, "--to", f"{s3_bucket}/release.zip", "--json")
    assert out.code == 0, out.err
    with zipfile.ZipFile(io.BytesIO(httpx.get(out.json["link"]).content)) as archive:
        assert sum(n.endswith(".png") for n in archive.namelist()) == 12
    told = cli(*words, "--to", f"{s3_bucket}/again.zip")
    assert httpx.get(told.out.strip().splitlines()[-1]).status_code == 200
    refused = cli(*words, "--to", tmp_path / "here.zip")
    assert refused.code == 2
    assert not (tmp_path / "here.zip").exists()
    assert "no link" in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.slow
def test_evidence_on_the_command_line(whole_run, cli, tmp_path):
    bank, result, _ = whole_run
    tried = cli("utility", result["job"], "--seeds", 1, "--budget", "1s", "--bank", bank, "--json")
    assert tried.code == 0, tried.err
    metrics = {s["metric"] for s in tried.json["scores"]}
    assert {"gain-macro-f1-cnn-both", "gain-macro-f1-probe-both"} <= metrics
    card = cli("report", result["job"], "--scorecard", "--bank", bank, "--json")
    assert card.json["criteria"][0]["name"] == "Congruence"
    assert len(card.json["usefulness"]) == 2
    assert "CONSISTENCY" in cli("report", "--scorecard", "--bank", bank).out
    sheet = cli("reader", "make", result["job"], "-n", 8, "--to", tmp_path / "s.html", "--bank", bank, "--json")
    assert sheet.code == 0, sheet.err
    study = sheet.json["study"]["id"]
    token = (tmp_path / "s.html").read_text().split('"item": "')[1].split('"')[0]
    (tmp_path / "a.csv").write_text(f"study,reader,item,answer,milliseconds\n{study},ann,{token},real,7\n")
    taken = cli("reader", "import", tmp_path / "a.csv", "--bank", bank, "--json")
    assert (taken.json["n_new"], taken.json["n_open"]) == (1, 7)
    assert "ann" in cli("reader", "show", study, "--bank", bank).out


def test_ingest_tells_what_was_left_out_and_why(folder, cli, tmp_path):
    ran = cli("ingest", folder, "--name", "tiles", "--size", 32, "--bank", tmp_path / "b", "--json")
    assert ran.code == 0, ran.err
    found = ran.json["findings"]
    assert ran.json["n_rejected"] == 4
    assert found["blank/warn"] == 1
    left_out = {f["name"] for f in ran.json["files"] if f["effect"] == "reject"}
    assert left_out == {"left/broken.png", "left/cut.jpg", "right/empty.png", "right/tiny.png"}
    talk = cli("ingest", folder, "--name", "tiles", "--size", 32, "--bank", tmp_path / "b")
    assert "nothing new" in talk.err
    for name in left_out:
        assert name in talk.out


def test_doctor_examines_the_machine(cli, tmp_path):
    ran = cli("doctor", "--bank", tmp_path / "none", "--json")
    assert ran.code == 0, ran.out
    assert {f["what"] for f in ran.json["findings"]} >= {"Python", "torch", "disk", "bank"}
