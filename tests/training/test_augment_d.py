"""Symmetries of the square, and differentiable augmentation."""

import itertools

import numpy as np
import pytest
import torch

from synthbank.training.augment_d import augment, symmetries

OLD = ("colour", "translation", "cutout")
EACH = ("stain", "colour", "geometry", "zoom", "translation", "cutout")
POLICIES = [policy for n in range(4) for policy in itertools.combinations(OLD, n)]
POLICIES += [("stain",), ("geometry",), ("zoom",), ("stain", "geometry"), EACH]


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images(n: int = 6, size: int = 16, channels: int = 3, dtype=torch.float32):
    return torch.rand(n, channels, size, size, generator=_rng(9), dtype=dtype) * 2 - 1


def _square_group(image):
    turns = [torch.rot90(image, k, (-2, -1)) for k in range(4)]
    return turns + [t.flip(-1) for t in turns]


@pytest.mark.parametrize(("kind", "expected"), [("none", 1), ("flip", 2), ("dihedral", 8)])
def test_symmetries_are_exactly_those_of_the_square(kind, expected):
    image = torch.arange(9.0).view(1, 1, 3, 3)
    allowed = {tuple(t.flatten().tolist()) for t in _square_group(image)}
    assert len(allowed) == 8
    drawn = symmetries(image.expand(4000, -1, -1, -1), kind, _rng())
    seen, counts = drawn.flatten(1).unique(dim=0, return_counts=True)
    seen = {tuple(row.tolist()) for row in seen}
    assert len(seen) == expected
    assert seen <= allowed
    assert tuple(image.flatten().tolist()) in seen
    assert (counts.float() / 4000 * expected - 1).abs().max() < 0.2  # each as often as the others
    if kind == "flip":
        assert tuple(image.flip(3).flatten().tolist()) in seen


@pytest.mark.parametrize("kind", ["none", "flip", "dihedral"])
def test_symmetries_keep_the_order_of_the_batch_and_move_channels_together(kind):
    images = _images(40)
    drawn = symmetries(images, kind, _rng(1))
    assert drawn.shape == images.shape
    for image, moved in zip(images, drawn, strict=True):  # so every image keeps its label
        assert any(torch.equal(moved, candidate) for candidate in _square_group(image))


@pytest.mark.parametrize("policy", POLICIES, ids="+".join)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_augmentation_keeps_shape_type_and_a_sane_range(policy, channels):
    images = _images(64, channels=channels)
    out = augment(images, policy, _rng())
    assert out.shape == images.shape
    assert out.dtype == images.dtype
    assert out.isfinite().all()
    assert out.abs().max() < 2
    assert torch.equal(out, images) == (not policy)


def test_augmentation_follows_its_generator():
    images, policy = _images(), ("colour", "translation", "cutout")
    assert torch.equal(augment(images, policy, _rng(3)), augment(images, policy, _rng(3)))
    assert not torch.equal(augment(images, policy, _rng(3)), augment(images, policy, _rng(4)))
    assert torch.equal(symmetries(images, "dihedral", _rng(3)), symmetries(images, "dihedral", _rng(3)))
    before = torch.random.get_rng_state()
    augment(images, policy, _rng(3))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_order_in_which_a_policy_is_written_does_not_matter():
    images = _images()
    assert torch.equal(augment(images, ("cutout", "colour"), _rng()), augment(images, ("colour", "cutout"), _rng()))


def test_each_image_is_augmented_on_its_own():
    same = _images(1).expand(16, -1, -1, -1)
    for policy in EACH:
        out = augment(same, (policy,), _rng())
        assert len({o.numpy().tobytes() for o in out}) > 8


@pytest.mark.parametrize("policy", POLICIES, ids="+".join)
def test_augmentation_is_differentiable(policy):
    images = _images(2, size=8, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, policy, _rng(5)), (images,))


def test_the_gradient_of_cutout_is_that_of_the_pixels_that_stay():
    images = _images(8).requires_grad_()
    out = augment(images, ("cutout",), _rng(2))
    out.sum().backward()
    assert set(images.grad.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close((images.grad * images.detach()).sum(), out.detach().sum())


def test_translation_moves_by_at_most_an_eighth_and_mirrors_what_comes_in():
    images = torch.zeros(500, 1, 16, 16)
    images[:, :, 8, 8] = 1
    places = augment(images, ("translation",), _rng()).flatten(1).argmax(dim=1)
    moves = {(int(p) // 16 - 8, int(p) % 16 - 8) for p in places}
    assert moves == set(itertools.product(range(-2, 3), repeat=2))
    ramp = torch.arange(16.0).expand(500, 1, 16, 16)  # the column's number
    for row in augment(ramp, ("translation",), _rng())[:, 0, 0].int().tolist():
        assert row in [list(np.pad(range(16), 2, mode="symmetric")[first : first + 16]) for first in range(5)]


def test_a_line_at_the_border_grows_when_it_is_moved_inside():
    framed = torch.zeros(500, 1, 16, 16)
    framed[..., 0] = 1
    widths = augment(framed, ("translation",), _rng())[:, 0, 0].sum(dim=1)
    assert set(widths.tolist()) == {0.0, 1.0, 2.0}


def test_zoom_shows_half_of_the_images_whole_and_windows_of_the_others():
    ramp = torch.linspace(-1, 1, 16).expand(400, 1, 16, 16).clone()  # brightness grows with x
    out = augment(ramp, ("zoom",), _rng())
    whole = torch.tensor([torch.allclose(a, b, atol=1e-5) for a, b in zip(out, ramp, strict=True)])
    assert 0.4 < whole.float().mean() < 0.6
    windows = out[~whole]
    slope = (windows[..., -3] - windows[..., 2]) / (ramp[0, ..., -3] - ramp[0, ..., 2])  # 1 / magnification
    assert slope.min() > 0.45
    assert slope.max() < 1.0
    assert windows.min() >= -1
    assert windows.max() <= 1
    assert windows[..., 8].min() < -0.2 < 0.2 < windows[..., 8].max()  # windows lie everywhere


def test_cutout_clears_one_square_of_half_the_side():
    out = augment(torch.ones(200, 1, 16, 16), ("cutout",), _rng())
    for image in out[:, 0]:
        rows, columns = (image == 0).any(dim=1).nonzero().flatten(), (image == 0).any(dim=0).nonzero().flatten()
        cleared = int((image == 0).sum())
        assert cleared == len(rows) * len(columns)  # a rectangle
        assert cleared == 0 or len(rows) == rows[-1] - rows[0] + 1
        assert len(rows) <= 8
        assert len(columns) <= 8
    assert (out == 0).sum(dim=(1, 2, 3)).max() >= 7 * 7


def test_colour_changes_no_places():
    flat = torch.full((50, 3, 4, 4), 0.3)
    out = augment(flat, ("colour",), _rng())
    torch.testing.assert_close(out, out[:, :, :1, :1].expand_as(out))
    assert (out - 0.3).abs().max() <= 0.2 + 1e-5  # a grey image has only its brightness to change
    assert out.std() > 0.05


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_image_is_augmented_with_the_given_probability(name, channels):
    images = _images(400, size=8, channels=channels)

    def share(probability):
        out = augment(images, (name,), _rng(4), probability=torch.tensor(probability))
        assert out.shape == images.shape
        assert out.dtype == images.dtype
        return (out != images).flatten(1).any(dim=1).float().mean().item()

    assert share(0.0) == 0.0
    always = share(1.0)
    assert always > (0.4 if name == "zoom" else 0.8)  # a translation can be none, and half are not zoomed
    assert share(0.3) == pytest.approx(0.3 * always, abs=0.08)


def test_each_entry_of_a_policy_has_a_coin_of_its_own():
    out = augment(torch.ones(400, 1, 8, 8), ("colour", "cutout"), _rng(), probability=torch.tensor(0.5))
    brighter = (out[:, 0] != 1).flatten(1).all(dim=1)
    cut = (out[:, 0] == 0).flatten(1).any(dim=1)
    assert 0.15 < (brighter & cut).float().mean() < 0.35
    assert 0.15 < (~brighter & ~cut).float().mean() < 0.4


def test_geometry_keeps_a_flat_image_flat_up_to_its_border():
    flat = torch.full((20, 3, 16, 16), 0.3)
    torch.testing.assert_close(augment(flat, ("geometry",), _rng()), flat)


def test_geometry_turns_about_the_middle_by_any_angle():
    ramp = torch.linspace(-1, 1, 33).expand(300, 1, 33, 33)
    middle = augment(ramp, ("geometry",), _rng())[:, 0, 12:21, 12:21]
    across, down = middle.diff(dim=2).mean(dim=(1, 2)), middle.diff(dim=1).mean(dim=(1, 2))
    angles = torch.atan2(down, across)
    assert angles.min() < -2.5
    assert angles.max() > 2.5
    quarter = torch.histc(angles, 4, -torch.pi, torch.pi) / 300
    assert ((quarter > 0.15) & (quarter < 0.35)).all()


def test_stain_changes_amounts_of_stain_and_not_the_hue():
    """One stain alone stays a multiple of its own absorption, whatever its amount."""
    haematoxylin = torch.tensor([0.65, 0.70, 0.29], dtype=torch.float64)
    amounts = torch.linspace(0.4, 1.4, 16, dtype=torch.float64)
    intensity = torch.exp(-amounts[:, None] * haematoxylin)  # [16, 3]
    images = (intensity - 1 / 255).mul(2).sub(1).T.view(1, 3, 4, 4).expand(50, -1, -1, -1)
    out = augment(images, ("stain",), _rng())
    density = -((out + 1) / 2 + 1 / 255).log().flatten(2)  # [50, 3, 16]
    change = density.diff(dim=2) / amounts.diff()  # offsets of the stains fall out
    direction = change / haematoxylin[:, None]
    torch.testing.assert_close(direction, direction[:, :1, :1].expand_as(direction))
    gains = direction[:, 0, 0]
    assert 0.8 <= gains.min() < 0.85
    assert 1.15 < gains.max() <= 1.2


def test_black_and_white_survive_the_stain_jitter():
    for value in (-1.0, 1.0):
        images = torch.full((30, 3, 2, 2), value, requires_grad=True)
        out = augment(images, ("stain",), _rng())
        out.sum().backward()
        assert out.isfinite().all()
        assert images.grad.isfinite().all()
        assert (out - value).abs().max() < 0.2
