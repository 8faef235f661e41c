import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from synthbank.storage import ArrayCache

D = 6


@pytest.fixture
def cache(tmp_path):
    return ArrayCache(tmp_path / "cache" / "features.db")


def vectors(n, first=0):
    rng = np.random.default_rng(first)
    return {f"k{first + i}": rng.normal(size=D).astype(np.float32) for i in range(n)}


def test_what_was_put_is_got_and_nothing_else(cache):
    stored = vectors(700)
    cache.put("a", stored)
    found = cache.get("a", [*stored, "other"], length=D)
    assert set(found) == set(stored)
    assert all(np.array_equal(found[k], v) for k, v in stored.items())
    assert cache.get("b", list(stored), length=D) == {}


def test_an_empty_cache_makes_no_file(cache):
    assert cache.get("a", ["x"], length=D) == {}
    cache.put("a", {})
    assert cache.clear() == 0
    assert not cache.path.parent.exists()


def test_a_corrupt_entry_and_one_of_another_length_are_as_good_as_none(cache):
    stored = vectors(3)
    cache.put("a", stored)
    with sqlite3.connect(cache.path) as connection:
        connection.execute("UPDATE array SET value = zeroblob(?) WHERE key = 'k1'", (4 * D,))
        connection.execute("UPDATE array SET value = zeroblob(3) WHERE key = 'k2'")
    connection.close()
    assert set(cache.get("a", list(stored), length=D)) == {"k0"}
    assert cache.get("a", ["k0"], length=D + 1) == {}
    cache.put("a", {"k1": stored["k1"]})
    assert np.array_equal(cache.get("a", ["k1"], length=D)["k1"], stored["k1"])


def test_a_file_that_is_no_database_is_replaced(cache):
    cache.path.parent.mkdir()
    cache.path.write_bytes(b"this is no database" * 400)
    assert cache.get("a", ["x"], length=D) == {}
    cache.put("a", vectors(2))
    assert len(cache.get("a", ["k0", "k1"], length=D)) == 2


def test_it_stays_within_its_bound_and_drops_the_oldest(tmp_path):
    cache = ArrayCache(tmp_path / "features.db", most_bytes=200_000)
    for first in range(0, 20):
        cache.put("a", {f"k{first}-{i}": np.full(1000, first, np.float32) for i in range(10)})
    assert cache.path.stat().st_size < 400_000
    keys = [f"k{first}-{i}" for first in range(20) for i in range(10)]
    found = cache.get("a", keys, length=1000)
    assert 10 <= len(found) <= 50
    assert "k19-0" in found
    assert "k0-0" not in found


def test_clearing_empties_the_file(cache):
    cache.put("a", {f"k{i}": np.ones(4000, np.float32) for i in range(50)})
    assert cache.clear() > 50 * 16_000
    assert cache.path.stat().st_size < 50_000
    assert cache.get("a", ["k0"], length=4000) == {}


_WRITER = """
import sys, numpy as np
from pathlib import Path
from synthbank.storage import ArrayCache
cache = ArrayCache(Path(sys.argv[1]))
for i in range(60):
    cache.put("a", {f"k{i}-{j}": np.full(50, i + j, np.float32) for j in range(5)})
"""


def test_two_processes_may_write_the_same_cache(cache):
    cache.path.parent.mkdir()
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(cache.path)]) for _ in range(2)]
    assert [w.wait(timeout=60) for w in writers] == [0, 0]
    found = cache.get("a", [f"k{i}-{j}" for i in range(60) for j in range(5)], length=50)
    assert len(found) == 300
    assert found["k7-3"].tolist() == [10.0] * 50
