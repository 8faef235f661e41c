"""Estimates are sums over the table, and the table says how good it is."""

import pytest

from synthbank.cloud.jobs import JobOptions, Machine
from synthbank.cloud.prices import endpoint_cost, example_prices, hour, job_cost, load_prices, standing_costs
from synthbank.errors import OptionError, UnknownNameError

TABLE = """
checked: 2020-02-03
by: Ada
currency: EUR
machines: {m: 2.0}
accelerators: {A: 3.0}
spot: 0.5
database_hour: 0.1
database_gb_month: 0.2
storage_gb_month: 0.02
registry_gb_month: 0.1
build_minute: 0.01
"""


@pytest.fixture
def prices(tmp_path):
    (tmp_path / "prices.yaml").write_text(TABLE)
    return load_prices(tmp_path / "prices.yaml")


def test_sums(prices):
    machine = Machine("m", "A", 2)
    assert hour(prices, machine) == 2 + 2 * 3
    assert hour(prices, Machine("m", None), spot=True) == 1
    assert job_cost(prices, JobOptions(machine, max_hours=10)).amount == 10 * 8 * 0.5
    assert job_cost(prices, JobOptions(machine, spot=False, max_hours=10), hours=1).amount == 8
    assert endpoint_cost(prices, Machine("m", None), 3).amount == 3 * 730 * 2
    amounts = [c.amount for c in standing_costs(prices, stored_gb=50, database_gb=10, image_gb=4)]
    assert amounts == pytest.approx([75, 1, 0.4])
    assert "2020-02-03" in prices.origin
    assert "Ada" in prices.origin


def test_the_example_says_that_it_is_one_and_knows_the_default_machines(tmp_path):
    from synthbank.cloud.serving import SERVING

    example = load_prices(tmp_path / "none.yaml")
    assert "check and edit" in example.origin
    assert example_prices().startswith("# EXAMPLE")
    assert 0 < hour(example, SERVING) < hour(example, JobOptions().machine) < 10


def test_unknown_and_broken(prices, tmp_path):
    with pytest.raises(UnknownNameError, match="prices"):
        hour(prices, Machine("q"))
    (tmp_path / "bad.yaml").write_text(TABLE.replace("spot: 0.5", "spot: 5"))
    with pytest.raises(OptionError, match="spot"):
        load_prices(tmp_path / "bad.yaml")
