"""The shortlist: a few originals that an image may be a copy of, each with a first guess of how it was transformed.

Three searches, each a product of matrices:

    spectra   magnitudes of the windowed Fourier transform do not change by a shift (shift theorem), nor by half a turn.
              They are compared with those of views of each original, turned and zoomed. Five windows of the image, as
              it is and mirrored, bear parts that were cut off.
    plain     the whole picture, coarse, in the eight symmetries of the square: for images that lost their structure to
              noise or compression.
    parts     fine structure of halves and of the centre at their own place: for images put together from several
              originals.

Source: the Fourier magnitude as a shift-invariant (Oppenheim and Lim 1981); its use to register turned and zoomed
images (Reddy and Chatterji 1996). The projection is Fisher's discriminant (Fisher 1936; Rao 1948).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from synthbank.generation.descriptors import BAND_SIDE, Descriptors, window

ANGLES = tuple(12.0 * i for i in range(15))
"""Degrees; half a turn more gives the same magnitudes."""
ZOOMS = (0.72, 0.82, 0.93, 1.06, 1.2, 1.37)
N_VIEWS = len(ANGLES) * len(ZOOMS)
_WINDOWS = ((0.0, 0.0), (-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25))
_CUT = 10
"""Highest frequency of a spectrum, in cycles an image; above lie noise and compression."""
SYMMETRIES = tuple((mirrored, turns) for mirrored in (False, True) for turns in range(4))
PARTS = (
    (slice(None), slice(0, 24)),
    (slice(None), slice(24, 48)),
    (slice(0, 24), slice(None)),
    (slice(24, 48), slice(None)),
    (slice(12, 36), slice(12, 36)),
)
"""Rows and columns of the fine picture: the four halves, and the centre."""
N_SPECTRA, N_PLAIN = 8, 3
"""Originals that go on from two of the searches. Parts need no alignment: they lie in their own place."""
_BLOCK = 128
"""Originals that are searched at once: their cosines stay in the processor's cache."""


@dataclass(frozen=True)
class Candidates:
    """K originals for each of N images."""

    original: Tensor
    """`[N, K]`, int64."""
    pose: Tensor
    """`[N, K, 2, 2]`: linear part of the map from places of the image to places of the original, from -1 to 1."""
    similarity: Tensor
    """`[N, 3]`: highest similarity of each search; cosines."""
    nearest: Tensor
    """`[N, 3]`, int64: the original of each of them."""


class Shortlist:
    """Finds candidates among the M originals.

    Args:
        originals: their descriptors.
        projection: of `fit_projection`, float32 `[F, D]`.
        centre: float32 `[F]`, taken off before the projection.
    """

    def __init__(self, originals: Descriptors, projection: Tensor, centre: Tensor) -> None:
        self._originals, self._projection, self._centre = originals, projection, centre
        self._plain = unit(originals.plain().flatten(1)).T.contiguous()
        self._parts = [part.T.contiguous() for part in _cut(originals.fine())]
        self._windows = [window(BAND_SIDE, *place) for place in _WINDOWS]

    @cached_property
    def _views(self) -> list[Tensor]:
        """Projected spectra of all views of each block of originals, `[D, V * m]`, those of one view side by side."""
        blocks = (self._originals[i : i + _BLOCK] for i in range(0, len(self._originals), _BLOCK))
        return [self._project(view_spectra(block)).permute(2, 1, 0).flatten(1).contiguous() for block in blocks]

    def candidates(self, plain: Tensor, band: Tensor, fine: Tensor, *, own: Tensor | None = None) -> Candidates:
        """Candidates of N images, given by their pictures of `Descriptors`.

        Args:
            plain: `[N, 16, 16]`.
            band: `[N, 1, 32, 32]`.
            fine: `[N, 1, 48, 48]`.
            own: bool `[N, M]`, originals that are no candidates; `None`: all may be.
        """
        spectra, view = self._by_spectra(band)
        plain, symmetry = self._by_plain(plain)
        parts = [ours @ theirs for ours, theirs in zip(_cut(fine), self._parts, strict=True)]
        for similarity in (spectra, plain, *parts):
            if own is not None:
                similarity[own] = -1.0
        m = len(self._originals)
        best, original = spectra.topk(min(N_SPECTRA, m), dim=1)
        poses = _view_poses()[view.gather(1, original)]
        best_plain, whole = plain.topk(min(N_PLAIN, m), dim=1)
        symmetric = _symmetry_poses()[symmetry.gather(1, whole)]
        best_part, of_part = torch.stack(parts).amax(dim=0).max(dim=1)
        return Candidates(
            torch.cat([original, whole], dim=1),
            torch.cat([poses, symmetric], dim=1),
            torch.stack([best[:, 0], best_plain[:, 0], best_part], dim=1),
            torch.stack([original[:, 0], whole[:, 0], of_part], dim=1),
        )

    def _by_spectra(self, band: Tensor) -> tuple[Tensor, Tensor]:
        """Highest cosine `[N, M]` over views, windows and mirroring, and its view, plus `N_VIEWS` where mirrored."""
        queries = [[self._project(spectrum(b, w)) for w in self._windows] for b in (band, band.flip(-1))]
        highest, views = [], []
        for block in self._views:
            cosines, product = (torch.empty(len(band), block.shape[1]) for _ in range(2))
            of_block: list[tuple[Tensor, Tensor]] = []
            for windows in queries:
                torch.mm(windows[0], block, out=cosines)
                for query in windows[1:]:
                    torch.maximum(cosines, torch.mm(query, block, out=product), out=cosines)
                best = cosines.view(len(band), N_VIEWS, -1).max(dim=1)
                of_block.append((best.values, best.indices))
            (plain, view), (mirrored, mirrored_view) = of_block
            highest.append(torch.maximum(plain, mirrored))
            views.append(torch.where(mirrored > plain, mirrored_view + N_VIEWS, view))
        return torch.cat(highest, dim=1), torch.cat(views, dim=1)

    def _by_plain(self, plain: Tensor) -> tuple[Tensor, Tensor]:
        every = torch.stack([unit(symmetric(plain, m, k).flatten(1)) for m, k in SYMMETRIES])  # [8, N, 256]
        highest, which = (every @ self._plain).max(dim=0)
        return highest, which

    def _project(self, spectra: Tensor) -> Tensor:
        projected = (spectra - self._centre) @ self._projection
        directions: Tensor = projected / torch.linalg.vector_norm(projected, dim=-1, keepdim=True).clamp_min(1e-6)
        return directions


def spectrum(band: Tensor, weights: Tensor) -> Tensor:
    """Roots of the magnitudes of the low frequencies of windowed pictures `[N, 1, 32, 32]`: `[N, F]`, length one."""
    x = band[:, 0]
    x = (x - (x * weights).sum((1, 2), keepdim=True) / weights.sum()) * weights
    # roots, as the lowest frequencies of a photograph are far stronger than the others and would decide alone
    root = torch.fft.rfft2(x).abs().sqrt()
    low = torch.cat([root[:, : _CUT + 1, : _CUT + 1], root[:, -_CUT:, : _CUT + 1]], dim=1).flatten(1)
    low = low - low.mean(dim=1, keepdim=True)
    directions: Tensor = low / torch.linalg.vector_norm(low, dim=1, keepdim=True).clamp_min(1e-6)
    return directions


def view_spectra(originals: Descriptors) -> Tensor:
    """Spectra of all views `[M, V, F]`; view `i` has zoom `ZOOMS[i // 15]` and angle `ANGLES[i % 15]`."""
    round_window = window(BAND_SIDE)
    views = []
    for zoom in ZOOMS:
        for angle in ANGLES:
            turned = Descriptors(_view(originals.grey, zoom, angle), originals.colours)
            views.append(spectrum(turned.band(), round_window))
    return torch.stack(views, dim=1)


def fit_projection(views: Tensor, within: Tensor, *, dimension: int = 64) -> tuple[Tensor, Tensor]:
    """Directions in which originals differ most, for the scatter of their copies.

    Args:
        views: spectra of views of originals, `[V, F]`.
        within: spectra of copies, less that of the view they come nearest, `[N, F]`.
        dimension: number of directions.

    Returns:
        Projection `[F, dimension]` and centre `[F]`.
    """
    centre = views.mean(dim=0)
    between = _covariance(views - centre)
    scatter = within.double().T @ within.double() / len(within)
    # a tenth of the mean variance keeps directions in which the few copies happen not to differ from ruling
    scatter = scatter + 0.1 * scatter.diagonal().mean().clamp_min(1e-6) * torch.eye(len(scatter), dtype=torch.float64)
    lower = torch.linalg.cholesky(scatter)
    half = torch.linalg.solve_triangular(lower, between, upper=False)
    whitened = torch.linalg.solve_triangular(lower, half.T, upper=False)
    _, directions = torch.linalg.eigh((whitened + whitened.T) / 2)
    projection = torch.linalg.solve_triangular(lower.T, directions[:, -dimension:], upper=True)
    return projection.float(), centre


def unit(x: Tensor) -> Tensor:
    """Rows of mean zero and length one; a flat row stays zero."""
    x = x - x.mean(dim=-1, keepdim=True)
    rows: Tensor = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(1e-3)
    return rows


def symmetric(x: Tensor, mirrored: bool, turns: int) -> Tensor:
    """`[..., S, S]` mirrored, then turned by quarters."""
    return torch.rot90(x.flip(-1) if mirrored else x, turns, (-2, -1))


def _cut(fine: Tensor) -> list[Tensor]:
    """Rows of unit length `[N, P]` of each of `PARTS`."""
    return [unit(fine[:, 0][(slice(None), *part)].flatten(1)) for part in PARTS]


def _view(grey: Tensor, zoom: float, angle: float) -> Tensor:
    """Pictures `[M, 1, S, S]` zoomed (below 1 shows a part) and turned; what lies outside is reflected."""
    matrix = functional.pad(_turn(zoom, angle), (0, 1)).expand(len(grey), 2, 3)
    places = functional.affine_grid(matrix, list(grey.shape), align_corners=False)
    view: Tensor = functional.grid_sample(grey, places, mode="bilinear", padding_mode="reflection", align_corners=False)
    return view


def _turn(zoom: float, angle: float) -> Tensor:
    along, across = zoom * math.cos(math.radians(angle)), zoom * math.sin(math.radians(angle))
    return torch.tensor([[along, -across], [across, along]])


def _view_poses() -> Tensor:
    """Pose of each view `[2 * V, 2, 2]`, the mirrored ones after the others."""
    plain = torch.stack([_turn(zoom, angle) for zoom in ZOOMS for angle in ANGLES])
    return torch.cat([plain, plain @ torch.diag(torch.tensor([-1.0, 1.0]))])


def _symmetry_poses() -> Tensor:
    """Pose of each of the eight symmetries, `[8, 2, 2]`."""
    places = torch.linspace(-1, 1, 3)
    y, x = torch.meshgrid(places, places, indexing="ij")
    poses = []
    for mirrored, turns in SYMMETRIES:
        # the image, so turned, lies over the original: at (right, below) of the original stand these places of it
        there_y, there_x = symmetric(y, mirrored, turns), symmetric(x, mirrored, turns)
        forward = torch.tensor([[there_x[1, 2], there_x[2, 1]], [there_y[1, 2], there_y[2, 1]]])
        poses.append(torch.linalg.inv(forward))
    return torch.stack(poses)


def _covariance(x: Tensor) -> Tensor:
    return x.double().T @ x.double() / len(x)
