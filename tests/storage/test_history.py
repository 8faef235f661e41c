"""The history of a run, whatever moment a kill came at."""

import pytest

from synthbank.records import TrainEvent
from synthbank.storage import History

EVENTS = [TrainEvent("status", 10 * i, 80 * i, 1.5 * i, {"loss_d": 0.25, "name": "ü}{"}) for i in range(1, 4)]


@pytest.fixture
def history(tmp_path):
    events = History(tmp_path)
    for event in EVENTS:
        events.append(event)
    return events


def test_events_come_back_in_order(history, tmp_path):
    assert list(history) == EVENTS
    assert list(History(tmp_path / "nowhere")) == []


def test_a_last_line_cut_at_any_place_is_left_out(history):
    data = history.path.read_bytes()
    lines = data.splitlines(keepends=True)
    for kept in range(len(lines[-1]) - 1):
        history.path.write_bytes(b"".join(lines[:-1]) + lines[-1][:kept])
        assert list(history) == EVENTS[:2], kept
    history.path.write_bytes(data[:-1])  # only the end of the line is missing
    assert list(history) == EVENTS


def test_truncating_drops_later_events_and_mends_a_cut_line(history):
    history.path.write_bytes(history.path.read_bytes()[:-9])
    history.truncate(after_step=20)
    assert list(history) == EVENTS[:2]
    history.truncate(after_step=19)
    history.append(EVENTS[2])
    assert list(history) == [EVENTS[0], EVENTS[2]]


def test_truncating_one_kind_keeps_all_others(history):
    snapshots = [TrainEvent("snapshot", step, 8 * step, 2.0, {"kid": 1.0}) for step in (10, 20, 30)]
    for event in snapshots:
        history.append(event)
    history.truncate(after_step=20, only="snapshot")
    assert list(history) == EVENTS + snapshots[:2]
