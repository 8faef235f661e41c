"""Prices: a small table that the user maintains, and estimates from it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synthbank.cloud.jobs import JobOptions, Machine
from synthbank.errors import OptionError, UnknownNameError

FILE = "prices.yaml"
HOURS_A_MONTH = 730.0

_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Prices(BaseModel):
    """A price table, in one currency; the comments of `prices.yaml` explain its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checked: datetime.date
    by: str
    """Name of the person who looked the prices up; "example": nobody did."""
    currency: str
    machines: dict[str, _Price]
    accelerators: dict[str, _Price]
    spot: Annotated[float, Field(gt=0, le=1)]
    database_hour: _Price
    database_gb_month: _Price
    storage_gb_month: _Price
    registry_gb_month: _Price
    build_minute: _Price

    @property
    def origin(self) -> str:
        """One line that names the source and date of the prices."""
        if self.by == "example":
            return f"example prices of {self.checked}: check and edit {FILE}"
        return f"prices of {self.checked}, looked up by {self.by}"


@dataclass(frozen=True)
class Cost:
    """One line of an estimate."""

    what: str
    amount: float
    """In the currency of the table."""
    per: str
    """"once" or "month"."""


def hour(prices: Prices, machine: Machine, *, spot: bool = False) -> float:
    """Price of an hour of a machine with its accelerators.

    Raises:
        UnknownNameError: the table has no price for it.
    """
    price = _price("machine", machine.type, prices.machines)
    if machine.accelerator is not None:
        price += machine.count * _price("accelerator", machine.accelerator, prices.accelerators)
    return price * (prices.spot if spot else 1.0)


def job_cost(prices: Prices, options: JobOptions, hours: float | None = None) -> Cost:
    """Cost of a custom job of so many hours; `None`: the most that it can cost, until Vertex AI ends it."""
    length = options.max_hours if hours is None else hours
    how = "spot" if options.spot else "on demand"
    what = f"{length:g} h of {options.machine.type} with {options.machine.accelerator or 'no accelerator'}, {how}"
    return Cost(what, length * hour(prices, options.machine, spot=options.spot), "once")


def endpoint_cost(prices: Prices, machine: Machine, replicas: int) -> Cost:
    """Monthly cost of an endpoint, which costs by the hour, used or not."""
    what = f"endpoint, {replicas} x {machine.type} with {machine.accelerator or 'no accelerator'}, always on"
    return Cost(what, replicas * HOURS_A_MONTH * hour(prices, machine), "month")


def build_cost(prices: Prices, minutes: float) -> Cost:
    """Cost of a build of the image."""
    return Cost(f"build of {minutes:g} minutes", minutes * prices.build_minute, "once")


def standing_costs(prices: Prices, *, stored_gb: float, database_gb: float, image_gb: float) -> list[Cost]:
    """Monthly costs of the resources that `init` sets up, used or not."""
    database = HOURS_A_MONTH * prices.database_hour + database_gb * prices.database_gb_month
    return [
        Cost(f"Cloud SQL with {database_gb:g} GB, always on", database, "month"),
        Cost(f"{stored_gb:g} GB in the bucket", stored_gb * prices.storage_gb_month, "month"),
        Cost(f"{image_gb:g} GB of container images", image_gb * prices.registry_gb_month, "month"),
    ]


def load_prices(path: Path) -> Prices:
    """The user's table; where there is none, the example that comes with the package.

    Raises:
        OptionError: the table is not YAML, or a field is missing or not allowed.
    """
    text = path.read_text() if path.exists() else example_prices()
    try:
        return Prices.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        reason = "it is not YAML"
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise OptionError("The price table cannot be used", got=f"{path}: {reason}") from error


def example_prices() -> str:
    """The text of the table that comes with the package."""
    return resources.files("synthbank.cloud").joinpath(FILE).read_text()


def _price(kind: str, name: str, table: dict[str, float]) -> float:
    if name not in table:
        raise UnknownNameError(f"{kind} in the price table", name, table, next_step=f"add its price to {FILE}")
    return table[name]
