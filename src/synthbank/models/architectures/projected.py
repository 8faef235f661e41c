"""`projected`: a light generator against small heads on a frozen network; the default for small sets.

Generator: Liu et al. 2021, arXiv 2101.04775 (FastGAN): skip-layer excitation, noise injection, gated linear units.
Discriminator: Sauer et al. 2021, arXiv 2111.01007 (Projected GANs): random cross-channel and cross-scale mixing of
frozen features, one head a scale.

Deviates: EfficientNet-Lite0 fed at the image's own size; features standardised per channel on the real images;
class conditioning by a projection in every head and class offsets in every generator block; bilinear up-sampling; no
reconstruction loss (the frozen features already hold the discriminator back). Two more heads: one sees the picture
itself, shrunk, as frozen features hardly tell one stain from another; one sees the image as a whole, by mean and
deviation of every frozen channel over all places, which heads that look at mixed channels place by place leave unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm
from typing_extensions import override

from synthbank.models.base import Discriminator, Generator, ModelSpec, architectures
from synthbank.models.blocks import Border, ConditionalBatchNorm, sharp_up, smooth_up, sn_conv, to_sphere, with_noise
from synthbank.models.features import load_feature_network

_NETWORK = "lite0"
_PICTURE = 8  # side of the shrunk picture
_WHOLE = 16  # places that the logit of the whole image counts for: as many as a head has at most
_CHANNELS = {4: 192, 8: 128, 16: 64, 32: 32, 64: 24, 128: 16, 256: 12, 512: 8}


class _GatedConv(nn.Module):
    """3x3 convolution, noise, conditional batch normalisation, gated linear unit."""

    def __init__(self, channels_in: int, channels_out: int, n_classes: int, border: Border) -> None:
        super().__init__()
        self.conv = sn_conv(channels_in, 2 * channels_out, 3, bias=False, border=border)
        self.noise_gain = nn.Parameter(torch.zeros(()))
        self.norm = ConditionalBatchNorm(2 * channels_out, n_classes)

    def forward(self, x: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        y = with_noise(self.conv(x), noise, self.noise_gain)
        return functional.glu(self.norm(y, labels), dim=1)


class _UpBlock(nn.Module):
    """Doubles the resolution; `depth` gated convolutions."""

    def __init__(self, channels_in: int, channels_out: int, n_classes: int, depth: int, border: Border) -> None:
        super().__init__()
        sizes = [channels_in] + [channels_out] * depth
        self.convs = nn.ModuleList(_GatedConv(a, b, n_classes, border) for a, b in pairwise(sizes))

    def forward(self, x: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        # nearest up-sampling leaves hatching that the frozen network hardly sees
        x = smooth_up(x)
        for conv in self.convs:
            x = conv(x, labels, noise)
        return x


class _SkipExcitation(nn.Module):
    """Channel gates for a large map, computed from a small one (FastGAN, section 3.1)."""

    def __init__(self, channels_small: int, channels_large: int) -> None:
        super().__init__()
        self.squeeze = spectral_norm(nn.Conv2d(channels_small, channels_large, 4, bias=False))
        self.excite = spectral_norm(nn.Conv2d(channels_large, channels_large, 1, bias=False))

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool2d(small, 4) if small.shape[-1] != 4 else small
        # y = F(x_low) * x_high: the coarse map decides which channels of the fine one pass
        return large * torch.sigmoid(self.excite(functional.silu(self.squeeze(pooled))))


class _Detail(nn.Module):
    """The detail that a larger size adds to the enlarged picture; zero at first."""

    def __init__(self, channels: int, colours: int) -> None:
        super().__init__()
        self.conv = sn_conv(channels, colours, 3, border="replicate")
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x) * self.gain
        return out


class ProjectedGenerator(Generator):
    """Options: `width` (multiplier on the channels), `depth` (convolutions a resolution), `picture_size`.

    The picture is drawn at `picture_size`, or at the size of the images where that is smaller. Each larger size
    enlarges it and adds detail by a gain that starts at zero, so that a growing run loses nothing where it changes its
    size (with output skips as in Karras et al. 2020, arXiv 1912.04958).
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        width, depth = spec.option("width"), spec.option("depth")
        self.resolutions = [r for r in _CHANNELS if r <= spec.size]
        channels = {r: max(8, round(_CHANNELS[r] * width / 8) * 8) for r in self.resolutions}
        self.drawn = drawn = max(r for r in self.resolutions if r <= max(spec.option("picture_size"), 8))
        # twice the channels, as a gated linear unit halves them: value * sigmoid(gate)
        self.project = spectral_norm(nn.Linear(spec.latent_dim, 2 * channels[4] * 16, bias=False))
        self.project_norm = ConditionalBatchNorm(2 * channels[4], spec.n_classes)
        self.blocks = nn.ModuleDict()
        self.skips = nn.ModuleDict()
        for small, large in pairwise(self.resolutions):
            # zeros tell the coarse maps where they are; in a picture they would leave a frame around the image
            border: Border = "replicate" if large >= drawn else "zeros"
            self.blocks[str(large)] = _UpBlock(channels[small], channels[large], spec.n_classes, depth, border)
            if large >= 32:
                self.skips[str(large)] = _SkipExcitation(channels[large // 8], channels[large])
        self.to_pixels = sn_conv(channels[drawn], spec.channels, 3, border="replicate")
        self.details = nn.ModuleDict(
            {str(r): _Detail(channels[r], spec.channels) for r in self.resolutions if r > drawn}
        )
        self.noise_dim = sum(r * r for r in self.resolutions[1:])

    @override
    def stem(self, z: Tensor, labels: Tensor) -> Tensor:
        """The first map, `[N, C4, 4, 4]`."""
        # the class enters by channel, never by place: a class code beside z collapses to one picture a class
        x = self.project(to_sphere(z)).unflatten(1, (-1, 4, 4))
        return functional.glu(self.project_norm(x, labels), dim=1)

    @override
    def body(self, hidden: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        maps = torch.split(noise, [r * r for r in self.resolutions[1:]], dim=1)
        states = {4: hidden}
        x = picture = hidden
        for r, m in zip(self.resolutions[1:], maps, strict=True):
            x = self.blocks[str(r)](x, labels, m.view(-1, 1, r, r))
            if str(r) in self.skips:
                x = self.skips[str(r)](states[r // 8], x)
            states[r] = x
            if r == self.drawn:
                picture = self.to_pixels(x)
            elif r > self.drawn:
                picture = sharp_up(picture) + self.details[str(r)](x)
        return torch.tanh(picture)

    @override
    def detail_parameters(self) -> list[nn.Parameter]:
        newest = str(self.spec.size)
        if newest not in self.details:
            return []
        parts = [self.blocks[newest], self.skips[newest], self.details[newest]]
        return [p for part in parts for p in part.parameters()]


class _Head(nn.Module):
    """The logits of one scale: down to at most 4x4 places, then one logit a place plus the class projection.

    Args:
        channels: of the map.
        n_classes: number of classes.
        convs: kernel and stride of every convolution.
        widest: most channels on the way.
        colours: channels of a picture that is widened to `channels` first; `None`: it is a map of features.
    """

    def __init__(
        self,
        channels: int,
        n_classes: int,
        convs: Sequence[tuple[int, int]],
        *,
        widest: int,
        colours: int | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [] if colours is None else [sn_conv(colours, channels, 1), nn.LeakyReLU(0.2)]
        for kernel, stride in convs:
            wider = min(2 * channels, widest)
            layers += [sn_conv(channels, wider, kernel, stride, bias=False), nn.BatchNorm2d(wider), nn.LeakyReLU(0.2)]
            channels = wider
        self.body = nn.Sequential(*layers)
        self.to_logits = spectral_norm(nn.Conv2d(channels, 1, 1))
        self.class_code = spectral_norm(nn.Embedding(n_classes, channels)) if n_classes > 1 else None

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        x = self.body(x)
        out: Tensor = self.to_logits(x)
        if self.class_code is not None:
            # projection on the class at every place (Miyato and Koyama 2018, arXiv 1802.05637, section 3)
            out = out + torch.einsum("nchw,nc->nhw", x, self.class_code(labels))[:, None]
        return out.flatten(1)  # [N, H*W]


class ProjectedDiscriminator(Discriminator):
    """Options: `feature_network`, `mixing` (channels after the random mixing).

    A head doubles its channels at every step down, up to four times `mixing`.
    """

    measured = ("mean", "std")
    mean: Tensor
    std: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        # held in a list so that the frozen weights belong neither to the state nor to the optimiser
        self._frozen = [load_feature_network(spec.option("feature_network"))]
        taps = self._frozen[0].tap_channels
        mixing = spec.option("mixing")
        self.register_buffer("mean", torch.zeros(sum(taps) + spec.channels))
        self.register_buffer("std", torch.ones(sum(taps) + spec.channels))
        self.mix_channels = nn.ModuleList(nn.Conv2d(c, mixing, 1, bias=False) for c in taps)
        self.mix_scales = nn.ModuleList(nn.Conv2d(mixing, mixing, 3, padding=1, bias=False) for _ in taps)
        for conv in [*self.mix_channels, *self.mix_scales]:
            assert isinstance(conv, nn.Conv2d)
            # random and fixed: a projection that cannot be learned hides no channel for good (section 3.2)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
            conv.requires_grad_(False)
        places = [max(spec.size // s, 1) for s in (4, 8, 16, 32)]
        downs = [max(p.bit_length() - 3, 0) for p in places]  # 16 -> 2, 8 -> 1, 4 -> 0
        convs = [[(4, 2)] * d or [(3, 1)] for d in downs]
        self.heads = nn.ModuleList(_Head(mixing, spec.n_classes, c, widest=4 * mixing) for c in convs)
        self.heads.append(_Head(mixing, spec.n_classes, [(4, 2)], widest=2 * mixing, colours=spec.channels))
        self.heads.append(_Head(2 * sum(taps), spec.n_classes, [(1, 1)], widest=4 * mixing))

    @override
    def features(self, images: Tensor) -> list[Tensor]:
        """Standardised maps at strides 4, 8, 16 and 32, randomly mixed; the picture itself, shrunk; and the mean and
        deviation of every channel of the maps before they were mixed, `[N, 2 C, 1, 1]`."""
        *maps, picture = self._standardised(images)
        # cross-channel mixing: every head sees all channels of its scale (section 3.2, CCM)
        mixed = [mix(m) for mix, m in zip(self.mix_channels, maps, strict=True)]
        out = [mixed[-1]]
        for m in reversed(mixed[:-1]):  # cross-scale mixing, coarse to fine (section 3.2, CSM)
            out.insert(0, (m + smooth_up(out[0])) * 0.5**0.5)  # a sum of two keeps its variance
        whole = torch.cat([_over_places(m) for m in maps], dim=1)
        return [*(mix(m) for mix, m in zip(self.mix_scales, out, strict=True)), picture, whole]

    @override
    def logits(self, features: list[Tensor], labels: Tensor) -> Tensor:
        """The logits of all places of all scales, `[N, L]`.

        Each place weighs the same, so that scales of few places count for less: weighing scales alike left grain on
        tissue (see `docs/recipes.md`). The image as a whole counts for 16 places.
        """
        # sum over l of D_l(P_l(x)), equation 2, as one mean over the places of all heads
        *places, whole = (head(f, labels) for head, f in zip(self.heads, features, strict=True))
        return torch.cat([*places, whole.expand(-1, _WHOLE)], dim=1)

    @torch.no_grad()
    def calibrate(self, images: Tensor, scaled: Callable[[Tensor], Tensor] = lambda batch: batch) -> None:
        """Measure mean and deviation of every frozen channel, and of every colour, on the real images."""
        sums = [_sums(self._maps(scaled(batch))) for batch in torch.split(images, 64)]
        count, total, squares = (torch.stack(parts).sum(dim=0) for parts in zip(*sums, strict=True))
        # E x^2 - (E x)^2 over all batches; float64 sums, as it cancels where a mean is large
        variance = (squares - total.square() / count) / (count - 1)
        self.mean.copy_(total / count)
        self.std.copy_(variance.clamp_min(1e-6).sqrt())

    def _maps(self, images: Tensor) -> list[Tensor]:
        picture = functional.avg_pool2d(images, images.shape[-1] // _PICTURE)
        x = images if images.shape[1] == 3 else _three_channels(images)
        frozen = self._frozen[0]
        if next(frozen.parameters()).device != x.device:
            self._frozen[0] = frozen = frozen.to(x.device)
        return [*frozen.taps(x), picture]

    def _standardised(self, images: Tensor) -> list[Tensor]:
        maps = self._maps(images)
        sizes = [m.shape[1] for m in maps]
        stats = zip(maps, torch.split(self.mean, sizes), torch.split(self.std, sizes), strict=True)
        return [(m - mean[:, None, None]) / std[:, None, None] for m, mean, std in stats]


def _over_places(maps: Tensor) -> Tensor:
    """Mean and deviation of every channel, `[N, C, H, W]` to `[N, 2 C, 1, 1]`."""
    deviation = (maps.var(dim=(2, 3), correction=0, keepdim=True) + 1e-4).sqrt()  # one place has none, but a gradient
    return torch.cat([maps.mean(dim=(2, 3), keepdim=True), deviation], dim=1)


def _sums(maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Places, sum and sum of squares of each channel of all maps `[N, C, H, W]`, float64 `[sum C]`."""
    exact = [m.double() for m in maps]
    counts = [m.new_full((m.shape[1],), m[:, 0].numel()) for m in exact]
    totals = [m.sum(dim=(0, 2, 3)) for m in exact]
    squares = [m.square().sum(dim=(0, 2, 3)) for m in exact]
    return torch.cat(counts), torch.cat(totals), torch.cat(squares)


def _three_channels(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1)
    if images.shape[1] > 3:  # every channel must be seen: channels i, i + 3, ... share an input
        return torch.stack([images[:, i::3].mean(dim=1) for i in range(3)], dim=1)
    return torch.cat([images, images[:, :1]], dim=1)


class _Projected:
    def generator(self, spec: ModelSpec) -> Generator:
        return ProjectedGenerator(spec)

    def discriminator(self, spec: ModelSpec) -> Discriminator:
        return ProjectedDiscriminator(spec)


architectures.register(
    "projected",
    options={"width": 1.0, "depth": 1, "picture_size": 512, "feature_network": _NETWORK, "mixing": 64},
    feature_network=_NETWORK,
    citation="arXiv 2101.04775, arXiv 2111.01007",
)(_Projected())
