"""The request of a job: one reader and one writer for rows of every version."""

import re
from pathlib import Path

import pytest

import synthbank
from synthbank.records import JobRequest, SelectionRule

LIMITS = {"network": "lite0", "input_size": 64, "least_confidence": [0.1, 0.2], "most_distance": [3.0, 4.0]}


@pytest.mark.parametrize(
    "stored",
    [
        {"truncation": 0.7, "screen": False},
        {"truncation": 1.0, "screen": True, "block": 64},
        {"truncation": 1.0, "screen": True, "towards": 0, "steps": 8, "block": 64},
        {"truncation": 1.0, "screen": True, "select": {"share": 0.4}},
        {"truncation": 1.0, "screen": True, "select": {"share": 0.4, **LIMITS}, "block": 16},
        {"truncation": 1.0, "screen": True, "match": {"share": 0.3, "always_kept_from": [1.5]}, "block": 16},
    ],
)
def test_a_stored_request_is_written_as_it_was_read(stored):
    again = JobRequest.from_json(stored).to_json()
    assert again == stored
    assert list(again) == list(stored)


def test_rows_of_earlier_versions_get_the_defaults_and_lose_what_nobody_knows():
    assert JobRequest.from_json({}) == JobRequest()
    assert JobRequest.from_json({"n": 99}) == JobRequest()
    assert JobRequest.from_json({"block": 3}).block == 3
    assert JobRequest().truncation == 1.0


def test_a_selection_is_read_with_its_limits():
    request = JobRequest.from_json({"select": {"share": 0.4, **LIMITS}})
    assert request.selection == SelectionRule("select", 0.4, LIMITS)


def test_no_other_code_reads_or_writes_the_stored_request():
    package = Path(synthbank.__file__).parent
    reads = re.compile(r"\.request(\[|\.get\()")
    assert [path for path in sorted(package.rglob("*.py")) if reads.search(path.read_text())] == []
