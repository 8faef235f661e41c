"""Layers that architectures share, against their definitions."""

import pytest
import torch
from torch import nn

from synthbank.models.blocks import (
    ConditionalBatchNorm,
    SelfAttention,
    sharp_up,
    smooth_down,
    smooth_up,
    sn_conv,
    sn_linear,
    to_sphere,
)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _largest_singular_value(weight):
    return torch.linalg.matrix_norm(weight.flatten(1).double(), 2).item()


@pytest.mark.parametrize(("kind", "sizes"), [(sn_conv, (6, 8, 3)), (sn_linear, (12, 5))], ids=["conv", "linear"])
def test_spectral_normalisation_brings_the_largest_singular_value_to_one(kind, sizes):
    layer = kind(*sizes)  # here, where the seed is fixed: two nearly equal singular values would take longer
    with torch.no_grad():
        layer.parametrizations.weight.original.mul_(7.0)
        layer.train()
        for _ in range(60):
            layer.weight  # noqa: B018 (each look in train mode is one power iteration)
    layer.eval()
    assert _largest_singular_value(layer.weight.detach()) == pytest.approx(1.0, abs=1e-3)
    assert _largest_singular_value(layer.parametrizations.weight.original.detach()) > 2


@pytest.mark.parametrize(("kernel", "stride", "side"), [(1, 1, 8), (3, 1, 8), (4, 2, 4)])
def test_a_normalised_convolution_keeps_or_halves_the_size(kernel, stride, side):
    assert sn_conv(2, 3, kernel, stride)(torch.zeros(1, 2, 8, 8)).shape == (1, 3, side, side)


def test_without_bias_there_is_none():
    assert sn_conv(2, 3, 3, bias=False).bias is None
    assert sn_linear(2, 3, bias=False).bias is None
    assert sn_linear(2, 3).bias is not None


def test_conditional_normalisation_starts_as_plain_normalisation():
    x, labels = torch.randn(8, 3, 4, 4) * 5 + 2, torch.arange(8) % 2
    conditional, plain = ConditionalBatchNorm(3, 2), nn.BatchNorm2d(3)
    torch.testing.assert_close(conditional(x, labels), plain(x))
    assert torch.equal(conditional.norm.running_mean, plain.running_mean)


def test_a_class_offset_acts_on_its_class_alone():
    x, labels = torch.randn(6, 3, 4, 4), torch.tensor([0, 1, 0, 1, 0, 1])
    layer = ConditionalBatchNorm(3, 2)
    plain = layer(x, labels).detach()
    with torch.no_grad():
        layer.offset.weight[1] = torch.tensor([0.5, 0.0, 1.0, 10.0, 20.0, 30.0])  # three gains, three biases
    y = layer(x, labels)
    torch.testing.assert_close(y[::2], plain[::2])
    gain = torch.tensor([1.5, 1.0, 2.0]).view(1, 3, 1, 1)
    bias = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(y[1::2], plain[1::2] * gain + bias)


def test_one_class_needs_no_offsets():
    layer = ConditionalBatchNorm(3, 1)
    assert layer.offset is None
    x = torch.randn(4, 3, 2, 2)
    torch.testing.assert_close(layer(x, torch.zeros(4, dtype=torch.int64)), layer.norm(x))


def _attention_by_hand(layer, x):
    """Section 3 of arXiv 1805.08318 with pooled keys and values, one position at a time."""
    n, channels, h, w = x.shape
    query = torch.einsum("oc,nchw->nohw", layer.query.weight[:, :, 0, 0], x)
    key = nn.functional.max_pool2d(torch.einsum("oc,nchw->nohw", layer.key.weight[:, :, 0, 0], x), 2).flatten(2)
    value = nn.functional.max_pool2d(torch.einsum("oc,nchw->nohw", layer.value.weight[:, :, 0, 0], x), 2).flatten(2)
    out = torch.empty(n, channels, h, w)
    for i in range(n):
        for y in range(h):
            for z in range(w):
                energy = torch.stack([query[i, :, y, z] @ key[i, :, j] for j in range(key.shape[2])])
                mixed = (torch.softmax(energy, 0) * value[i]).sum(dim=1)
                out[i, :, y, z] = layer.out.weight[:, :, 0, 0] @ mixed
    return x + layer.gate * out


def test_attention_is_its_definition():
    layer = SelfAttention(16).eval()
    x = torch.randn(2, 16, 4, 4)
    with torch.no_grad():
        assert torch.equal(layer(x), x)  # the gate starts at zero
        layer.gate.fill_(0.7)
        torch.testing.assert_close(layer(x), _attention_by_hand(layer, x), atol=1e-5, rtol=1e-4)
        assert not torch.allclose(layer(x), x, atol=1e-3)


def test_attention_lets_a_far_place_matter():
    layer = SelfAttention(16).eval()
    x = torch.randn(1, 16, 8, 8)
    with torch.no_grad():
        layer.gate.fill_(1.0)
        changed = x.clone()
        changed[:, :, 7, 7] += 5
        assert (layer(changed) - layer(x))[0, :, 0, 0].abs().max() > 1e-6


def test_latents_come_to_lie_on_the_sphere():
    z = torch.randn(5, 16) * torch.tensor([[0.1], [1.0], [3.0], [10.0], [100.0]])
    on_sphere = to_sphere(z)
    torch.testing.assert_close(on_sphere.norm(dim=1), torch.full((5,), 4.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(nn.functional.cosine_similarity(z, on_sphere), torch.ones(5))
    assert to_sphere(torch.zeros(1, 16)).isfinite().all()


@pytest.mark.parametrize("resample", [smooth_up, smooth_down])
def test_smooth_resampling_keeps_a_flat_map_flat_and_a_slope_a_slope(resample):
    ramp = torch.arange(16.0).expand(1, 2, 16, 16)
    out = resample(ramp)
    assert out.shape == ((1, 2, 32, 32) if resample is smooth_up else (1, 2, 8, 8))
    inner = out[:, :, 2:-2, 2:-2]
    slope = 0.5 if resample is smooth_up else 2.0
    torch.testing.assert_close(inner.diff(dim=3), torch.full_like(inner.diff(dim=3), slope))
    assert not inner.diff(dim=2).abs().max() > 1e-5


def test_sharp_up_keeps_a_parabola_which_smooth_up_flattens():
    places = torch.arange(16.0)
    parabola = (places[:, None] ** 2 + places[None]).expand(1, 2, 16, 16)
    finer = torch.arange(32.0) / 2 - 0.25
    wanted = (finer[:, None] ** 2 + finer[None]).expand(1, 2, 32, 32)[:, :, 4:-4, 4:-4]
    torch.testing.assert_close(sharp_up(parabola)[:, :, 4:-4, 4:-4], wanted)
    assert (smooth_up(parabola)[:, :, 4:-4, 4:-4] - wanted).abs().min() > 0.1


def test_smooth_down_is_the_transpose_of_smooth_up_but_for_the_border():
    small, large = torch.randn(1, 1, 8, 8), torch.randn(1, 1, 16, 16)
    large[..., [0, -1]], large[..., [0, -1], :] = 0, 0
    small[..., [0, -1]], small[..., [0, -1], :] = 0, 0
    up, down = (smooth_up(small) * large).sum(), (small * smooth_down(large)).sum() * 4
    torch.testing.assert_close(up, down)


def test_a_replicating_border_leaves_no_frame():
    flat = torch.ones(1, 6, 8, 8)
    for border, frame in (("zeros", True), ("replicate", False)):
        out = sn_conv(6, 3, 3, border=border).eval()(flat)
        inside = out[:, :, 1:-1, 1:-1]
        torch.testing.assert_close(inside, inside[:, :, :1, :1].expand_as(inside))
        assert torch.allclose(out, inside[:, :, :1, :1].expand_as(out), atol=1e-5) != frame


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_a_replicating_border_is_that_of_torch_and_so_is_its_gradient(order):
    x = torch.randn(2, 6, 5, 7).contiguous(memory_format=order).requires_grad_()
    ours = sn_conv(6, 4, 5, border="replicate").eval()
    theirs = nn.Conv2d(6, 4, 5, padding=2, padding_mode="replicate")
    theirs.load_state_dict({"weight": ours.weight.detach(), "bias": ours.bias.detach()})
    wanted = torch.randn(2, 4, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))
    gradients = [torch.autograd.grad((layer(x) * wanted).sum(), x)[0] for layer in (ours, theirs)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 2, 4, 16), (1, 1, 1, 1)])
def test_smooth_up_is_bilinear_in_every_layout_and_so_is_its_gradient(shape):
    plain = torch.randn(shape).requires_grad_()
    last = plain.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    wanted = torch.randn(shape[0], shape[1], 2 * shape[2], 2 * shape[3])
    bilinear = nn.functional.interpolate(plain, scale_factor=2.0, mode="bilinear", align_corners=False)
    expected = torch.autograd.grad((bilinear * wanted).sum(), plain)[0]
    for x in (plain, last):
        torch.testing.assert_close(smooth_up(x), bilinear)
        torch.testing.assert_close(torch.autograd.grad((smooth_up(x) * wanted).sum(), x)[0], expected)


def test_a_class_offset_leaves_maps_in_their_precision():
    layer = ConditionalBatchNorm(4, 3)
    assert layer(torch.randn(2, 4, 8, 8).bfloat16(), torch.tensor([0, 2])).dtype == torch.bfloat16
