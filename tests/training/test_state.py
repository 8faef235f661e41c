"""The files of a run folder, whatever moment a kill came at."""

import os

import pytest
import torch

from synthbank.errors import IntegrityError
from synthbank.storage import write_atomic
from synthbank.training.state import read_state, write_state


def test_a_state_goes_through_its_file(tmp_path):
    assert read_state(tmp_path) is None
    write_state(tmp_path, {"a": torch.arange(3.0)}, {"step": 4, "window": [{"loss": 0.1}]})
    tensors, values = read_state(tmp_path)
    assert torch.equal(tensors["a"], torch.arange(3.0))
    assert values == {"step": 4, "window": [{"loss": 0.1}]}
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new and longer")
    assert path.read_bytes() == b"old"


def test_what_a_killed_write_left_behind_is_removed(tmp_path):
    (tmp_path / "snapshots").mkdir()
    for left_over in (".state.safetensors.4711.part", "snapshots/.00000010.safetensors.4711.part"):
        (tmp_path / left_over).write_bytes(b"half")
    write_state(tmp_path, {"a": torch.ones(1)}, {})
    assert read_state(tmp_path) is not None
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["state.safetensors"]


def test_a_damaged_state_is_said_to_be_damaged(tmp_path):
    write_state(tmp_path, {"a": torch.ones(9)}, {})
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(IntegrityError, match="damaged"):
        read_state(tmp_path)
