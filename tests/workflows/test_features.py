"""Feature vectors: each computed once, and never another number for training and selection."""

import numpy as np
import pytest

from synthbank.models import FeatureNetwork, batched, load_feature_network
from synthbank.records import Split
from synthbank.storage import ArrayCache
from synthbank.workflows import features
from synthbank.workflows.data.datasets import load_split, require_dataset
from synthbank.workflows.features import Embedder, clear_features, embed_images

from .conftest import DATASET


class Means(FeatureNetwork):
    """Channel means as features; counts the images of each batch that it computes."""

    name, dim, tap_channels = "means", 4, ()
    fingerprint = "0" * 16

    def __init__(self):
        super().__init__()
        self.computed = []

    def taps(self, images):
        raise NotImplementedError

    def pooled(self, images):
        raise NotImplementedError

    def embed(self, batches, *, input_size=None):
        means = np.concatenate([b.mean(axis=(2, 3)) for b in batches])
        self.computed.append(len(means))
        return np.pad(means, ((0, 0), (0, 1))).astype(np.float32)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (150, 3, 8, 8), dtype=np.uint8)


def test_features_come_from_the_cache_and_broken_entries_do_not(trained, monkeypatch):
    network = load_feature_network("lite1")
    dataset = require_dataset(trained, DATASET)
    images = load_split(trained, dataset, Split.TEST).images.images[:6]
    cache = ArrayCache(trained.settings.feature_cache)
    plain = network.embed([images], input_size=128)

    def embed(some):
        return Embedder(network, cache=cache, input_size=128)(some)

    np.testing.assert_allclose(embed(images), plain, atol=1e-4)
    computed = []
    monkeypatch.setattr(
        FeatureNetwork, "embed", lambda self, batches, **_: computed.extend(len(b) for b in batches) or plain
    )
    np.testing.assert_allclose(embed(images[[1, 0, 2, 3, 4, 5]])[[1, 0, 2, 3, 4, 5]], plain, atol=1e-4)
    assert computed == []
    monkeypatch.undo()
    assert clear_features(trained) > 0
    cache.path.write_bytes(b"broken" * 1000)
    np.testing.assert_allclose(embed(np.concatenate([images, images[:1]]))[:6], plain, atol=1e-4)


def test_embedding_twice_computes_once(monkeypatch):
    calls = []

    class Network:
        dim = 4

        def embed(self, batches, *, input_size):
            means = np.concatenate([b.mean(axis=(2, 3)) for b in batches])
            calls.append(len(means))
            return np.pad(means, ((0, 0), (0, 1))).astype(np.float32)

    monkeypatch.setattr(features, "load_feature_network", lambda name: Network())
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    embed = Embedder("any")
    first = embed(images[[0, 1, 1]])
    again = embed(images)
    assert calls == [2, 3]
    assert np.array_equal(again[[0, 1, 1]], first)
    assert embed(images[:0]).shape == (0, 4)


def test_another_object_finds_the_vectors_in_the_cache(images, tmp_path):
    network, cache = Means(), ArrayCache(tmp_path / "features.db")
    first = Embedder(network, cache=cache)(images)
    assert network.computed == [64, 64, 22]
    mixed = np.concatenate([images[140:], 255 - images[:3]])
    again = Embedder(network, cache=cache)(mixed)
    assert network.computed == [64, 64, 22, 3]
    assert np.array_equal(again[:10], first[140:])


def test_an_interruption_loses_no_finished_batch(images, tmp_path):
    network, cache = Means(), ArrayCache(tmp_path / "features.db")

    def cut_off(network, batches, input_size):
        for i, batch in enumerate(batches):
            if i == 2:
                raise KeyboardInterrupt
            yield network.embed([batch])

    with pytest.raises(KeyboardInterrupt):
        Embedder(network, cache=cache, backend=cut_off)(images)
    Embedder(network, cache=cache)(images)
    assert network.computed == [64, 64, 22]


def test_the_memo_drops_the_oldest_vectors(images):
    network = Means()
    embed = Embedder(network, limit=10)
    embed(images[:20])
    embed(images[10:20])
    assert network.computed == [20]
    embed(images[:1])
    assert network.computed == [20, 1]


def test_training_and_selection_get_the_bits_of_the_bare_network(images):
    network = load_feature_network("lite0")
    some = images[:70]
    bare = network.embed(batched(some), input_size=128)
    assert np.array_equal(embed_images("lite0", some), bare)
    assert embed_images("lite0", some[:0]).shape == (0, network.dim)
