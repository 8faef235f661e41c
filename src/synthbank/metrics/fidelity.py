"""Fidelity of a synthetic set: distances between the distributions of two feature sets, and the Inception Score."""

from __future__ import annotations

import numpy as np

from synthbank.errors import OptionError
from synthbank.metrics._checks import Features, RawFeatures, check_features, check_pair
from synthbank.metrics._gram import (
    GramMatrices,
    ResampleMasks,
    ResampleValues,
    gram_matrices,
    subset_means,
    subset_pair_means,
)
from synthbank.metrics._registry import two_sample_metric

KID_SCALE = 1000.0
"""The literature reports KID times a thousand; so do our scores. The functions return it unscaled."""
_PROBABILITY_TOLERANCE = 1e-3
_FEWEST_DRAWS = 8
"""Resamples of FD at the least."""
_CHEAP_SIZE = 320
"""Images up to which every resample is computed; beyond, their number falls with the cube of the size."""


def frechet_distance(*, real: RawFeatures, fake: RawFeatures) -> float:
    """Compute the Frechet distance between Gaussians fitted to two feature sets; FID for Inception's features.

    It is biased upwards for few images. No complex matrix root is taken, so fewer images than feature values is no
    special case.

    Args:
        real: `[N, D]`, N >= 2.
        fake: `[M, D]`, M >= 2.

    Returns:
        Squared distance in squared feature units, >= 0; lower is better.

    Raises:
        OptionError: fewer than two images, unlike widths, or values that are not finite.

    Source: Heusel et al. 2017, arXiv 1706.08500, equation 6; the distance itself is Dowson and Landau 1982, "The
    Frechet distance between multivariate normal distributions", Journal of Multivariate Analysis 12.

    >>> frechet_distance(real=np.array([[0.0], [2.0]]), fake=np.array([[3.0], [5.0]]))
    9.0
    """
    x, y = check_pair(real=real, fake=fake, minimum=2)
    # eq. 6: |m_r - m_f|^2 + tr(C_r + C_f - 2 (C_r C_f)^(1/2))
    shift = x.mean(axis=0) - y.mean(axis=0)
    # with C = R^T R, the eigenvalues of C_r C_f are the squared singular values of R_r R_f^T,
    # so the trace of the root is the sum of these singular values
    x_root, y_root = _covariance_root(x), _covariance_root(y)
    overlap = np.linalg.svd(x_root @ y_root.T, compute_uv=False).sum()
    return max(float(shift @ shift + (x_root**2).sum() + (y_root**2).sum() - 2.0 * overlap), 0.0)


def _frechet_of_resamples(gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks) -> ResampleValues:
    """Compute `frechet_of` on each resample, `[R]`; of large sets on the first few, NaN for the others."""
    draws = np.full(len(real_masks), np.nan)
    size = min(gram.cross.shape)
    # each resample costs a decomposition of O(n^3): fewer of them keep the time of a large set within bounds
    n_draws = max(_FEWEST_DRAWS, int(len(draws) * min(_CHEAP_SIZE / size, 1.0) ** 3))
    real_masks, fake_masks = real_masks[:n_draws], fake_masks[:n_draws]
    n, m = int(real_masks[0].sum()), int(fake_masks[0].sum())
    # eq. 6 for all resamples at once. A mean inner product is an inner product of means:
    # |m_r - m_f|^2 = m_r.m_r + m_f.m_f - 2 m_r.m_f
    real, fake = subset_means(gram.real, real_masks, real_masks), subset_means(gram.fake, fake_masks, fake_masks)
    cross = subset_means(gram.cross, real_masks, fake_masks)
    # tr C = (sum of |x_i|^2 - n |m|^2) / (n - 1), of both sets
    variance = (real_masks @ np.diagonal(gram.real) - n * real) / (n - 1)
    variance += (fake_masks @ np.diagonal(gram.fake) - m * fake) / (m - 1)
    # tr (C_r C_f)^(1/2), as in `frechet_of`; the only term that must be computed resample by resample
    pairs = zip(real_masks, fake_masks, strict=True)
    overlap = np.array([_sum_of_singular_values(_double_centre(gram.cross[np.ix_(i, j)])) for i, j in pairs])
    draws[:n_draws] = np.maximum(real + fake - 2.0 * cross + variance - 2.0 * overlap / np.sqrt((n - 1) * (m - 1)), 0.0)
    return draws


@two_sample_metric(
    "fd", order=10, title="Fréchet distance", meaning="how far means and covariances lie apart; biased for small sets",
    minimum_real=4, minimum_fake=4, symmetric=True, resampled=_frechet_of_resamples,
    citation="Heusel et al. 2017, arXiv 1706.08500",
)  # fmt: skip
def frechet_of(gram: GramMatrices) -> float:
    """Compute `frechet_distance` from Gram matrices."""
    n, m = gram.cross.shape
    # eq. 6 in inner products alone: the centred Gram matrices have the traces of the covariances times n - 1, and
    # R_r R_f^T is the centred cross matrix over sqrt((n - 1) (m - 1))
    shift = gram.real.mean() + gram.fake.mean() - 2.0 * gram.cross.mean()
    variance = np.trace(_double_centre(gram.real)) / (n - 1) + np.trace(_double_centre(gram.fake)) / (m - 1)
    singular = np.linalg.svd(_double_centre(gram.cross), compute_uv=False)
    return max(float(shift + variance - 2.0 * singular.sum() / np.sqrt((n - 1) * (m - 1))), 0.0)


def kernel_distance(*, real: RawFeatures, fake: RawFeatures) -> float:
    """Compute the kernel distance (KID) over all pairs.

    It is the unbiased estimate of the squared maximum mean discrepancy with the kernel `(x.y / D + 1)^3`.

    Args:
        real: `[N, D]`, N >= 2.
        fake: `[M, D]`, M >= 2.

    Returns:
        Unscaled; lower is better. About 0 for equal distributions, and then below 0 half of the time.

    Raises:
        OptionError: as `frechet_distance`.

    Source: Binkowski et al. 2018, arXiv 1801.01401, section 4; the U-statistic is Gretton et al. 2012, equation 3.

    >>> kernel_distance(real=np.array([[0.0], [1.0]]), fake=np.array([[0.0], [1.0]]))
    -3.5
    """
    x, y = check_pair(real=real, fake=fake, minimum=2)
    return _unbiased_discrepancy(gram_matrices(real=x, fake=y))


def subset_kernel_distance(
    *,
    real: RawFeatures,
    fake: RawFeatures,
    rng: np.random.Generator,
    n_subsets: int = 100,
    subset_size: int = 1000,
) -> tuple[float, float]:
    """Compute KID as the literature reports it, as the mean over random subsets drawn without replacement.

    Args:
        real: `[N, D]`, N >= 2.
        fake: `[M, D]`, M >= 2.
        rng: draws the subsets.
        n_subsets: how many.
        subset_size: images of each set in a subset; never more than the smaller set holds.

    Returns:
        Mean and standard deviation over subsets, unscaled. Subsets share images: the deviation is no standard error.

    Raises:
        OptionError: as `frechet_distance`, or a subset size below 2 or number below 1.

    Source: Binkowski et al. 2018, arXiv 1801.01401; 100 subsets of 1000 images are the defaults of torch-fidelity.
    """
    x, y = check_pair(real=real, fake=fake, minimum=2)
    if subset_size < 2 or n_subsets < 1:
        raise OptionError(
            "KID cannot use these subsets",
            got=f"{n_subsets} of {subset_size} images",
            allowed="at least 1 subset of at least 2 images",
        )
    size = min(subset_size, len(x), len(y))
    values = []
    for _ in range(n_subsets):
        part_x = x[rng.choice(len(x), size, replace=False)]
        part_y = y[rng.choice(len(y), size, replace=False)]
        values.append(_unbiased_discrepancy(gram_matrices(real=part_x, fake=part_y)))
    return float(np.mean(values)), float(np.std(values))


def _kernel_distance_of_resamples(
    gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks
) -> ResampleValues:
    """Compute `kernel_distance_of` on each resample, `[R]`."""
    real, fake, cross = (_kernel(p, gram.dimensions) for p in (gram.real, gram.fake, gram.cross))
    # the kernel is applied once to all pairs; a resample only chooses which of them are averaged
    within = subset_pair_means(real, real_masks) + subset_pair_means(fake, fake_masks)
    return KID_SCALE * (within - 2.0 * subset_means(cross, real_masks, fake_masks))


@two_sample_metric(
    "kid", order=0, title="Kernel distance (KID)", meaning="how far the two sets lie apart; 0 is no difference",
    minimum_real=4, minimum_fake=4, bounds=(None, None), symmetric=True, biased=False,
    resampled=_kernel_distance_of_resamples, citation="Binkowski et al. 2018, arXiv 1801.01401", note="times 1000",
)  # fmt: skip
def kernel_distance_of(gram: GramMatrices) -> float:
    """Compute `kernel_distance` from Gram matrices, times 1000."""
    return KID_SCALE * _unbiased_discrepancy(gram)


def inception_score(
    probabilities: RawFeatures, splits: int = 10, *, rng: np.random.Generator | None = None
) -> tuple[float, float]:
    """Compute the Inception Score: exp of the mean divergence between each image's class probabilities and their mean.

    Args:
        probabilities: `[N, K]`, rows sum to 1.
        splits: parts that are scored each on its own.
        rng: shuffles the images before they are split; `None`: their order is kept.

    Returns:
        Mean and standard deviation over splits; from 1 to K, higher is better.

    Raises:
        OptionError: rows that are no probabilities, or more splits than images.

    Source: Salimans et al. 2016, arXiv 1606.03498, section 4.

    >>> inception_score(np.eye(4), splits=1)
    (4.0, 0.0)
    """
    p = check_features(probabilities, minimum=1, name="class probability")
    if (p < 0).any() or np.abs(p.sum(axis=1) - 1.0).max() > _PROBABILITY_TOLERANCE:
        raise OptionError(
            "The Inception Score needs class probabilities",
            got=f"rows that sum to {p.sum(axis=1).min():.3g} to {p.sum(axis=1).max():.3g}",
            allowed="values of at least 0 that sum to 1 in each row",
            next_step="apply a softmax to the logits",
        )
    if not 1 <= splits <= len(p):
        raise OptionError("The Inception Score cannot make these splits", got=splits, allowed=f"1 to {len(p)}")
    order = np.arange(len(p)) if rng is None else rng.permutation(len(p))
    # IS = exp(E_x KL(p(y|x) || p(y))); p(y) is the mean over the part, so few images of a part pull the score down
    scores = [np.exp(_divergence_from_mean(p[part])) for part in np.array_split(order, splits)]
    return float(np.mean(scores)), float(np.std(scores))


def _divergence_from_mean(p: Features) -> float:
    """Mean Kullback-Leibler divergence of rows `[N, K]` from their mean, in nats."""
    tiny = np.finfo(np.float64).tiny  # 0 log 0 = 0
    terms = p * (np.log(np.maximum(p, tiny)) - np.log(np.maximum(p.mean(axis=0), tiny)))
    return float(terms.sum(axis=1).mean())


def _covariance_root(x: Features) -> Features:
    """Matrix `R` of at most D rows with `R^T R` the covariance of features `[N, D]`."""
    centred: Features = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    if len(x) <= x.shape[1]:
        return centred
    # X = Q R gives X^T X = R^T R, and R has D rows however many images there are
    return np.asarray(np.linalg.qr(centred, mode="r"))


def _sum_of_singular_values(matrix: Features) -> float:
    """Sum of the singular values of a matrix, good to about 1e-6; several times faster than an SVD."""
    # roots of the eigenvalues of the smaller Gram matrix; squaring costs half of the digits, enough for an interval
    gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    return float(np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0)).sum())


def _double_centre(inner: Features) -> Features:
    """Inner products `[N, M]` of features whose set's mean was taken off."""
    # double centring, H K H with H = I - 1 1^T / n, without forming H
    rows, columns = inner.mean(axis=1, keepdims=True), inner.mean(axis=0, keepdims=True)
    centred: Features = inner - rows - columns + inner.mean()
    return centred


def _unbiased_discrepancy(gram: GramMatrices) -> float:
    """Unbiased squared maximum mean discrepancy with the cubic kernel."""
    # eq. 3 of Gretton et al.: 1 / (n (n - 1)) sum over i != j of k(x_i, x_j), the same for y, less twice the mean of
    # k(x_i, y_j). Leaving out i = j is what makes it unbiased, and negative half of the time under equality.
    cross = _kernel(gram.cross, gram.dimensions).mean()
    within = _mean_of_pairs(gram.real, gram.dimensions) + _mean_of_pairs(gram.fake, gram.dimensions)
    return float(within - 2.0 * cross)


def _mean_of_pairs(inner: Features, dimensions: int) -> float:
    """Mean kernel over pairs of two different images of one set, from inner products `[N, N]`."""
    n = len(inner)
    own = _kernel(np.diagonal(inner), dimensions).sum()
    return float((_kernel(inner, dimensions).sum() - own) / (n * (n - 1)))


def _kernel(inner: Features, dimensions: int) -> Features:
    """Cubic kernel of KID, element by element."""
    base = inner / dimensions + 1.0
    return base * base * base
