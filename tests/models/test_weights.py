"""Weights files: what goes in comes out, and damage is noticed."""

import hashlib

import pytest
import torch

from synthbank.errors import IntegrityError
from synthbank.models import load_tensors, read_header, read_legacy_keys, save_tensors, state_fingerprint

NONE = torch.zeros(0)


@pytest.fixture
def tensors():
    rng = torch.Generator().manual_seed(0)
    return {
        "weight": torch.randn(3, 4, generator=rng),
        "transposed": torch.randn(5, 2, generator=rng).T,
        "half": torch.randn(4, generator=rng).to(torch.bfloat16),
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
        "channels_last": torch.randn(1, 3, 2, 2, generator=rng).to(memory_format=torch.channels_last),
    }


def test_tensors_and_header_go_through_a_file(tensors):
    data = save_tensors(tensors, header={"step": 3, "name": "ü", "nested": {"a": [1.5, None]}})
    again = load_tensors(data)
    assert set(again) == set(tensors)
    for name, value in tensors.items():
        assert again[name].dtype == value.dtype
        assert again[name].shape == value.shape
        assert torch.equal(again[name].view(-1).nan_to_num(3), value.reshape(-1).nan_to_num(3))
    assert read_header(data) == {"step": 3, "name": "ü", "nested": {"a": [1.5, None]}}


def test_no_header_is_an_empty_one(tensors):
    assert read_header(save_tensors(tensors)) == {}


def test_shared_and_learning_tensors_are_stored_plain():
    weight = torch.nn.Parameter(torch.ones(2))
    again = load_tensors(save_tensors({"a": weight, "b": weight}))
    assert torch.equal(again["a"], again["b"])
    assert not again["a"].requires_grad


def test_the_same_tensors_give_the_same_bytes(tensors):
    backwards = dict(reversed(tensors.items()))
    assert save_tensors(tensors, header={"a": 1, "b": 2}) == save_tensors(backwards, header={"b": 2, "a": 1})


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_a_file_that_was_cut_off_is_damaged(tensors, kept):
    data = save_tensors(tensors)
    with pytest.raises(IntegrityError, match="damaged") as caught:
        load_tensors(data[:kept])
    assert "fetch the file again" in caught.value.message


@pytest.mark.parametrize("data", [b"not a weights file at all", bytes(64), b"\xff" * 64], ids=["text", "zeros", "ones"])
def test_another_kind_of_file_is_damaged(data):
    with pytest.raises(IntegrityError, match="damaged"):
        load_tensors(data)


@pytest.mark.parametrize("data", [b"", b"1234", b"not a weights file at all", b"\xff" * 64])
def test_the_header_of_a_damaged_file_is_damaged_too(data):
    with pytest.raises(IntegrityError, match="damaged"):
        read_header(data)


def test_a_flipped_bit_is_noticed_by_the_recorded_hash(tensors):
    data = save_tensors(tensors)
    digest = hashlib.sha256(data).hexdigest()
    assert set(load_tensors(data, sha256=digest)) == set(tensors)
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    assert set(load_tensors(flipped)) == set(tensors)  # not noticed without one
    with pytest.raises(IntegrityError, match="does not match its recorded hash") as caught:
        load_tensors(flipped, sha256=digest)
    assert digest in caught.value.message


def test_the_fingerprint_is_of_names_shapes_types_and_bits():
    base = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}
    others = [
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"].view(3, 2), "b": base["b"]},
        {"a": base["a"].double(), "b": base["b"]},
        {"a": base["a"].nextafter(torch.tensor(9.0)), "b": base["b"]},
        {"a": base["a"]},
    ]
    prints = [state_fingerprint(t) for t in (base, *others)]
    assert len(set(prints)) == len(prints)
    assert state_fingerprint(dict(reversed(base.items()))) == prints[0]
    strided = {"a": base["a"].T.contiguous().T, "b": base["b"]}
    assert state_fingerprint(strided) == prints[0]


def test_layers_are_found_under_the_names_of_earlier_versions(tensors):
    """Old weights are read under today's names; nothing else changes, and no layer of today loses its name."""
    old = load_tensors(
        save_tensors({"judge.weight": tensors["weight"], "heads.0.judge.bias": tensors["half"], "body.prejudge": NONE})
    )
    expected = {"to_logits.weight", "heads.0.to_logits.bias", "body.prejudge"}
    today = read_legacy_keys(old, expected)
    assert set(today) == expected
    assert torch.equal(today["to_logits.weight"], tensors["weight"])
    assert torch.equal(today["heads.0.to_logits.bias"], tensors["half"])
    assert set(read_legacy_keys(old, set(old))) == set(old)  # a network from outside that still calls its layer so
