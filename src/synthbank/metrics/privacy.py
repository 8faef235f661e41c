"""Privacy of the training originals, measured on three sets: train, test and fake.

Test originals are the baseline of every metric: a synthetic image near a training original proves nothing where new
real images are as near.
"""

from __future__ import annotations

import numpy as np

from synthbank.metrics._checks import Features, Floats, Index, Mask, RawFeatures, check_features, check_pair
from synthbank.metrics._gram import GramMatrices, ThreeWayGram, three_way_gram
from synthbank.metrics._ranking import RankComparison, compare_ranks
from synthbank.metrics._registry import ThreeWayResult, three_sample_metric, two_sample_metric
from synthbank.metrics.copying import COPY_QUANTILE, nearest_neighbours

_IMAGES_A_CELL = 20
"""Training and test originals of a cell of C_T on average, at the least."""
_MOST_CELLS = 10
_LLOYD_STEPS = 20
"""Steps of k-means at the most."""
_FEWEST_IN_CELL = 0.01
"""Share of the synthetic images below which a cell is left out."""


def distance_to_closest_record(*, train: RawFeatures, test: RawFeatures, fake: RawFeatures) -> RankComparison:
    """Compare synthetic images with test originals by their distance to the nearest training original.

    Args:
        train: `[T, D]`, training originals.
        test: `[N, D]`, test originals, which the model never saw.
        fake: `[M, D]`, synthetic images.

    Returns:
        Probability that a synthetic image lies nearer to its nearest training original than a test original to its
        own, with an interval and a one-sided p-value. 0.5 where they behave alike, towards 1 for copying; lower is
        better.

    Raises:
        OptionError: an empty set, unlike widths, or values that are not finite.

    Source: the "distance to closest record" of Park et al. 2018, arXiv 1806.03384, with test originals as the
    baseline.
    """
    from_fakes, _ = nearest_neighbours(query=fake, reference=train)
    from_test, _ = nearest_neighbours(query=test, reference=train)
    return compare_ranks(from_fakes[:, 0], from_test[:, 0])


def membership_inference(*, train: RawFeatures, test: RawFeatures, fake: RawFeatures) -> RankComparison:
    """Attack the membership of training originals by an attacker who holds only the synthetic set.

    The attack guesses "was in training" for the originals that lie nearest to a synthetic image.

    Args:
        train: `[T, D]`, training originals: the members.
        test: `[N, D]`, test originals: the non-members.
        fake: `[M, D]`, synthetic images.

    Returns:
        Area under the attack's ROC curve with an interval: 0.5 is chance, 1 is full disclosure; lower is better.

    Raises:
        OptionError: as `distance_to_closest_record`.

    Source: the distance attack of Chen et al. 2020, arXiv 1909.03935 (GAN-Leaks), full black-box generator.
    """
    members, _ = nearest_neighbours(query=train, reference=fake)
    others, _ = nearest_neighbours(query=test, reference=fake)
    return compare_ranks(members[:, 0], others[:, 0])


def copying_statistic(*, train: RawFeatures, test: RawFeatures, fake: RawFeatures) -> float:
    """Compute C_T, a standard score that is negative where synthetic images are nearer to training than test originals.

    Space is cut into cells about the training originals (k-means). In each cell, a Mann-Whitney score compares the
    distances of synthetic images and of test originals to their nearest training original. A cell weighs as much as
    test originals fall into it; one with under a hundredth of the synthetic images is left out.

    Args:
        train: `[T, D]`, training originals.
        test: `[N, D]`, test originals.
        fake: `[M, D]`, synthetic images.

    Returns:
        In standard deviations. -3 and below: copying; about 0: like new originals; far above: images that resemble no
        original. Higher is better up to about 0.

    Raises:
        OptionError: as `distance_to_closest_record`.

    Source: Meehan, Chaudhuri and Dasgupta 2020, arXiv 2004.05675, section 3.
    """
    x, h = check_pair(real=train, fake=test, minimum=1)
    _, y = check_pair(real=train, fake=fake, minimum=1)
    return _copying_statistic(three_way_gram(train=x, test=h, fake=y))


def authenticity(*, real: RawFeatures, fake: RawFeatures) -> Mask:
    """Find the synthetic images that are authentic, no variant of a single original.

    An image is authentic that lies farther from its nearest original than this original from any other.

    Args:
        real: `[N, D]`, training originals, N >= 2.
        fake: `[M, D]`.

    Returns:
        `[M]`; the share of true ones is AuthPct. Higher is better.

    Raises:
        OptionError: too few images, unlike widths, or values that are not finite.

    Source: Alaa et al. 2022, arXiv 2102.08921 (authenticity).
    """
    check_features(real, minimum=2, name="real")
    distance, nearest = nearest_neighbours(query=fake, reference=real)
    among, _ = nearest_neighbours(query=real, reference=real, exclude_self=True)
    authentic: Mask = distance[:, 0] > among[nearest[:, 0], 0]
    return authentic


def novelty(*, train: RawFeatures, test: RawFeatures, fake: RawFeatures) -> Features:
    """Compute how new each synthetic image is: the share of test originals that lie nearer to a training original.

    Args:
        train: `[T, D]`, training originals.
        test: `[N, D]`, test originals.
        fake: `[M, D]`, synthetic images.

    Returns:
        `[M]`, float64, 0..1. 0 is nearer to a training original than any test original, and 0.5 is like a typical one.
        1 is farther than any, which may as well be a bad image.

    Raises:
        OptionError: as `distance_to_closest_record`.
    """
    from_fakes, _ = nearest_neighbours(query=fake, reference=train)
    from_test, _ = nearest_neighbours(query=test, reference=train)
    # empirical distribution function of the test distances, at the distance of each fake; ties count as new
    rank = np.searchsorted(np.sort(from_test[:, 0]), from_fakes[:, 0], side="left")
    return np.asarray(rank / len(from_test), np.float64)


@three_sample_metric(
    "closest-record", order=120, title="Closer to training than new images", bounds=(0.0, 1.0), biased=False,
    meaning="chance of it; 0.5 is like test originals, 1 is copying",
    citation="Park et al. 2018, arXiv 1806.03384, with a held-out baseline; Mann and Whitney 1947",
    note="chance that a synthetic image is nearer to a training original than a test original is; 0.5 is alike",
)  # fmt: skip
def closest_record_of(gram: ThreeWayGram) -> ThreeWayResult:
    """`distance_to_closest_record` from Gram matrices."""
    # columns are fakes and test originals: from each to its nearest training original
    from_fakes, from_test = (p.cross_distances.min(axis=0) for p in (gram.train_fake, gram.train_test))
    return _three_way_result(compare_ranks(from_fakes, from_test))


@three_sample_metric(
    "membership-auc", order=130, title="Membership attack (AUC)", bounds=(0.0, 1.0),
    meaning="can the synthetic set tell who was in training? 0.5 is chance, 1 is full leak",
    citation="Chen et al. 2020, arXiv 1909.03935",
    note="attack by distance to the nearest synthetic image; 0.5 is chance",
)  # fmt: skip
def membership_of(gram: ThreeWayGram) -> ThreeWayResult:
    """`membership_inference` from Gram matrices."""
    # rows are training and test originals: from each to its nearest synthetic image
    members, others = (p.cross_distances.min(axis=1) for p in (gram.train_fake, gram.test_fake))
    return _three_way_result(compare_ranks(members, others))


@three_sample_metric(
    "copy-score", order=140, title="Copying statistic (C_T)", direction="higher", bounds=(None, None),
    meaning="below −3 is copying, near 0 is like test originals", citation="Meehan et al. 2020, arXiv 2004.05675",
    note="C_T, a standard score: below -3 is copying, near 0 is like test originals",
)  # fmt: skip
def copying_statistic_of(gram: ThreeWayGram) -> ThreeWayResult:
    """`copying_statistic` from Gram matrices."""
    return ThreeWayResult(_copying_statistic(gram))


@two_sample_metric(
    "authenticity", order=110, title="Authenticity (AuthPct)", direction="higher", against="train",
    meaning="share of images that are no mere variant of one original", minimum_fake=1, bounds=(0.0, 1.0),
    proportion_of="fake", biased=False, citation="Alaa et al. 2022, arXiv 2102.08921",
    note="AuthPct as a share; its floor is the test originals' share",
)  # fmt: skip
def authenticity_of(gram: GramMatrices) -> float:
    """Share of `authenticity` from Gram matrices, `real` being the training originals."""
    among = _to_nearest_other(gram.real_distances)
    nearest = gram.cross_distances.argmin(axis=0)
    return float((gram.cross_distances.min(axis=0) > among[nearest]).mean())


@two_sample_metric(
    "duplicates", order=150, title="Near duplicates", against="train", looks_at="fake", proportion_of="fake",
    meaning="share of synthetic images with a near twin among the others", bounds=(0.0, 1.0),
    citation="1st percentile of real-to-real nearest distances, within the synthetic set",
    note="share that would have a near duplicate in a synthetic set as large as the training set",
)  # fmt: skip
def duplicates_of(gram: GramMatrices) -> float:
    """Compute the share of fakes that would have a near duplicate in a synthetic set as large as the training set.

    A larger set has nearer neighbours even if nothing repeats. So each image's share of near duplicates among the
    others is taken as the probability of one, and N - 1 others are assumed whatever M is.

    Returns:
        0 to 1; lower is better.
    """
    n, m = gram.cross.shape
    threshold = np.quantile(_to_nearest_other(gram.real_distances), COPY_QUANTILE)
    near = (gram.fake_distances <= threshold).sum(axis=1) - 1  # itself
    # at least one of N - 1 independent others is near: 1 - (1 - p)^(N - 1)
    return float((1.0 - (1.0 - near / (m - 1)) ** (n - 1)).mean())


def _three_way_result(ranked: RankComparison) -> ThreeWayResult:
    p = "below 0.0001" if ranked.p_value < 1e-4 else f"{ranked.p_value:.4f}"
    return ThreeWayResult(ranked.probability, ranked.low, ranked.high, f"one-sided Mann-Whitney p {p}")


def _to_nearest_other(distances: Features) -> Floats:
    """`[N]`, smallest distance of each image to another one of its set, from distances `[N, N]`."""
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    return np.asarray(others.min(axis=1), np.float64)


def _copying_statistic(gram: ThreeWayGram) -> float:
    """C_T from Gram matrices; 0 where no cell has images of both kinds."""
    n_train, n_test, n_fake = gram.sizes
    k = max(1, min(_MOST_CELLS, n_test // _IMAGES_A_CELL, n_train // _IMAGES_A_CELL))
    members = _cells(gram.train_fake.real, k)  # [k, N]
    test_cell, fake_cell = (_cell_of(p, members) for p in (gram.train_test, gram.train_fake))
    from_test, from_fakes = (p.cross_distances.min(axis=0) for p in (gram.train_test, gram.train_fake))
    total = weight = 0.0
    for cell in range(len(members)):
        a, b = from_fakes[fake_cell == cell], from_test[test_cell == cell]
        if not len(b) or len(a) < max(1.0, _FEWEST_IN_CELL * n_fake):
            continue
        share = 1.0 - compare_ranks(a, b).probability  # of pairs in which the synthetic image is the farther one
        # the Mann-Whitney score Z_U = (U - a b / 2) / sqrt(a b (a + b + 1) / 12), with U = share * a b
        deviation = np.sqrt((len(a) + len(b) + 1) / (12.0 * len(a) * len(b)))
        # C_T is the mean of Z_U over the cells, weighted by the share of test originals in each
        total += len(b) * (share - 0.5) / deviation
        weight += len(b)
    return total / weight if weight else 0.0


def _cells(inner: Features, k: int) -> Features:
    """Cluster training originals by k-means on their inner products `[T, T]` alone.

    Returns:
        `[k, T]`, indicators of the cells divided by their size; at most k rows, as a cell may run empty.
    """
    # first the image nearest to the mean (least sum of squared distances), then one by one the image farthest from
    # all centres so far: no random start, so the same sets give the same value
    squared = np.diagonal(inner)[:, None] + np.diagonal(inner)[None] - 2.0 * inner
    chosen = [int(squared.sum(axis=1).argmin())]
    while len(chosen) < k:
        chosen.append(int(squared[:, chosen].min(axis=1).argmax()))
    owner = squared[:, chosen].argmin(axis=1)
    for _ in range(_LLOYD_STEPS):
        members = _indicators(owner)
        before, owner = owner, _assign(inner, members, inner)
        if (owner == before).all():
            break
    return _indicators(owner)


def _indicators(owner: Index) -> Features:
    """Membership `[k, T]` of cells `[T]`, each row divided by its sum: rows times features are the centres."""
    members = (owner[None] == np.unique(owner)[:, None]).astype(np.float64)
    return np.asarray(members / members.sum(axis=1, keepdims=True), np.float64)


def _cell_of(gram: GramMatrices, members: Features) -> Index:
    """`[M]`, nearest cell of each image of the second set."""
    return _assign(gram.real, members, gram.cross)


def _assign(inner: Features, members: Features, cross: Features) -> Index:
    """Nearest cell of each column of `cross` `[T, M]`, from inner products `[T, T]` and membership `[k, T]`."""
    # |x - c|^2 = |x|^2 - 2 c.x + |c|^2 with c = sum of m_n x_n; |x|^2 is the same for all cells and left out
    centre_lengths = np.einsum("kn,nm,km->k", members, inner, members, optimize=True)
    return np.asarray((centre_lengths[:, None] - 2.0 * members @ cross).argmin(axis=0), np.int64)
