"""What the discriminator of `projected` looks at beside frozen features."""

import pytest
import torch
from torch.nn import functional

from synthbank.models import AdversarialArchitecture, ModelSpec, architectures, load_feature_network


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_shrunk_picture_is_standardised_on_the_reals(channels):
    rng = torch.Generator().manual_seed(0)
    base = torch.linspace(-0.8, 0.6, channels).view(1, -1, 1, 1)
    squares = torch.randn((64, channels, 8, 8), generator=rng).repeat_interleave(4, 2).repeat_interleave(4, 3)
    reals = base + 0.3 * squares
    spec = ModelSpec("projected", 32, channels, ("a", "b"), options={"mixing": 8})
    discriminator = architectures.get("projected").discriminator(spec).eval()
    discriminator.calibrate(reals)
    *_, picture, _ = discriminator.features(reals)
    assert picture.shape == (64, channels, 8, 8)
    torch.testing.assert_close(picture.mean(dim=(0, 2, 3)), torch.zeros(channels), atol=1e-4, rtol=0)
    torch.testing.assert_close(picture.std(dim=(0, 2, 3)), torch.ones(channels), atol=1e-2, rtol=0)
    *_, shifted, _ = discriminator.features(reals + 0.3)  # one deviation brighter
    assert (shifted - picture).mean().item() == pytest.approx(1, abs=0.05)


@torch.no_grad()
def test_the_whole_image_is_described_by_mean_and_deviation_of_every_frozen_channel():
    reals = _scaled(_photos(64))
    discriminator = _discriminator().eval()
    discriminator.calibrate(reals)
    maps = load_feature_network("lite0").taps(reals)
    whole = discriminator.features(reals)[-1]
    parts = torch.split(whole.flatten(1), [2 * m.shape[1] for m in maps], dim=1)
    for m, part in zip(maps, parts, strict=True):
        mean, deviation = part.chunk(2, dim=1)
        over_all = (m - m.mean(dim=(0, 2, 3), keepdim=True)) / m.std(dim=(0, 2, 3), keepdim=True)
        torch.testing.assert_close(mean, over_all.mean(dim=(2, 3)), atol=1e-2, rtol=1e-2)
        torch.testing.assert_close(deviation, over_all.std(dim=(2, 3), correction=0), atol=2e-2, rtol=1e-2)


@torch.no_grad()
def test_the_whole_image_counts_for_as_many_logits_as_a_map():
    discriminator = _discriminator().eval()
    *places, whole = discriminator.features(_scaled(_photos(4)))
    labels = torch.tensor([0, 0, 1, 1])
    changed = discriminator.logits([*places, whole.flip(0)], labels) != discriminator.logits([*places, whole], labels)
    assert changed.sum(dim=1).tolist() == [16] * 4
    assert changed[:, -16:].all()


def _scaled(images):
    return images.float() / 127.5 - 1


def _discriminator(name="projected"):
    return architectures.get(name).discriminator(ModelSpec(name, 32, 3, ("a", "b")))


def _photos(n):
    return torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("n", [2, 64, 150])
@torch.no_grad()
def test_batches_give_the_mean_and_deviation_of_all_images_together(n):
    images, discriminator = _photos(n), _discriminator()
    images[:, 2] = 200  # a colour that never changes
    discriminator.calibrate(images, _scaled)
    x = _scaled(images)
    maps = [*load_feature_network("lite0").taps(x), functional.avg_pool2d(x, 4)]
    columns = [m.transpose(0, 1).flatten(1).double() for m in maps]
    mean = torch.cat([c.mean(dim=1) for c in columns]).float()
    std = torch.cat([c.std(dim=1) for c in columns]).float().clamp_min(1e-3)
    torch.testing.assert_close(discriminator.mean, mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(discriminator.std, std, rtol=1e-5, atol=1e-6)
    assert discriminator.std[-1].item() == pytest.approx(1e-3)


@pytest.mark.parametrize(
    "name", [n for n in architectures if isinstance(architectures.get(n), AdversarialArchitecture)]
)
def test_images_become_floats_a_batch_at_a_time_and_only_where_they_are_measured(name):
    batches = []

    def scaled(batch):
        batches.append(len(batch))
        return _scaled(batch)

    discriminator = _discriminator(name)
    discriminator.calibrate(_photos(150), scaled)
    assert batches == ([64, 64, 22] if discriminator.measured else [])
