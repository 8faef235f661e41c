"""What `init` writes: Terraform that parses, whose variables are all given, with no more rights than named here."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import hcl2
import pytest

from synthbank.cloud.settings import load_settings
from synthbank.cloud.setup import setup_files, write_files
from synthbank.errors import StateError


@pytest.fixture
def parsed(settings):
    return hcl2.loads(setup_files(settings)["terraform/main.tf"])


def _named(blocks):
    """{name: body} of parsed blocks such as variables."""
    return {name.strip('"'): body for block in blocks for name, body in block.items() if not name.startswith("__")}


def test_every_variable_is_declared_used_and_has_a_value(settings, parsed):
    files = setup_files(settings, ["user:ada@example.org"])
    declared = _named(parsed["variable"])
    values = json.loads(files["terraform/terraform.tfvars.json"])
    assert set(values) <= set(declared)
    assert {name for name, body in declared.items() if "default" not in body} <= set(values)
    assert set(re.findall(r"\bvar\.(\w+)", files["terraform/main.tf"])) == set(declared)
    assert values["people"] == ["user:ada@example.org"]
    assert values["labels"] == {"team": "lab", "synthbank": "bank"}


def test_rights_are_these_and_no_more(settings):
    text = setup_files(settings)["terraform/main.tf"]
    assert set(re.findall(r"roles/[\w.]+", text)) == {
        "roles/storage.objectUser",
        "roles/storage.objectViewer",
        "roles/cloudsql.client",
        "roles/cloudsql.instanceUser",
        "roles/logging.logWriter",
        "roles/artifactregistry.writer",
        "roles/aiplatform.user",
        "roles/cloudbuild.builds.editor",
        "roles/serviceusage.serviceUsageConsumer",
        "roles/iam.serviceAccountUser",
        "roles/iam.serviceAccountTokenCreator",
    }
    assert not re.search(r"\b(admin|owner|editor)\b", text.replace("cloudbuild.builds.editor", ""))


def test_resources_hold_what_the_settings_name(parsed):
    kinds = {kind.strip('"') for block in parsed["resource"] for kind in block}
    assert {
        "google_storage_bucket",
        "google_sql_database_instance",
        "google_sql_user",
        "google_service_account",
        "google_artifact_registry_repository",
    } <= kinds


@pytest.mark.skipif(not shutil.which("terraform"), reason="no terraform")
def test_terraform_finds_it_well_formed(settings, tmp_path):
    write_files(tmp_path, setup_files(settings), force=False)
    command = ["terraform", "fmt", "-check", "-diff", "main.tf"]
    assert subprocess.run(command, cwd=tmp_path / "terraform", check=False).returncode == 0


def test_nothing_of_yours_is_replaced_unasked(settings, tmp_path):
    files = setup_files(settings)
    assert len(write_files(tmp_path, files, force=False)) == 4
    assert write_files(tmp_path, files, force=False) == []
    assert load_settings(tmp_path / "cloud.yaml", {}) == settings
    (tmp_path / "prices.yaml").write_text("mine")
    (tmp_path / "terraform" / "main.tf").unlink()
    with pytest.raises(StateError, match=r"prices\.yaml"):
        write_files(tmp_path, files, force=False)
    assert not (tmp_path / "terraform" / "main.tf").exists()
    assert (tmp_path / "prices.yaml").read_text() == "mine"
    assert len(write_files(tmp_path, files, force=True)) == 2
    assert not list(Path(tmp_path).glob("*.tf"))
