import numpy as np
import pytest
import torch

from synthbank.data import apply_affine
from synthbank.errors import UnknownNameError
from synthbank.metrics.utility import AffineDraws, TrainingSet, balanced_weights, classifiers
from synthbank.metrics.utility.affine import augment_batch, warp
from synthbank.metrics.utility.classifiers.cnn import CnnConfig, SmallCnn
from synthbank.records import AffineParameters

from .conftest import column_means, squares


def training_set(n=12, *, affine=None, seed=0, classes=2):
    data = squares(n, seed=seed, classes=classes)
    weights = balanced_weights(data.labels, np.ones(len(data), bool))
    return TrainingSet(data.images, data.labels, weights, np.arange(len(data)), classes, affine)


def quick(name):
    return SmallCnn(CnnConfig(steps=60, width=8)) if name == "cnn" else classifiers.get(name)(column_means)


@pytest.mark.parametrize("name", classifiers.names())
@pytest.mark.parametrize("affine", [None, AffineDraws(rotation_deg=(-5.0, 5.0), shift=(-0.02, 0.02))])
def test_every_classifier_learns_is_reproducible_and_gives_probabilities(name, affine):
    train, test = training_set(affine=affine), squares(25, seed=9)
    answers = quick(name).fit(train, seed=1)(test.images)
    assert answers.shape == (50, 2)
    assert answers.dtype == np.float64
    assert answers.sum(axis=1) == pytest.approx(1.0)
    assert (answers.argmax(axis=1) == test.labels).mean() > 0.8
    assert np.array_equal(quick(name).fit(train, seed=1)(test.images), answers)


@pytest.mark.parametrize("name", classifiers.names())
def test_training_leaves_the_global_generator_alone(name):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    quick(name).fit(training_set(4), seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", classifiers.names())
def test_classifiers_accept_a_class_of_one_image(name):
    data = squares(6, seed=0, classes=3)
    kept = np.r_[0:13]  # one image of the third class
    few = data.take(kept)
    train = TrainingSet(
        few.images, few.labels, balanced_weights(few.labels, np.ones(13, bool)), np.arange(13), 3, AffineDraws()
    )
    assert quick(name).fit(train, seed=0)(data.images).shape == (18, 3)


def test_classes_count_equally_and_originals_as_much_as_synthetic_images():
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    real = np.array([True, True, False, True, False, False, False])
    weights = balanced_weights(labels, real)
    assert weights.sum() == pytest.approx(1.0)
    for label in (0, 1):
        for kind in (True, False):
            assert weights[(labels == label) & (real == kind)].sum() == pytest.approx(0.25)


@pytest.mark.parametrize(
    "affine",
    [
        AffineParameters(scale=1.15),
        AffineParameters(rotation_deg=25.0),
        AffineParameters(shift_y=0.1, shift_x=-0.06),
        AffineParameters(scale=0.9, rotation_deg=-20.0, shift_y=-0.05, shift_x=0.08),
    ],
)
def test_the_control_moves_images_as_the_catalogued_expansion_does(affine):
    y, x = np.mgrid[0:32, 0:32] / 32
    smooth = np.stack([128 + 90 * np.sin(5 * x + 2 * y), 128 + 90 * np.cos(4 * y), 255 * x * y]).astype(np.uint8)
    ours = warp(
        torch.from_numpy(smooth).float()[None],
        scale=torch.tensor([affine.scale]),
        rotation_deg=torch.tensor([affine.rotation_deg]),
        shift=torch.tensor([[affine.shift_y, affine.shift_x]]),
    )[0].numpy()
    theirs = apply_affine(smooth, affine).astype(float)
    inside = np.s_[:, 8:-8, 8:-8]  # borders are mirrored about another line
    assert np.abs(ours - theirs)[inside].max() < 3.0


def test_each_image_is_drawn_alone_and_half_of_the_parts_are():
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 16, 16, generator=rng).repeat(400, 1, 1, 1)
    moved = augment_batch(image, AffineDraws(), rng)
    unchanged = (moved - image).abs().amax(dim=(1, 2, 3)) < 1e-3
    assert 0.07 < unchanged.float().mean() < 0.19  # 0.5 ** 3


def test_dihedral_draws_all_eight_symmetries():
    rng = torch.Generator().manual_seed(0)
    image = torch.arange(9.0).reshape(1, 1, 3, 3).repeat(300, 1, 1, 1)
    still = AffineDraws(scale=(1.0, 1.0), rotation_deg=(0.0, 0.0), shift=(0.0, 0.0), symmetry="dihedral")
    turned = augment_batch(image, still, rng).round()
    assert len({tuple(t.flatten().tolist()) for t in turned}) == 8
    with pytest.raises(UnknownNameError, match="dihedral"):
        AffineDraws(symmetry="dihedrel")
