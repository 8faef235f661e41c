from dataclasses import replace

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from synthbank.errors import OptionError
from synthbank.metrics import copy_rate, copy_threshold, metrics, nearest_neighbours
from synthbank.metrics._gram import gram_matrices


@pytest.mark.parametrize(("q", "r", "d", "k"), [(7, 9, 3, 1), (1100, 40, 5, 3), (30, 30, 200, 30)])
def test_neighbours_are_sklearns(q, r, d, k):
    rng = np.random.default_rng(q)
    query, reference = rng.normal(size=(q, d)) + 4, rng.normal(size=(r, d)) + 4
    distance, index = nearest_neighbours(query=query, reference=reference, k=k)
    expected = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(reference).kneighbors(query)
    np.testing.assert_array_equal(index, expected[1])
    np.testing.assert_allclose(distance, expected[0], rtol=1e-9)


def test_neighbours_of_a_set_in_itself_are_other_rows():
    x = np.random.default_rng(0).normal(size=(700, 4))  # more than one chunk
    distance, index = nearest_neighbours(query=x, reference=x, k=2, exclude_self=True)
    expected = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(x).kneighbors()
    np.testing.assert_array_equal(index, expected[1])
    np.testing.assert_allclose(distance, expected[0], rtol=1e-9)


def test_ties_go_to_the_earlier_position_however_many_there_are():
    reference = np.tile([[1.0, 2.0]], (50, 1))
    reference[3] = 90.0
    distance, index = nearest_neighbours(query=np.array([[1.0, 2.0], [5.0, 5.0]]), reference=reference, k=4)
    np.testing.assert_array_equal(index, [[0, 1, 2, 4]] * 2)
    np.testing.assert_array_equal(distance, [[0.0] * 4, [5.0] * 4])


def test_ties_among_many_others_go_to_the_earlier_position():
    rng = np.random.default_rng(5)
    reference = rng.integers(0, 3, size=(400, 3)).astype(float)  # few places, so many ties at each distance
    query = rng.integers(0, 3, size=(20, 3)).astype(float)
    distance, index = nearest_neighbours(query=query, reference=reference, k=100)
    for i, row in enumerate(query):
        exact = np.sqrt(((reference - row) ** 2).sum(axis=1))
        np.testing.assert_allclose(distance[i], np.sort(exact)[:100], atol=1e-12)
        for place in np.unique(reference[index[i]], axis=0):
            chosen = [j for j in index[i] if (reference[j] == place).all()]
            equal = np.flatnonzero((reference == place).all(axis=1))
            assert chosen == equal[: len(chosen)].tolist()


def test_equal_rows_are_exactly_zero_apart_even_far_from_the_origin():
    x = (np.random.default_rng(1).normal(size=(40, 300)) + 1e4).astype(np.float32)
    distance, index = nearest_neighbours(query=x[::-1], reference=x)
    assert (distance == 0).all()
    np.testing.assert_array_equal(index[:, 0], np.arange(40)[::-1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0}, "1 or more"),
        ({"k": 6}, "at least 6"),
        ({"k": 5, "exclude_self": True}, "at least 6"),
        ({"query": np.zeros((2, 3)), "exclude_self": True}, "one set"),
        ({"query": np.zeros((0, 3))}, "too few fake"),
        ({"query": np.zeros((2, 4))}, "different networks"),
        ({"query": np.full((2, 3), np.inf)}, "not finite"),
    ],
)
def test_impossible_neighbour_searches_raise(options, words):
    x = np.arange(15.0).reshape(5, 3)
    with pytest.raises(OptionError, match=words):
        nearest_neighbours(**{"query": x, "reference": x} | options)


def test_the_threshold_is_a_quantile_of_the_gaps_between_originals():
    # nearest others at 1, 1, 2, 4 of points on a line
    x = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert copy_threshold(real=x, quantile=0.0) == 1.0
    assert copy_threshold(real=x, quantile=0.5) == 1.5
    assert copy_threshold(real=x, quantile=1.0) == 4.0
    assert copy_threshold(real=x) == pytest.approx(np.quantile([1, 1, 2, 4], 0.01))
    with pytest.raises(OptionError, match="0 to 1"):
        copy_threshold(real=x, quantile=1.01)
    with pytest.raises(OptionError, match="at least 2"):
        copy_threshold(real=x[:1])


def test_copy_rate_counts_copies_and_nothing_else():
    rng = np.random.default_rng(2)
    originals = rng.normal(size=(80, 20))
    honest = rng.normal(size=(30, 20)) + 2.0
    copies = originals[:10] + 1e-3 * rng.normal(size=(10, 20))
    fake = np.concatenate([honest, copies])
    threshold = copy_threshold(real=originals)
    assert copy_rate(real=originals, fake=fake, threshold=threshold) == 0.25
    assert copy_rate(real=originals, fake=honest, threshold=threshold) == 0.0
    assert metrics.get("copy-rate")(gram_matrices(real=originals, fake=fake)) == 0.25


def test_an_image_at_the_threshold_counts():
    originals = np.array([[0.0], [1.0], [2.0]])
    assert copy_rate(real=originals, fake=np.array([[3.0], [3.1]]), threshold=1.0) == 0.5


def test_exact_copies_count_even_where_originals_repeat():
    x = np.repeat(np.random.default_rng(3).normal(size=(10, 6)) + 3, 2, axis=0)
    assert copy_threshold(real=x) == 0.0
    assert copy_rate(real=x, fake=x[:5], threshold=0.0) == 1.0
    assert metrics.get("copy-rate")(gram_matrices(real=x, fake=x[:5])) == 1.0
    assert metrics.get("copy-rate")(gram_matrices(real=x, fake=x[:5] + 1e-3)) == 0.0


def test_rounding_errors_between_equal_images_do_not_hide_copies():
    x = np.random.default_rng(6).normal(size=(37, 1280)) + 3
    x = np.concatenate([x, x[::-1]])  # every original twice: the threshold is zero
    gram = gram_matrices(real=x, fake=x[5:20])
    # whether sums in another order differ is up to the processor: a last digit stands for it
    gram = replace(gram, cross=gram.cross * (1 - np.finfo(np.float64).eps))
    lengths = np.diagonal(gram.real)[:, None] + np.diagonal(gram.fake)[None]
    rounded = np.sort(np.abs(lengths - 2 * gram.cross), axis=0)[:2]
    assert rounded.max() > 0  # there is something to forgive
    assert metrics.get("copy-rate")(gram) == 1.0


def test_copy_rate_of_test_originals_is_about_the_quantile_of_the_threshold():
    rng = np.random.default_rng(4)
    train, test = rng.normal(size=(1000, 4)), rng.normal(size=(1000, 4))
    assert copy_rate(real=train, fake=test, threshold=copy_threshold(real=train)) == pytest.approx(0.01, abs=0.01)
    assert copy_rate(real=train, fake=train, threshold=copy_threshold(real=train)) == 1.0
