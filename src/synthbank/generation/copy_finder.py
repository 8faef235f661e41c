"""Comparison of images with all originals: the shortlist, then the alignment of those that may be copies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthbank.generation.alignment import FEATURES, KEPT, Reference, align
from synthbank.generation.descriptors import Descriptors, describe
from synthbank.generation.shortlist import Shortlist
from synthbank.records import UInt8Images

_CHUNK = 64
"""Images that are compared at once; bounds the memory."""


@dataclass(frozen=True)
class Comparison:
    """N images beside the originals that they resemble most."""

    similarity: Tensor
    """`[N, 3]`, highest of each search of the shortlist: spectra, plain, parts."""
    nearest: Tensor
    """`[N, 3]`, int64, the original of each."""
    original: Tensor
    """`[N, K]`, int64, aligned originals."""
    features: Tensor
    """`[N, K, len(FEATURES)]`; NaN where the alignment was not needed."""


class CopyFinder:
    """Compares images with M originals.

    Args:
        originals: their descriptors.
        projection: of `shortlist.fit_projection`.
        centre: of the same.
    """

    def __init__(self, originals: Descriptors, projection: Tensor, centre: Tensor) -> None:
        self.shortlist = Shortlist(originals, projection, centre)
        self._reference = Reference.of(originals)

    @torch.inference_mode()
    def compare(
        self, images: UInt8Images, *, own: Tensor | None = None, floors: tuple[float, float] = (-1.0, -1.0)
    ) -> Comparison:
        """Compare images `[N, C, S, S]`.

        Args:
            images: uint8.
            own: bool `[N, M]`, originals that are no matches of each image; `None`: all may match.
            floors: similarities by spectra and plain; images below both are not aligned.
        """
        chunks = [
            self._compare(describe(images[i : i + _CHUNK]), None if own is None else own[i : i + _CHUNK], floors)
            for i in range(0, len(images), _CHUNK)
        ]
        return Comparison(*(torch.cat(parts) for parts in zip(*chunks, strict=True)))

    def _compare(
        self, images: Descriptors, own: Tensor | None, floors: tuple[float, float]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pictures = Reference.of(images)
        candidates = self.shortlist.candidates(images.plain(), pictures.band, pictures.fine, own=own)
        above = (candidates.similarity[:, 0] >= floors[0]) | (candidates.similarity[:, 1] >= floors[1])
        index = above.nonzero()[:, 0]
        k = min(KEPT, 2 * candidates.original.shape[1])
        original = torch.zeros((len(images), k), dtype=torch.int64)
        features = torch.full((len(images), k, len(FEATURES)), torch.nan)
        if len(index):
            few = Reference(pictures.band[index], pictures.fine[index], pictures.colours[index])
            aligned = align(few, self._reference, candidates.original[index], candidates.pose[index])
            original[index], features[index] = aligned.original, aligned.features
        return candidates.similarity, candidates.nearest, original, features
