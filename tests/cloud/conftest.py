"""Settings of an imagined project."""

import pytest

from synthbank.cloud.settings import CloudSettings


@pytest.fixture
def settings():
    return CloudSettings(project="my-project", region="europe-west4", bucket="my-bucket", labels={"team": "lab"})
