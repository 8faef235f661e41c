"""Cloud settings: file, environment, and what is refused."""

import pytest

from synthbank.cloud.settings import dump_settings, load_settings, make_settings
from synthbank.errors import NotFoundError, OptionError

GOOD = {"project": "my-project", "bucket": "my-bucket"}


def test_defaults_name_everything():
    settings = make_settings(GOOD, where="here")
    assert settings.image_uri == "europe-west4-docker.pkg.dev/my-project/synthbank/synthbank:latest"
    assert settings.account_email == "synthbank-runner@my-project.iam.gserviceaccount.com"
    assert settings.storage_url == "gs://my-bucket/bank"
    assert settings.database_url == "cloudsql+postgresql://my-project:europe-west4:synthbank/synthbank"


def test_a_file_is_read_back_as_it_was_written_and_the_environment_wins(tmp_path):
    path = tmp_path / "cloud.yaml"
    settings = make_settings(GOOD | {"labels": {"team": "lab-7"}, "image": "x/y:1"}, where="here")
    path.write_text(dump_settings(settings))
    assert load_settings(path, {}) == settings
    assert load_settings(path, {"SYNTHBANK_CLOUD_REGION": "us-central1"}).region == "us-central1"
    assert settings.labels_of("train", "IHC.v2") == {
        "team": "lab-7",
        "synthbank": "bank",
        "synthbank-kind": "train",
        "synthbank-name": "ihc-v2",
    }


def test_the_environment_alone_is_enough(tmp_path):
    environment = {"SYNTHBANK_CLOUD_PROJECT": "my-project", "SYNTHBANK_CLOUD_BUCKET": "my-bucket"}
    assert load_settings(tmp_path / "none.yaml", environment).project == "my-project"
    with pytest.raises(NotFoundError, match="synthbank cloud init"):
        load_settings(tmp_path / "none.yaml", {})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"project": "My Project"}, "project"),
        ({"region": "europe"}, "region"),
        ({"bucket": "gs://x"}, "bucket"),
        ({"prefix": "a/b"}, "prefix"),
        ({"bukket": "x"}, "unknown key"),
        ({"labels": {"synthbank": "x"}}, "set by SynthBank"),
        ({"labels": {"Team": "x"}}, "labels"),
        ({"labels": {"team": "Ä"}}, "labels.team"),
    ],
)
def test_what_is_not_allowed_is_named(change, says):
    with pytest.raises(OptionError, match=says):
        make_settings(GOOD | change, where="cloud.yaml")


@pytest.mark.parametrize("text", ["a: [", "- one", "project: my-project"])
def test_broken_files_are_named(tmp_path, text):
    (tmp_path / "cloud.yaml").write_text(text)
    with pytest.raises(OptionError, match=r"cloud\.yaml|bucket"):
        load_settings(tmp_path / "cloud.yaml", {})
