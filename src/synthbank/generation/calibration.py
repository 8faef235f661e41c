"""Calibration of the gate from its originals alone: the directions of the shortlist, the score and its limits.

Copies are simulated: turned, zoomed, moved, mirrored, blurred, noisy, compressed. Originals, as they are and altered in
the same way, stand for new images when they are compared with the originals of other groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthbank.generation.copy_finder import Comparison, CopyFinder
from synthbank.generation.descriptors import BAND_SIDE, Descriptors, describe, window
from synthbank.generation.shortlist import fit_projection, spectrum, view_spectra
from synthbank.generation.simulated_copies import degraded, posed
from synthbank.records import LabelledImages, UInt8Images

_MOST_PROJECTED, _MOST_SCORED, _FEWEST_COPIES = 256, 384, 48
"""Originals that the projection, and that the score and its limits are fitted with; and the fewest copies of these."""
_FLAGGED, _PART_FLAGGED = 0.012, 0.004
"""Shares of honest images that may score as copies, and as put together from originals."""
_TWIN = np.arctanh([0.95, 0.75])
"""Band and fine correlation, on the scale of the features, of two pictures of one scene: grain and edges agree. Of 900
pairs of new images and the originals they resemble most, two reached it."""
_TWIN_ROUNDS = 3
_MOST_OF_A_GROUP = 0.5
"""Largest share of the originals in a group that is left out as a whole."""
_UNKNOWN_PART_LIMIT = 0.9
"""Limit of the parts where no honest pair exists; those of the sets at hand lay from 0.68 to 0.82."""
_OWN_LIMIT = 40
"""Originals from which on a class has limits of its own."""
_NEVER = 1e6
_MARGIN = 0.2
"""Share of the gap between honest images and copies that is left to honest images."""
_CAUGHT_EASILY = 0.02
"""Quantile of the scores of copies that is the far side of that gap."""
_LOST = 0.01
"""Share of the copies that need not be aligned: they are lost to save time."""
_FEWEST_FOR_FLOORS = 200
"""Caught copies from which on such a share of them can be measured."""
_NEWTON_STEPS = 25
_FEW_WEIGHTS = np.array([1.5, 1.0, 0.8, 2.0, -2.0])
"""Weights where there are too few originals to fit them."""


@dataclass(frozen=True)
class Calibration:
    """Everything about a gate that was fitted."""

    projection: Tensor
    """Of the shortlist, float32 `[F, D]`."""
    centre: Tensor
    """Of the same, float32 `[F]`."""
    weights: NDArray[np.float64]
    """Of `alignment.FEATURES` in the score; its unit is one standard deviation of the scores of honest pairs."""
    limits: NDArray[np.float64]
    """Score of each class above which an image is a copy, `[classes]`."""
    part_limits: NDArray[np.float64]
    """Similarity of parts of each class above which an image is put together from originals, `[classes]`."""
    floors: tuple[float, float]
    """Similarities of the shortlist, by spectra and plain; an image below both is no copy and is not aligned."""
    caught: NDArray[np.float64]
    """Share of the simulated copies of each class that the limit catches, `[classes]`."""


def calibrate(originals: LabelledImages, groups: Sequence[str] | None) -> tuple[Descriptors, Calibration]:
    """Fit the gate's numbers.

    Args:
        originals: training originals.
        groups: group of each; `None`: each is its own.

    Returns:
        Descriptors of the originals, in whole grey levels; and the numbers.
    """
    rng = np.random.default_rng(0)
    # what is compared later is what is stored: rounded to eight bits
    grey, colours = describe(originals.images).stored()
    pictures = Descriptors(grey.float(), colours.float())
    projection, centre = _projection(originals.images, pictures, rng)
    finder = CopyFinder(pictures, projection, centre)
    n = min(len(originals), _MOST_SCORED)
    chosen = np.sort(rng.choice(len(originals), n, replace=False))
    source = np.tile(chosen, -(-_FEWEST_COPIES // n))
    images = originals.images[source]
    copies = _joined(finder.compare(degraded(posed(images, rng), rng)), finder.compare(degraded(images, rng)))
    honest, foreign = _honest_pairs(finder, originals, groups, chosen, rng)
    true = copies.original.numpy() == np.tile(source, 2)[:, None]
    alike, unlike = (c.features.numpy().astype(np.float64) for c in (copies, honest))
    weights = _weights(alike[true], unlike[foreign])
    scores = np.where(foreign, unlike @ weights, -_NEVER).max(axis=1)
    copy_scores = np.where(true, alike @ weights, -_NEVER).max(axis=1)
    labels, copy_labels = np.tile(originals.labels[chosen], 2), np.tile(originals.labels[source], 2)
    classes = range(len(originals.class_names))
    limits = np.array([_limit(scores, labels, copy_scores, copy_labels, c) for c in classes])
    part_scores = np.where(foreign.any(axis=1), honest.similarity[:, 2].numpy(), -1.0)
    part_limits = np.array([_part_limit(part_scores, labels, c) for c in classes])
    hits = copy_scores > limits[copy_labels]
    caught = np.array([hits[copy_labels == c].mean() if (copy_labels == c).any() else 1.0 for c in classes])
    floors = _floors(copies.similarity[torch.from_numpy(hits)], honest.similarity)
    return pictures, Calibration(projection, centre, weights, limits, part_limits, floors, caught)


def _honest_pairs(
    finder: CopyFinder,
    originals: LabelledImages,
    groups: Sequence[str] | None,
    chosen: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[Comparison, NDArray[np.bool_]]:
    """Chosen originals, as they are and altered, beside originals of other groups that are no twins of theirs.

    Returns:
        The comparison of `2 * len(chosen)` images, and which of its pairs are such, `[N, K]`.
    """
    names = np.array(groups if groups is not None else [""] * len(originals))
    same = names[chosen][:, None] == names[None, :]
    # a group of most originals leaves too few others: its images are compared with each other, but for twins
    small = same.mean(axis=1, keepdims=True) <= _MOST_OF_A_GROUP
    own = torch.from_numpy((same & small) | (chosen[:, None] == np.arange(len(originals))[None, :]))
    images = originals.images[chosen]
    plain = finder.compare(images, own=own)
    for _ in range(_TWIN_ROUNDS):
        features = plain.features.numpy()
        twins = torch.from_numpy((features[..., 0] > _TWIN[0]) & (features[..., 1] > _TWIN[1])) & ~_taken(own, plain)
        if not twins.any():
            break
        row, rank = twins.nonzero(as_tuple=True)
        own[row, plain.original[row, rank]] = True
        plain = finder.compare(images, own=own)
    altered = finder.compare(degraded(posed(images, rng), rng), own=own)
    # where nearly all originals are excluded, the shortlist falls back on them
    foreign = ~torch.cat([_taken(own, plain), _taken(own, altered)])
    return _joined(plain, altered), foreign.numpy()


def _projection(images: UInt8Images, pictures: Descriptors, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Projection and centre of the shortlist: directions that tell originals apart and that copying changes little."""
    n = min(len(images), _MOST_PROJECTED)
    chosen = np.sort(rng.choice(len(images), n, replace=False))
    views = view_spectra(pictures[torch.from_numpy(chosen)])  # [n, V, F]
    rest = []
    for _ in range(max(4, -(-_FEWEST_COPIES // n))):
        # near poses: between two neighbouring views
        copies = degraded(posed(images[chosen], rng, angle=6.0, zoom=1.25, shift=0.08), rng)
        spectra = spectrum(describe(copies).band(), window(BAND_SIDE))
        nearest = (views @ spectra[:, :, None])[..., 0].argmax(dim=1)
        rest.append(spectra - views[torch.arange(n), nearest])
    return fit_projection(views.flatten(0, 1)[::7], torch.cat(rest))


def _weights(copies: NDArray[np.float64], honest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the features, by logistic regression of aligned copies `[N, F]` against honest pairs `[M, F]`.

    Both sides count alike. Newton's method (Hastie et al. 2009, "The elements of statistical learning", equation 4.26).
    """
    if len(copies) < 10 or len(honest) < 10:
        return _FEW_WEIGHTS
    mean, scale = honest.mean(axis=0), honest.std(axis=0) + 1e-3
    x = np.concatenate([copies, honest])
    x = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    y = np.repeat([1.0, 0.0], [len(copies), len(honest)])
    share = np.repeat([0.5 / len(copies), 0.5 / len(honest)], [len(copies), len(honest)])
    ridge = np.diag([*np.full(honest.shape[1], 1e-3), 1e-9])
    beta = np.zeros(x.shape[1])
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        gradient = x.T @ (share * (y - p)) - ridge @ beta
        hessian = (x * (share * p * (1 - p))[:, None]).T @ x + ridge
        beta = beta + np.linalg.solve(hessian, gradient)
    weights = beta[:-1] / scale
    spread = float((honest @ weights).std())
    return np.asarray(weights / max(spread, 1e-6))


def _limit(
    honest: NDArray[np.float64],
    labels: NDArray[np.int64],
    copies: NDArray[np.float64],
    copy_labels: NDArray[np.int64],
    label: int,
) -> float:
    """Limit of a class between honest scores and those of copies; of all classes where it has few originals."""
    ours = _of_class(honest, labels, label)
    ours, theirs = ours[ours > -_NEVER], _of_class(copies, copy_labels, label)
    theirs = theirs[theirs > -_NEVER]
    if not len(theirs):
        return _NEVER
    low = float(np.quantile(theirs, _CAUGHT_EASILY))
    if not len(ours):
        return low
    high = float(np.quantile(ours, 1 - _FLAGGED))
    # where a gap lies between them, a part of it is left to new images that come nearer than any original
    return high + _MARGIN * max(low - high, 0.0)


def _part_limit(honest: NDArray[np.float64], labels: NDArray[np.int64], label: int) -> float:
    ours = _of_class(honest, labels, label)
    ours = ours[ours > -1.0]
    if not len(ours):
        return _UNKNOWN_PART_LIMIT
    high = float(np.quantile(ours, 1 - _PART_FLAGGED))
    return high + _MARGIN * (1 - high)


def _of_class(values: NDArray[np.float64], labels: NDArray[np.int64], label: int) -> NDArray[np.float64]:
    """The values of a class, or all of them where it has few."""
    of_class = values[labels == label]
    return of_class if len(of_class) >= _OWN_LIMIT else values


def _floors(copies: Tensor, honest: Tensor) -> tuple[float, float]:
    """Floors that lose `_LOST` of the copies, and let the fewest honest images through."""
    if len(copies) < _FEWEST_FOR_FLOORS or not len(honest):
        return -1.0, -1.0
    spectra, plain = copies[:, 0].double(), copies[:, 1].double()
    best, floors = 2.0, (-1.0, -1.0)
    for share in np.linspace(0, 0.5, 26):
        by_spectra = float(torch.quantile(spectra, share))
        below = plain[spectra < by_spectra].sort().values
        lost = int(_LOST * len(copies))
        by_plain = float(below[lost]) if lost < len(below) else 2.0
        through = float(((honest[:, 0] >= by_spectra) | (honest[:, 1] >= by_plain)).double().mean())
        if through < best:
            best, floors = through, (by_spectra, by_plain)
    return floors


def _joined(a: Comparison, b: Comparison) -> Comparison:
    return Comparison(
        torch.cat([a.similarity, b.similarity]),
        torch.cat([a.nearest, b.nearest]),
        torch.cat([a.original, b.original]),
        torch.cat([a.features, b.features]),
    )


def _taken(own: Tensor, compared: Comparison) -> Tensor:
    return own.gather(1, compared.original)
