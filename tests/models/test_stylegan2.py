"""What is particular to `stylegan2`: modulation, and the deviation of groups."""

import pytest
import torch
from torch.nn import functional

from synthbank.models.architectures.stylegan2 import _ModulatedConv, group_deviation


def test_scaling_around_one_convolution_is_a_convolution_with_modulated_weights():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = _ModulatedConv(5, 7, 3, 4).double()
        x, w = torch.randn(3, 5, 8, 8).double(), torch.randn(3, 4).double()
    style = layer.style(w)
    for i in range(3):  # equations 1 and 3 of arXiv 1912.04958, an image at a time
        weight = layer.weight * layer.gain * style[i].view(1, -1, 1, 1)
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected = functional.conv2d(x[i : i + 1], weight, padding=1)
        torch.testing.assert_close(layer(x, w)[i : i + 1], expected)


def _batch(n):
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(n))


def test_a_group_of_equal_images_has_no_deviation_and_its_neighbours_keep_theirs():
    x = _batch(8)
    x[:4] = x[:1]
    deviation = group_deviation(x)
    assert deviation.shape == (8, 1, 4, 4)
    assert deviation[:4].max() < 1e-3
    expected = x[4:].std(dim=0, correction=0).mean()
    torch.testing.assert_close(deviation[4:], expected.expand(4, 1, 4, 4))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 7])
def test_a_last_group_is_filled_up_with_the_images_before_it(n):
    x = _batch(n)
    deviation = group_deviation(x)[:, 0, 0, 0]
    assert deviation.shape == (n,)
    last = x[-min(n, 4) :].std(dim=0, correction=0).mean() if n > 1 else torch.tensor(1e-4)
    torch.testing.assert_close(deviation[-1], last, atol=1e-5, rtol=1e-4)
