"""From seeds to pixels: the same image for the same seed, whatever is asked for beside it."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from synthbank.errors import OptionError
from synthbank.generation.seeds import image_seed
from synthbank.models import Generator, architectures, draw_codes, to_uint8, turn
from synthbank.records import UInt8Images

_TRUNCATION_SAMPLES = 1024


def forward_block(size: int) -> int:
    """Images a forward pass always computes together, by image size: 64 up to 64 pixels, then a quarter a doubling.

    Floating-point kernels may round differently for another batch shape. So images are always made in whole blocks
    aligned to their number (0..63, 64..127, ...), and image k is bit-equal whether asked for alone or among thousands.
    """
    return max(64 * 64 * 64 // (size * size), 1) if size > 64 else 64


class Sampler:
    """A published generator, ready to draw any block of any job.

    Args:
        generator: frozen, in eval mode.
        device: where to compute; weights are moved there.
    """

    def __init__(self, generator: Generator, *, device: str | torch.device = "cpu") -> None:
        self.generator = generator.to(device)
        self.device = torch.device(device)
        self.spec = generator.spec
        self.block = forward_block(self.spec.size)

    @torch.inference_mode()
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
        first = block * self.block
        seeds = [image_seed(job_seed, class_index, first + i) for i in range(self.block)]
        return self.draw_seeds(seeds, class_index=class_index, truncation=truncation)

    @torch.inference_mode()
    def draw_seeds(self, seeds: Sequence[int], *, class_index: int, truncation: float = 1.0) -> UInt8Images:
        """One image a seed, all of one class; `[len(seeds), C, H, W]` uint8. Prefer `draw_block`."""
        self.check(class_index, truncation)
        drawn, codes = (torch.stack(part).to(self.device) for part in zip(*map(self._numbers, seeds), strict=True))
        z, noise = torch.split(drawn, [self.spec.latent_dim, self.generator.noise_dim], dim=1)
        labels = torch.full((len(seeds),), class_index, dtype=torch.int64, device=self.device)
        hidden = self.generator.stem(z.contiguous(), labels)
        if truncation < 1.0:
            hidden = torch.lerp(self._mean_hidden(class_index), hidden, truncation)
        return to_uint8(turn(self.generator.body(hidden, labels, noise), codes))

    def check(self, class_index: int, truncation: float) -> None:
        """Raise `OptionError` for what this model cannot draw."""
        if not 0 <= class_index < self.spec.n_classes:
            raise OptionError("No such class", got=class_index, allowed=f"0 to {self.spec.n_classes - 1}")
        if not 0 <= truncation <= 1:
            raise OptionError("Truncation is out of range", got=truncation, allowed="0 (class mean) to 1 (everything)")
        if truncation < 1 and not architectures.facts(self.spec.architecture).get("truncation", True):
            raise OptionError(
                f"Truncation does not act on '{self.spec.architecture}' models: their images follow from noise alone",
                got=truncation,
                allowed=1,
            )

    def _numbers(self, seed: int) -> tuple[Tensor, Tensor]:
        # drawn on the CPU on every device, so that a seed means the same numbers everywhere
        rng = torch.Generator().manual_seed(seed)
        numbers = torch.randn(self.spec.latent_dim + self.generator.noise_dim, generator=rng)
        return numbers, draw_codes(1, self.spec.symmetry, rng)[0]

    @functools.cache  # noqa: B019 (a sampler lives as long as its process)
    def _mean_hidden(self, class_index: int) -> Tensor:
        rng = torch.Generator().manual_seed(0)
        z = torch.randn(_TRUNCATION_SAMPLES, self.spec.latent_dim, generator=rng).to(self.device)
        labels = torch.full((len(z),), class_index, dtype=torch.int64, device=self.device)
        return self.generator.stem(z, labels).mean(dim=0, keepdim=True)
