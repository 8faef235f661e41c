"""Draw pixels from seeds: the same image for the same seed, whichever images are drawn beside it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthbank.errors import OptionError
from synthbank.generation.seeds import image_seed
from synthbank.memory import keep_freed_memory
from synthbank.models import Generator, architectures, draw_codes, to_uint8, turn
from synthbank.records import UInt8Images

_TRUNCATION_SAMPLES = 1024
"""Latents whose first hidden states give the mean of a class."""


def forward_block(size: int) -> int:
    """Images that a forward pass always computes together: 64 up to 64 pixels, then a quarter for each doubling.

    Floating-point kernels may round differently for another batch shape. So images are always made in whole blocks
    aligned to their number (0..63, 64..127, ...), and image k is bit-equal whether asked for alone or among thousands.
    """
    return max(64 * 64 * 64 // (size * size), 1) if size > 64 else 64


@dataclass(frozen=True, slots=True)
class Draw:
    """The seed and options that, with a model, decide one image."""

    seed: int
    class_index: int
    truncation: float = 1.0
    """1: the whole distribution; towards 0: the first hidden state moves to the class mean."""
    towards: int | None = None
    """Seed at the far end of a latent interpolation; `None`: no interpolation."""
    share: float = 0.0
    """Position along it, 0 (`seed`) to 1 (`towards`)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The rule by which the images of a job follow from their class and number."""

    seed: int
    truncation: float = 1.0
    towards: int | None = None
    """Seed of the job whose first image ends a latent interpolation; `None`: independent images."""
    steps: int = 0
    """Images of the interpolation, both ends included; 0: no interpolation."""

    def draw(self, class_index: int, index: int) -> Draw:
        """Image number `index` of a class."""
        if self.towards is None:
            return Draw(image_seed(self.seed, class_index, index), class_index, self.truncation)
        share = min(index / max(self.steps - 1, 1), 1.0)
        # both ends are image 0 of their jobs, so that an interpolation joins images that a user has seen
        ends = (image_seed(seed, class_index, 0) for seed in (self.seed, self.towards))
        return Draw(next(ends), class_index, self.truncation, next(ends), share)


class Sampler:
    """A published generator, ready to draw any block of any job.

    Args:
        generator: frozen, in eval mode.
        device: where to compute; weights are moved there.
    """

    def __init__(self, generator: Generator, *, device: str | torch.device = "cpu") -> None:
        keep_freed_memory()
        self.generator = generator.to(device)
        self.device = torch.device(device)
        self.spec = generator.spec
        self.block = forward_block(self.spec.size)

    def draw_block(self, *, job_seed: int, class_index: int, block: int, truncation: float = 1.0) -> UInt8Images:
        """All images number `block * self.block` and on, of one class.

        Args:
            job_seed: seed of the job.
            class_index: class of every image in the block.
            block: number of the block, from 0.
            truncation: 1 draws the whole distribution; towards 0 the first hidden state moves to the class mean:
                cleaner and less varied images (Karras et al. 2019, section B, in the generator's first hidden state).

        Returns:
            `[self.block, C, H, W]`, uint8, 0..255.
        """
        return self.draw_aligned(Recipe(job_seed, truncation), class_index, first=block * self.block, n=self.block)

    def draw_aligned(self, recipe: Recipe, class_index: int, *, first: int, n: int) -> UInt8Images:
        """Images number `first` and on of a class, each at its own place of its own block; `[n, C, H, W]` uint8.

        All of them must belong to one block.
        """
        block, offset = divmod(first, self.block)
        assert offset + n <= self.block
        # the whole block is computed, whatever is asked for: the same shape and neighbours mean the same rounding
        whole = [recipe.draw(class_index, block * self.block + i) for i in range(self.block)]
        return self.draw(whole)[offset : offset + n]

    def draw_seeds(self, seeds: Sequence[int], *, class_index: int, truncation: float = 1.0) -> UInt8Images:
        """One image a seed, all of one class; `[len(seeds), C, H, W]` uint8. Prefer `draw_block`."""
        return self._forward([Draw(seed, class_index, truncation) for seed in seeds])

    def draw(self, draws: Sequence[Draw]) -> UInt8Images:
        """At most a block of images of any classes, truncations and seeds, from one forward pass over a whole block.

        An image keeps its bytes whatever it is drawn beside. At another place of the block it does so exactly where
        `mixes` is true.

        Returns:
            `[len(draws), C, H, W]`, uint8, 0..255.
        """
        assert 0 < len(draws) <= self.block
        # padded with repetitions of the last, as kernels are chosen by shape
        padded = [*draws, *[draws[-1]] * (self.block - len(draws))]
        return self._forward(padded)[: len(draws)]

    @functools.cached_property
    def mixes(self) -> bool:
        """True where this device gives an image the same bits at every place of a block.

        Kernels are chosen by shape, and most of them add up each image in the same order wherever it lies; no library
        promises it. So it is tried once: a block is drawn in order, shifted, and backwards between strangers.
        """
        n, classes = self.block, self.spec.n_classes
        draws = [Draw(seed, seed % classes) for seed in range(n)]
        in_order = self._forward(draws)
        # by one place: other vector lanes and thread boundaries
        shifted = self._forward(draws[1:] + draws[:1])
        # beside other classes and truncations, which also switches the interpolation of hidden states on
        truncation = 0.5 if self._truncates else 1.0
        strangers = [Draw(n + seed, (seed + 1) % classes, truncation=truncation) for seed in range(n // 2)]
        backwards = self._forward(strangers + draws[: n - n // 2][::-1])
        return bool(
            (shifted[: n - 1] == in_order[1:]).all() and (backwards[n // 2 :][::-1] == in_order[: n - n // 2]).all()
        )

    @torch.inference_mode()
    def _forward(self, draws: Sequence[Draw]) -> UInt8Images:
        for class_index, truncation in sorted({(d.class_index, d.truncation) for d in draws}):
            self.check(class_index, truncation)
        # each image has its own random stream: its numbers do not depend on its neighbours in the batch
        drawn, codes = (torch.stack(part).to(self.device) for part in zip(*map(self._numbers, draws), strict=True))
        z, noise = torch.split(drawn, [self.spec.latent_dim, self.generator.noise_dim], dim=1)
        labels = torch.tensor([d.class_index for d in draws], dtype=torch.int64, device=self.device)
        hidden = self.generator.stem(z.contiguous(), labels)
        if any(d.truncation < 1.0 for d in draws):
            means = torch.cat([self._mean_hidden(d.class_index) for d in draws])
            psi = torch.tensor([d.truncation for d in draws], dtype=hidden.dtype, device=self.device)
            # Karras et al. 2019, section B: w' = mean + psi (w - mean), for the first hidden state in place of w
            hidden = torch.lerp(means, hidden, psi.view(-1, *[1] * (hidden.ndim - 1)))
        # orientations are turned on last, as pixels: all eight of one image are then equal up to the places of values
        return to_uint8(turn(self.generator.body(hidden, labels, noise), codes))

    @property
    def _truncates(self) -> bool:
        return architectures.spec(self.spec.architecture).truncation

    def check(self, class_index: int, truncation: float) -> None:
        """Raise `OptionError` for what this model cannot draw."""
        if not 0 <= class_index < self.spec.n_classes:
            raise OptionError("No such class", got=class_index, allowed=f"0 to {self.spec.n_classes - 1}")
        if not 0 <= truncation <= 1:
            raise OptionError("Truncation is out of range", got=truncation, allowed="0 (class mean) to 1 (everything)")
        if truncation < 1 and not self._truncates:
            raise OptionError(
                f"Truncation does not act on '{self.spec.architecture}' models: their images follow from noise alone",
                got=truncation,
                allowed=1,
            )

    def _numbers(self, draw: Draw) -> tuple[Tensor, Tensor]:
        numbers, code = self._numbers_of(draw.seed)
        if draw.towards is not None:
            parts = [self.spec.latent_dim, self.generator.noise_dim]
            near, far = torch.split(numbers, parts), torch.split(self._numbers_of(draw.towards)[0], parts)
            # latent and noise apart: each is a normal draw with a length of its own
            numbers = torch.cat([slerp(a, b, draw.share) for a, b in zip(near, far, strict=True)])
        return numbers, code  # the orientation of the near end, all the way

    def _numbers_of(self, seed: int) -> tuple[Tensor, Tensor]:
        # drawn on the CPU on every device, so that a seed means the same numbers everywhere
        rng = torch.Generator().manual_seed(seed)
        numbers = torch.randn(self.spec.latent_dim + self.generator.noise_dim, generator=rng)
        return numbers, draw_codes(1, self.spec.symmetry, rng)[0]

    @functools.cache  # noqa: B019 (a sampler lives as long as its process)
    def _mean_hidden(self, class_index: int) -> Tensor:
        # always the same latents: the mean belongs to the model, not to a job
        rng = torch.Generator().manual_seed(0)
        z = torch.randn(_TRUNCATION_SAMPLES, self.spec.latent_dim, generator=rng).to(self.device)
        labels = torch.full((len(z),), class_index, dtype=torch.int64, device=self.device)
        return self.generator.stem(z, labels).mean(dim=0, keepdim=True)


def slerp(near: Tensor, far: Tensor, share: float) -> Tensor:
    """The point on the great arc between two latents `[D]`; a straight line where they are (anti)parallel or empty.

    Source: Shoemake 1985, "Animating rotation with quaternion curves". A straight line between two normal draws passes
    through the middle, where the generator has seen nothing; lengths are interpolated apart from directions.
    """
    if share in (0.0, 1.0):  # exactly, so that an interpolation begins and ends with the images themselves
        return far if share else near
    lengths = near.norm() * far.norm()
    angle = torch.arccos((near @ far / lengths).clamp(-1, 1)) if lengths > 0 else near.new_zeros(())
    if torch.sin(angle) < 1e-6:
        return torch.lerp(near, far, share)
    # Shoemake 1985: Slerp(a, b; u) = (sin((1 - u) t) a + sin(u t) b) / sin t, with t the angle between them
    return (torch.sin((1 - share) * angle) * near + torch.sin(share * angle) * far) / torch.sin(angle)
