"""The gate between a generator and the bank: copies of originals and near-blank images do not pass.

A published model carries the gate's reference (descriptors and pixel hashes of its training originals), so screening
needs no data set. A descriptor is a small grey picture of its original: do not give that file to anyone who may not see
the originals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from synthbank.errors import IntegrityError, OptionError
from synthbank.fingerprint import pixel_sha256
from synthbank.generation.eight_bits import from_eight_bits, to_eight_bits
from synthbank.generation.matching import VIEWS, Matcher, descriptors
from synthbank.generation.simulated_copies import simulate_copies
from synthbank.models import load_tensors, read_header, save_tensors
from synthbank.records import LabelledImages, UInt8Images, Verdicts

FORM = "outlines-1"
"""Form of a screen file: tensors in it and how they are compared; another form is refused."""
EIGHT_BIT_FORM = "outlines-1 in 8 bits"
"""The same, with descriptors as of `to_eight_bits`."""
_CALIBRATION_COPIES = ("crop 90-95%", "shift to 10%", "turn, crop, colour and JPEG")
"""Kinds of copy that set the limit: cut, moved, and several changes at once. The other kinds are left to test it."""
_MOST_CALIBRATION_ORIGINALS = 128
_CAUGHT, _CAUGHT_AT_LEAST = 0.98, 0.9
"""Share of the simulated copies that the limit catches, and the least share where originals resemble each other."""
_FLAGGED = 0.02
"""Share of honest images that may be rejected for it; other originals stand for honest images."""
_BLANK_SHARE = 0.25


@dataclass(frozen=True)
class GateThresholds:
    """The limits a gate was calibrated with."""

    copy_distance: float
    """Distance to the nearest original (of `Matcher.nearest`) below which an image is a near copy. It lies half way
    between two quantiles: the distance within which 98 percent of simulated copies lie, and that within which 2 percent
    of the originals lie of each other. Where these overlap, it flags the 2 percent, but catches at least 90 percent of
    the copies."""
    blank_deviation: float
    """Grey-level standard deviation below which an image is near-blank: a quarter of the least varied original's,
    at most 4 grey levels."""


class Gate:
    """Screens synthetic images: each is accepted, or rejected with a reason.

    Args:
        views: descriptors of the training originals, float16 `[M, V, 32, 32]`.
        hashes: pixel SHA-256 of each, same order; these are also the originals' names in the catalogue.
        thresholds: calibrated limits.
        size: side of the originals.
    """

    def __init__(
        self, views: NDArray[np.float16], hashes: Sequence[str], thresholds: GateThresholds, *, size: int
    ) -> None:
        self.views, self.hashes, self.thresholds, self.size = views, tuple(hashes), thresholds, size
        self._matcher = Matcher(views)
        self._known = {h: i for i, h in enumerate(self.hashes)}

    def screen(self, images: UInt8Images) -> Verdicts:
        """Screen images `[N, C, H, W]` uint8: exact copies, near copies, near-blank ones.

        Distances are those of `Matcher.nearest`, 0 to 1; turned, mirrored, moved, cut and recoloured copies count.
        """
        distance, nearest = self._matcher.nearest(images)
        reasons: list[str | None] = []
        for i, image in enumerate(images):
            reason = self._reason(image, float(distance[i]))
            if reason == "exact_copy":
                # the matcher sees no colour: among originals that differ in it alone, the hash names the right one
                nearest[i], distance[i] = self._known[pixel_sha256(image)], 0.0
            reasons.append(reason)
        accepted = np.array([r is None for r in reasons], np.bool_)
        return Verdicts(accepted, tuple(reasons), nearest, distance.astype(np.float32))

    def to_bytes(self, *, eight_bits: bool = False) -> bytes:
        """A safetensors file that `load_gate` reads; in eight bits it is half as large, and distances are rounded."""
        form = EIGHT_BIT_FORM if eight_bits else FORM
        header = {"hashes": list(self.hashes), "size": self.size, "form": form, **asdict(self.thresholds)}
        if not eight_bits:
            return save_tensors({"outlines": torch.from_numpy(self.views)}, header=header)
        levels, peaks = (torch.from_numpy(part) for part in to_eight_bits(self.views))
        return save_tensors({"outlines": levels, "peaks": peaks}, header=header)

    def _reason(self, image: NDArray[np.uint8], distance: float) -> str | None:
        # blank comes first: the descriptor of a flat image is noise, and its distance says nothing
        if image.std() < self.thresholds.blank_deviation:
            return "near_blank"
        if pixel_sha256(image) in self._known:
            return "exact_copy"
        return "near_copy" if distance < self.thresholds.copy_distance else None


def build_gate(originals: LabelledImages) -> Gate:
    """Calibrate a gate on the training originals (`ids` are their pixel hashes)."""
    if not len(originals) or len(originals.ids) != len(originals):
        raise OptionError("A gate needs training originals with their hashes", got=f"{len(originals)} images")
    views = descriptors(originals.images)
    deviations = originals.images.reshape(len(originals), -1).std(axis=1)
    thresholds = GateThresholds(
        copy_distance=_copy_distance(originals.images, Matcher(views)),
        blank_deviation=min(4.0, _BLANK_SHARE * float(deviations.min())),
    )
    return Gate(views, originals.ids, thresholds, size=originals.images.shape[-1])


def load_gate(data: bytes, *, sha256: str | None = None) -> Gate:
    """A gate from the bytes of `screen.safetensors`.

    Raises:
        IntegrityError: other bytes than recorded, a damaged file, or one of another form.
    """
    tensors, header = load_tensors(data, sha256=sha256), read_header(data)
    if header.get("form") not in (FORM, EIGHT_BIT_FORM) or tensors.get("outlines", torch.empty(0)).shape[1:2] != (
        len(VIEWS),
    ):
        raise IntegrityError(
            "The model's gate is of another form",
            got=header.get("form") or f"features of {header.get('network', 'an unknown network')}",
            allowed=FORM,
            next_step="repeat its 'synthbank train' command with another --model-name: the run is not trained again",
        )
    thresholds = GateThresholds(header["copy_distance"], header["blank_deviation"])
    views = tensors["outlines"].numpy()
    if header["form"] == EIGHT_BIT_FORM:
        views = from_eight_bits(views, tensors["peaks"].numpy())
    return Gate(views, header["hashes"], thresholds, size=header["size"])


def _copy_distance(images: UInt8Images, matcher: Matcher) -> float:
    """The limit between simulated copies and other originals; `GateThresholds` defines it."""
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(len(images), min(len(images), _MOST_CALIBRATION_ORIGINALS), replace=False))
    # distribution of copies: transformed originals, to whatever original they come nearest
    simulated = [simulate_copies(images[chosen], kind, rng) for kind in _CALIBRATION_COPIES]
    copies = matcher.nearest(np.concatenate(simulated))[0]
    usual, most, nearly_all = (float(q) for q in np.quantile(copies, (0.5, _CAUGHT_AT_LEAST, _CAUGHT)))
    # distribution of honest images: originals, to the nearest other one. An original nearer to another than the median
    # copy is a duplicate of it, and says nothing of how near an honest image comes
    others = matcher.nearest(images[chosen], own=chosen)[0] if len(images) > 1 else np.zeros(0)
    others = others[others > usual]
    if not len(others):
        return nearly_all
    honest = float(np.quantile(others, _FLAGGED))
    # separate distributions: half way between their tails. Overlapping ones: few honest images flagged, but never at
    # the price of more than one copy in ten
    return (nearly_all + honest) / 2 if nearly_all < honest else max(honest, most)
