"""Shared parts of the `cloud` commands: groups of options, the dry run, the question about costs, and sending."""

from __future__ import annotations

import json as jsons
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthbank.cli.options import JsonOption
from synthbank.cli.output import say, say_json, talk, working
from synthbank.errors import StateError

if TYPE_CHECKING:
    from synthbank.cloud import CloudSettings, JobOptions, Machine, Request, Sender
    from synthbank.cloud.prices import Cost, Prices

SettingsOption = Annotated[Path, typer.Option("--settings", help="The cloud settings; prices.yaml lies beside them.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print every request in order and send none.")]
_ENDED = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"}


@dataclass(frozen=True)
class ReadFlags:
    """Options of a command that creates and deletes nothing."""

    settings: SettingsOption = Path("cloud.yaml")
    dry_run: DryRunOption = False
    json: JsonOption = False


@dataclass(frozen=True)
class SendFlags(ReadFlags):
    """Options of a command that creates or deletes something."""

    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before something is created or deleted.")] = False
    poll: Annotated[float, typer.Option("--poll", hidden=True, help="Seconds between two looks.")] = 10.0


@dataclass(frozen=True)
class MachineFlags:
    """The machine of a job or an endpoint."""

    machine: Annotated[str, typer.Option("--machine", help="Machine type of Google Cloud.")] = "g2-standard-8"
    accelerator: Annotated[str, typer.Option("--accelerator", help="Such as NVIDIA_L4; none: the CPU alone.")] = (
        "NVIDIA_L4"
    )
    accelerators: Annotated[int, typer.Option("--accelerators", min=1, help="How many of them.")] = 1

    def to_machine(self) -> Machine:
        """The machine of a request."""
        from synthbank.cloud import Machine

        accelerator = None if self.accelerator.lower() == "none" else self.accelerator
        return Machine(self.machine, accelerator, self.accelerators)


@dataclass(frozen=True)
class JobFlags(MachineFlags):
    """The machine of a job, its price and its end."""

    on_demand: Annotated[
        bool, typer.Option("--on-demand", help="No spot machine: it costs more, and is never preempted.")
    ] = False
    max_hours: Annotated[float, typer.Option("--max-hours", help="Google Cloud ends the job after so long.")] = 24.0
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end of the job.")] = False

    def to_options(self) -> JobOptions:
        """The options of a request."""
        from synthbank.cloud import JobOptions

        return JobOptions(self.to_machine(), not self.on_demand, self.max_hours)


def load(path: Path) -> tuple[CloudSettings, Prices]:
    """The cloud settings of a file, and the price table beside it."""
    from synthbank.cloud import load_prices, load_settings
    from synthbank.cloud.prices import FILE

    return load_settings(path), load_prices(path.with_name(FILE))


def confirm(requests: Sequence[Request], costs: Sequence[Cost], prices: Prices, flags: ReadFlags) -> bool:
    """`True` if the requests are to be sent: not in a dry run, which prints them, and not before the user agrees.

    Raises:
        typer.Abort: the user does not agree.
    """
    from synthbank.cloud.request import check

    if flags.dry_run:
        for request in requests:
            check(request)  # a dry run also shows that the client library accepts every body
        _show_requests(requests, costs, prices, flags.json)
        return False
    if costs:
        _show_costs(costs, prices)
    if isinstance(flags, SendFlags) and not flags.yes:
        typer.confirm("Continue?", abort=True, err=True)
    return True


def sending(settings: CloudSettings, poll: float = 10.0) -> AbstractContextManager[Sender]:
    """A sender with the credentials of this machine."""
    from synthbank.cloud import sender

    return sender(settings, poll_sec=poll)


def submit_job(request: Request, options: JobOptions, flags: SendFlags, *, wait: bool) -> None:
    """Send the request of a custom job, after a question, and show the job; with `wait` at its end."""
    from synthbank.cloud import job_cost

    settings, prices = load(flags.settings)
    if not confirm([request], [job_cost(prices, options)], prices, flags):
        return
    with sending(settings, flags.poll) as send:
        job = send.send(request)
        if wait:
            job = _wait_for(send, request, job["name"])
    if flags.json:
        say_json(job)
        return
    say(f"{job['name']}: {state_of(job)}")


def state_of(entry: dict[str, Any]) -> str:
    """The state of a job, or the number of models on an endpoint, in words."""
    if "deployedModels" in entry:
        return f"{len(entry['deployedModels'])} deployed"
    return str(entry.get("state", "")).removeprefix("JOB_STATE_").lower()


def _wait_for(send: Sender, request: Request, name: str) -> dict[str, Any]:
    """The job at its end; raises `StateError` if it did not succeed."""
    url = f"{request.url.partition('/v1/')[0]}/v1/{name}"
    with working("waiting for the job") as show:

        def look() -> dict[str, Any]:
            job = send.get(url)
            show(f"{name}: {state_of(job)}")
            return job

        job = send.wait(look, lambda latest: latest.get("state") in _ENDED)
    if job["state"] != "JOB_STATE_SUCCEEDED":
        raise StateError(
            "The job did not succeed",
            got=f"{state_of(job)}: {job.get('error', {}).get('message', 'no reason given')}",
            next_step=f"gcloud ai custom-jobs stream-logs {name}",
        )
    return job


def _show_requests(requests: Sequence[Request], costs: Sequence[Cost], prices: Prices, json: bool) -> None:
    if json:
        say_json({"requests": [request.to_json() for request in requests], "costs": costs, "prices": prices.origin})
        return
    for request in requests:
        shown = request.to_json()
        say(f"{shown.pop('method')} {shown.pop('url')}")
        for name in ("body", "data"):
            if name in shown:
                say(jsons.dumps(shown[name], indent=2, ensure_ascii=False))
        if "then" in shown:
            say(f"# {shown['then']}")
    if costs:
        _show_costs(costs, prices)


def _show_costs(costs: Sequence[Cost], prices: Prices) -> None:
    for cost in costs:
        period = "a month" if cost.per == "month" else "at most"
        talk(f"  {cost.what}: about {cost.amount:.2f} {prices.currency} {period}")
    talk(f"  ({prices.origin})")
