"""A user's own encoder: what it is fed, what is taken of its output, and what is refused."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from synthbank.errors import InputError, OptionError, SetupError
from synthbank.models import (
    ModelSpec,
    architectures,
    feature_networks,
    load_encoder,
    networks_inside,
)

SMALL = {"size": 16, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


class Channels(nn.Module):
    """Mean of each channel, as a vector, as tokens or as maps."""

    def __init__(self, form="vector"):
        super().__init__()
        self.form = form

    def forward(self, x):
        if self.form == "maps":
            return x
        mean = x.mean(dim=(2, 3))
        return torch.stack([mean, 9 * mean], dim=1) if self.form == "tokens" else mean


def traced(path, form="vector", settings=SMALL):
    torch.jit.trace(Channels(form), torch.zeros(2, 3, 16, 16)).save(str(path))
    if settings is not None:
        path.with_suffix(".json").write_text(json.dumps(settings))
    return path


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 3, 16, 16), dtype=np.uint8)


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch calls its own format old


@pytest.mark.parametrize("form", ["vector", "tokens", "maps"])
def test_vectors_first_tokens_and_averaged_maps_come_out(tmp_path, images, form):
    encoder = load_encoder(traced(tmp_path / "own.pt", form))
    features = encoder.embed([images[:2], images[2:]], input_size=16)
    expected = images.mean(axis=(2, 3)) / 127.5 - 1.0
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert (encoder.dim, encoder.input_size) == (3, 16)


def test_the_name_follows_file_and_settings(tmp_path):
    one = load_encoder(traced(tmp_path / "a.pt"))
    again = load_encoder(tmp_path / "a.pt")
    other = load_encoder(traced(tmp_path / "b.pt", settings=SMALL | {"size": 32}))
    assert one.name == again.name
    assert one.name.startswith("enc")
    assert "-" not in one.name  # a protocol id is cut at hyphens
    assert len({one.name, other.name}) == 2
    assert len({one.fingerprint, other.fingerprint}) == 2


def test_it_gives_no_taps(tmp_path):
    with pytest.raises(OptionError, match="vectors alone"):
        load_encoder(traced(tmp_path / "a.pt")).taps(torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("fault", ["missing", "no TorchScript", "strange settings", "strange numbers", "scalar output"])
def test_what_is_no_encoder_is_refused(tmp_path, fault):
    path = tmp_path / "own.pt"
    error, words = InputError, "settings are not understood"
    if fault == "missing":
        error, words = SetupError, "SYNTHBANK_ENCODER"
    elif fault == "no TorchScript":
        path.write_bytes(b"weights of something else")
        words = "no TorchScript"
    elif fault == "scalar output":
        torch.jit.trace(nn.Flatten(0), torch.zeros(2, 3, 16, 16)).save(str(path))
        words = "output is not understood"
    else:
        traced(path, settings={"side": 224} if fault == "strange settings" else SMALL | {"mean": ["a", 0, 0]})
    with pytest.raises(error, match=words):
        load_encoder(path)


def test_an_onnx_encoder_gives_what_its_graph_says(tmp_path, images):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: no ONNX file can be made")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra 'onnx')")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])],
        "means",
        [helper.make_tensor_value_info("x", kind, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", kind, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "own.onnx"
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".json").write_text(json.dumps(SMALL))
    features = load_encoder(path).embed([images], input_size=16)
    np.testing.assert_allclose(features, images.mean(axis=(2, 3)) / 127.5 - 1.0, atol=1e-5)
    path.write_bytes(b"no graph")
    with pytest.raises(InputError, match="no ONNX file"):
        load_encoder(path)


def test_networks_inside_follow_the_architecture_and_its_option():
    spec = ModelSpec("projected", 32, 3, ("a",))
    assert networks_inside(spec) == {"lite0"}
    assert networks_inside(ModelSpec("projected", 32, 3, ("a",), options={"feature_network": "lite1"})) == {"lite1"}
    assert networks_inside(ModelSpec("sagan", 32, 3, ("a",))) == frozenset()


def test_every_network_that_an_architecture_looks_through_is_declared_so():
    looked_through = {n for name in architectures for n in networks_inside(ModelSpec(name, 32, 3, ("a",)))}
    declared = {name for name in feature_networks if feature_networks.spec(name).used_inside_discriminators}
    assert looked_through == declared
