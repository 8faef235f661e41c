"""Convolutions of EfficientNet-Lite against their definition."""

import math

import pytest
import torch
from torch.nn import functional

from synthbank.models.features.efficientnet_lite import SameConv


@pytest.mark.parametrize(
    ("kernel", "stride", "side"), [(1, 1, 7), (3, 1, 8), (5, 1, 9), (3, 2, 8), (3, 2, 9), (5, 2, 8)]
)
@pytest.mark.parametrize("groups", [1, 4])
def test_same_padding_puts_the_odd_pixel_to_the_bottom_and_right(kernel, stride, side, groups):
    conv = SameConv(4, 4, kernel, stride, groups=groups)
    x = torch.randn(2, 4, side, side)
    out = math.ceil(side / stride)
    pad = max((out - 1) * stride + kernel - side, 0)
    padded = functional.pad(x, (pad // 2, pad - pad // 2) * 2)
    expected = functional.conv2d(padded, conv.weight, conv.bias, stride, groups=groups)
    assert expected.shape[-1] == out
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_depthwise_convolution_in_autocast_stays_in_half_precision_and_near_the_exact_one(stride):
    conv = SameConv(8, 8, 3, stride, groups=8).requires_grad_(False)
    x = torch.randn(2, 8, 16, 16).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    assert y.dtype == torch.bfloat16
    wanted = torch.randn(y.shape)
    exact = x.detach().float().requires_grad_()
    torch.testing.assert_close(y.float(), conv(exact), atol=0.02, rtol=0.02)
    gradient = torch.autograd.grad((y.float() * wanted).sum(), x)[0]
    expected = torch.autograd.grad((conv(exact) * wanted).sum(), exact)[0]
    torch.testing.assert_close(gradient.float(), expected, atol=0.03, rtol=0.03)
