"""What the discriminator of `projected` looks at beside frozen features."""

import pytest
import torch

from synthbank.models import ModelSpec, architectures


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_shrunk_picture_is_standardised_on_the_reals_and_judged_last(channels):
    rng = torch.Generator().manual_seed(0)
    base = torch.linspace(-0.8, 0.6, channels).view(1, -1, 1, 1)
    squares = torch.randn((64, channels, 8, 8), generator=rng).repeat_interleave(4, 2).repeat_interleave(4, 3)
    reals = base + 0.3 * squares
    spec = ModelSpec("projected", 32, channels, ("a", "b"), options={"mixing": 8})
    discriminator = architectures.get("projected").discriminator(spec).eval()
    discriminator.calibrate(reals)
    picture = discriminator.features(reals)[-1]
    assert picture.shape == (64, channels, 8, 8)
    torch.testing.assert_close(picture.mean(dim=(0, 2, 3)), torch.zeros(channels), atol=1e-4, rtol=0)
    torch.testing.assert_close(picture.std(dim=(0, 2, 3)), torch.ones(channels), atol=1e-2, rtol=0)
    shifted = discriminator.features(reals + 0.3)[-1]  # one deviation brighter
    assert (shifted - picture).mean().item() == pytest.approx(1, abs=0.05)
