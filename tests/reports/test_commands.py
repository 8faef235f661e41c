"""The commands that a report gives to make its images again."""

from datetime import UTC, datetime

import pytest

from synthbank.catalogue import JobRow, ModelRow
from synthbank.reports.commands import commands_again

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def generate_command(request, *, screened=True):
    job = JobRow("j1", "m", request, 7, "done", 8, 8, 0, 8, screened, NOW, NOW, 1.0, None)
    known = dict.fromkeys(ModelRow.__dataclass_fields__) | {"id": "m"}
    return commands_again(job, ModelRow(**known), per_class=4, dataset=None, expanded_to=None)[0]


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        ({"truncation": 1.0, "screen": True, "block": 64}, ""),
        ({}, ""),
        ({"truncation": 0.7}, " --truncation 0.7"),
        ({"select": {"share": 0.4, "least_confidence": [0.1]}}, " --select 0.4"),
        ({"match": {"share": 0.25}}, " --match 0.25"),
    ],
)
def test_a_generation_is_repeated_with_the_options_of_its_job(request_, options):
    assert generate_command(request_) == f"synthbank generate m -n 4 --seed 7{options}"


def test_a_generation_without_the_gate_is_repeated_without_it():
    assert generate_command({"screen": False}, screened=False).endswith("--no-screen")
