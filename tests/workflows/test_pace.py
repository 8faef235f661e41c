"""Threads of a timed run: measured, recorded, measured again when steps become slow, and repeated by a resumed run."""

import json
from collections.abc import Callable

import pytest
import torch

from synthbank.config import resolve_train_config
from synthbank.storage import History
from synthbank.workflows.training.launch import Processes
from synthbank.workflows.training.pace import ThreadPace, ThreadTrial, measures_threads, thread_counts, threads
from synthbank.workflows.training.requests import TrainRequest
from synthbank.workflows.training.train import train

from .conftest import DATASET, SMALL, small_config

FREE = {1: 0.2, 2: 0.1, 3: 0.08, 4: 0.07}
BUSY = {1: 0.2, 2: 1.0, 3: 1.0, 4: 1.0}


@pytest.fixture(autouse=True)
def as_before():
    """Leaves the number of threads as it was."""
    with threads():
        yield


class Machine:
    """A clock, and steps that take as long as `cost` says for the threads that are set. It is asked which of them gain
    something, and says so truly, after some time."""

    def __init__(self, cost: dict[int, float]) -> None:
        self.cost, self.now = cost, 0.0
        self.events: list[tuple[int, dict[str, object]]] = []
        self.used: list[int] = []

    def clock(self) -> float:
        return self.now

    def gains(self, count: int) -> bool:
        self.now += 0.2
        return self.cost[count] < self.cost[1]

    def pace(self, *recorded: tuple[int, int]) -> ThreadPace:
        return ThreadPace(2, recorded, gains=self.gains, clock=self.clock)

    def steps(self, pace: ThreadPace, first: int, end: int, *, cost: Callable[[int], float] | None = None) -> None:
        for step in range(first, end):
            event = pace.before_step(step)
            if event is not None:
                self.events.append((step, event))
            count = torch.get_num_threads()
            self.used.append(count)
            seconds = self.cost[count] if cost is None else cost(count)
            self.now += seconds
            pace.after_step(seconds)


def trial(cost, limit, gains=lambda count: True):
    measured = ThreadTrial(limit, gains=gains)
    taken = []
    while measured.threads is not None:
        taken.append(measured.threads)
        measured.add(cost[measured.threads])
    return measured, taken


def test_more_threads_are_taken_while_they_are_faster():
    measured, taken = trial(FREE, 4)
    assert measured.best == 4
    assert taken == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    assert measured.step_sec == pytest.approx(FREE)


def test_beside_a_busy_core_one_thread_is_taken_after_one_slow_step():
    measured, taken = trial(BUSY, 4)
    assert measured.best == 1
    assert taken == [1, 1, 1, 1, 2, 2]


def test_no_step_is_taken_with_threads_that_wait_for_a_busy_core():
    measured, taken = trial(BUSY, 4, gains=lambda count: BUSY[count] < BUSY[1])
    assert (measured.best, taken) == (1, [1, 1, 1, 1])


def test_a_trial_may_begin_with_the_threads_that_are_used():
    measured = ThreadTrial(4, least=2, gains=lambda count: True)
    assert measured.threads == 2


def test_threads_that_gain_next_to_nothing_are_left_to_others():
    assert trial({1: 1.0, 2: 0.5, 3: 0.49, 4: 0.49}, 4)[0].best == 2


@pytest.mark.parametrize(("limit", "counts"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 3, 4]), (16, [1, 2, 4, 8, 15, 16])])
def test_all_cores_are_tried_with_and_without_one(limit, counts):
    assert thread_counts(limit) == counts


def test_every_change_is_recorded_with_its_step():
    machine = Machine(FREE)
    pace = machine.pace()
    machine.steps(pace, 0, 12)
    assert machine.used == [1] * 4 + [2] * 8
    assert [(step, event["threads"]) for step, event in machine.events] == [(0, 1), (4, 2), (8, 2)]
    assert machine.events[-1][1]["step_sec"] == {"1": 0.2, "2": 0.1}


def test_steps_that_take_three_times_as_long_are_measured_anew():
    machine = Machine(FREE)
    pace = machine.pace()
    machine.steps(pace, 0, 200)
    assert machine.used[-1] == 2
    machine.cost = BUSY
    machine.steps(pace, 200, 220)
    assert machine.used[-1] == 1
    assert machine.used[200:].count(2) == 1  # a slow step makes it ask, and the answer says why


def test_a_slow_step_on_a_free_machine_changes_nothing():
    machine = Machine(FREE)
    pace = machine.pace()
    machine.steps(pace, 0, 100)
    before = list(machine.events)
    for step in range(100, 200):
        machine.steps(pace, step, step + 1, cost=lambda count, step=step: 5.0 if step % 2 else FREE[count])
    assert machine.events == before


def test_two_slow_steps_in_a_row_are_measured_anew_whatever_slows_them():
    machine = Machine(FREE)
    pace = machine.pace()
    machine.steps(pace, 0, 200)
    ended = len(machine.events)
    machine.steps(pace, 200, 220, cost=lambda count: 5.0 if count == 2 else 1.0)
    assert machine.used[-1] == 1
    assert len(machine.events) > ended


def test_a_machine_that_is_slow_as_a_whole_is_not_asked_all_the_time():
    machine = Machine(FREE)
    pace = machine.pace()
    machine.steps(pace, 0, 50)
    for step in range(50, 1000):  # every step takes longer than the one before
        machine.steps(pace, step, step + 1, cost=lambda count, step=step: FREE[count] * 1.02 ** min(step - 50, 400))
    ended = [step for step, event in machine.events if "step_sec" in event]
    assert len(ended) < 12


def test_a_core_that_is_free_again_is_found():
    machine = Machine(BUSY)
    pace = machine.pace()
    machine.steps(pace, 0, 50)
    assert set(machine.used) == {1}
    machine.cost = FREE
    machine.steps(pace, 50, 500)
    assert machine.used[-1] == 2


def test_while_a_core_stays_busy_hardly_any_time_is_lost():
    machine = Machine(BUSY)
    machine.steps(machine.pace(), 0, 10_000)
    assert set(machine.used) == {1}
    assert machine.now < 1.01 * 10_000 * BUSY[1]
    assert [event["threads"] for _, event in machine.events] == [1, 1]


def test_a_resumed_run_repeats_the_recorded_changes_and_measures_only_after_them():
    machine = Machine(FREE)
    whole = machine.pace()
    machine.steps(whole, 0, 60)
    machine.cost = BUSY
    machine.steps(whole, 60, 100)
    recorded = [(step, int(event["threads"])) for step, event in machine.events]
    again = Machine(FREE)  # the other machine, or another day
    resumed = again.pace(*recorded)
    last = recorded[-1][0]
    again.steps(resumed, 30, last + 1)
    assert again.used == machine.used[30 : last + 1]
    assert again.events == []
    again.steps(resumed, last + 1, last + 20)
    assert again.used[-1] == 2
    assert again.events


def test_a_run_that_was_rolled_back_repeats_them_too():
    machine = Machine(FREE)
    pace = machine.pace()
    machine.steps(pace, 0, 12)
    first = list(machine.used)
    last, _ = machine.events[-1]
    assert last == 8
    machine.steps(pace, 2, 12)
    assert machine.used[12 : 12 + last - 2 + 1] == first[2 : last + 1]


def test_a_resumed_run_takes_no_more_threads_than_there_are():
    pace = ThreadPace(2, [(0, 8), (50, 8)])
    pace.before_step(3)
    assert torch.get_num_threads() == 2


def config(**overrides):
    return resolve_train_config("projected-quick", overrides={**SMALL, **overrides})


@pytest.mark.parametrize(
    ("settings", "wanted", "count", "measured"),
    [
        ({}, Processes("cpu"), 2, True),
        ({"steps": 5}, Processes("cpu"), 2, False),
        ({}, Processes("cpu", devices=2), 2, False),
        ({}, Processes("cpu"), 1, False),
    ],
    ids=["timed", "fixed steps", "several processes", "one thread allowed"],
)
def test_only_a_timed_run_in_one_process_chooses_its_threads(settings, wanted, count, measured):
    torch.set_num_threads(count)
    assert measures_threads(config(**settings), wanted) is measured


def test_a_run_of_fixed_steps_keeps_its_threads(trained):
    torch.set_num_threads(2)
    used = set()
    report = train(
        trained,
        TrainRequest(DATASET, config=small_config(seed=11, steps=4), device="cpu"),
        on_event=lambda event: used.add(torch.get_num_threads()),
    )
    assert used == {2}
    assert "threads" not in {e.kind for e in History(report.run_dir)}


def test_a_timed_run_records_its_threads_and_a_resumed_one_repeats_them(trained):
    torch.set_num_threads(2)
    settings = config(time_budget_sec=600.0, seed=12, precision="32-true", layout="contiguous", snapshot_every=1000)
    request = TrainRequest(DATASET, config=settings, device="cpu")
    asked = iter(range(10_000))
    stopped = train(trained, request, should_stop=lambda: next(asked) >= 20)
    assert torch.get_num_threads() == 2  # given back
    path = stopped.run_dir / "history.jsonl"
    first = [e for e in History(stopped.run_dir) if e.kind == "threads"]
    assert [e.step for e in first][:2] == [0, 4]
    assert {e.values["threads"] for e in first} <= {1, 2}
    later = json.loads(path.read_text().splitlines()[0]) | {"kind": "threads", "step": 25, "values": {"threads": 2}}
    with path.open("a") as file:  # as a run leaves it that came to step 25 and was killed
        file.write(json.dumps(later) + "\n")
    asked = iter(range(10_000))
    train(trained, request, should_stop=lambda: next(asked) >= 5)
    again = [e for e in History(stopped.run_dir) if e.kind == "threads"]
    assert [(e.step, e.values) for e in again] == [(e.step, e.values) for e in first] + [(25, {"threads": 2})]
