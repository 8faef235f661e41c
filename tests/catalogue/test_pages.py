"""Every filter of a page of images, against the same filter said in plain Python."""

from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import pytest

from synthbank.catalogue import queries
from synthbank.catalogue.queries import ImageFilter

START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def rows(filled, image_rows):
    """Eighty images of two models in all verdicts, at ten moments, some without a distance."""
    rng = np.random.default_rng(0)
    made = image_rows("job-alpha", 20) + image_rows("job-beta", 20)
    for i, row in enumerate(made):
        row["created_at"] = START + timedelta(minutes=int(rng.integers(10)))
        row["verdict"] = ("accepted", "accepted", "rejected", "withdrawn")[rng.integers(4)]
        row["nearest_distance"] = None if i % 9 == 0 else float(rng.integers(1, 6))
    with filled.session() as session:
        queries.add_images(made, session=session)
    return made


def fits(row, wanted):
    equal = ("job_id", "model_id", "class_name", "verdict")
    if any(getattr(wanted, name) not in (None, row[name]) for name in equal):
        return False
    distance = row["nearest_distance"]
    low, high = wanted.min_distance, wanted.max_distance
    if (low is not None or high is not None) and distance is None:
        return False
    return (
        (wanted.since is None or row["created_at"] >= wanted.since)
        and (wanted.until is None or row["created_at"] < wanted.until)
        and (low is None or distance >= low)
        and (high is None or distance <= high)
    )


def expected(rows, wanted, order):
    found = [row for row in rows if fits(row, wanted)]
    if order == "newest":
        return [row["id"] for row in sorted(found, key=lambda r: (r["created_at"], r["id"]), reverse=True)]
    if order == "nearest":
        with_distance = [row for row in found if row["nearest_distance"] is not None]
        return [row["id"] for row in sorted(with_distance, key=lambda r: (r["nearest_distance"], r["id"]))]
    return sorted(row["id"] for row in found)


FILTERS = [
    ImageFilter(job, model, class_name, verdict, *times, *distances)
    for job, model, class_name, verdict, times, distances in product(
        (None, "job-beta"),
        (None, "alpha"),
        (None, "dab_positive"),
        (None, "accepted", "withdrawn"),
        ((None, None), (START + timedelta(minutes=2), START + timedelta(minutes=7))),
        ((None, None), (2.0, 4.0)),
    )
]


@pytest.mark.parametrize("order", ["newest", "nearest", "id"])
def test_every_filter_shows_what_it_says_page_by_page(filled, rows, order):
    with filled.session(read_only=True) as session:
        for wanted in FILTERS:
            seen, after = [], None
            while True:
                page = queries.page_images(wanted, session=session, order=order, after=after, limit=7)
                seen += [row.id for row in page]
                if len(page) < 7:
                    break
                after = page[-1].id
            assert seen == expected(rows, wanted, order), wanted


def test_a_filter_by_a_name_that_nobody_has_is_empty(filled, rows):
    with filled.session(read_only=True) as session:
        for wanted in (ImageFilter(job_id="none"), ImageFilter(model_id="none"), ImageFilter(class_name="none")):
            assert queries.page_images(wanted, session=session) == []


@pytest.mark.parametrize("order", ["newest", "nearest"])
def test_no_page_sorts_or_scans_the_table(filled, rows, order, database):
    """The plan of each page's query: an index in the order of the page, for every branch."""
    if database != "sqlite":
        pytest.skip("PostgreSQL scans a table as small as this one; benchmarks/catalogue.py measures it")
    statements = []
    with filled.session(read_only=True) as session:
        connection = session.connection()
        original = session.execute

        def spy(statement, *args, **kwargs):
            statements.append(statement.compile(connection, compile_kwargs={"literal_binds": True}))
            return original(statement, *args, **kwargs)

        session.execute = spy
        filters = [f for f in FILTERS if f.min_distance is None]
        for wanted in filters:
            queries.page_images(wanted, session=session, order=order, limit=7)
        del session.execute
        pages = [str(s) for s in statements if "FROM image" in str(s)]
        assert len(pages) == len(filters)
        for page in pages:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {page}")]
            assert not [line for line in plan if line == "SCAN image"], (page, plan)
            assert [line for line in plan if "INDEX ix_image_" in line], (page, plan)
