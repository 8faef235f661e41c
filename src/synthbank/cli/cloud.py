"""`cloud`: the same commands on Google Cloud."""

from __future__ import annotations

import base64
import json as jsons
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from synthbank.cli.output import JsonOption, save, say, say_json, say_table, talk, working
from synthbank.config import read_options
from synthbank.errors import OptionError, StateError

if TYPE_CHECKING:
    from synthbank.cloud import CloudSettings, JobOptions, Request, Sender
    from synthbank.cloud.prices import Cost, Prices

SettingsOption = Annotated[Path, typer.Option("--settings", help="The cloud settings; prices.yaml lies beside them.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print every request in order and send none.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask before something is created or taken away.")]
MachineOption = Annotated[str, typer.Option("--machine", help="Machine type of Google Cloud.")]
AcceleratorOption = Annotated[str, typer.Option("--accelerator", help="Such as NVIDIA_L4; none: the CPU alone.")]
CountOption = Annotated[int, typer.Option("--accelerators", min=1, help="How many of them.")]
OnDemandOption = Annotated[bool, typer.Option("--on-demand", help="No spot machine: dearer, and never taken away.")]
HoursOption = Annotated[float, typer.Option("--max-hours", help="Google Cloud ends the job after so long.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait for the end of the job.")]
PollOption = Annotated[float, typer.Option("--poll", hidden=True, help="Seconds between two looks.")]

_HERE = Path("cloud.yaml")
_ENDED = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"}
_FORWARD = {"allow_extra_args": True, "ignore_unknown_options": True}


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    cloud = typer.Typer(help="The same on Google Cloud (Vertex AI).", no_args_is_help=True)
    for command in (init, build, train, generate, deploy, predict, status, undeploy, cost):
        cloud.command(context_settings=_FORWARD if command in (train, generate) else None)(command)
    app.add_typer(cloud, name="cloud")


def init(
    project: Annotated[str, typer.Option(help="Id of the Google Cloud project.")],
    bucket: Annotated[str, typer.Option(help="Name of the bucket, unique in the world.")],
    region: Annotated[str, typer.Option(help="Where everything is.")] = "europe-west4",
    prefix: Annotated[str, typer.Option(help="Folder of the bank in the bucket, and its label.")] = "bank",
    person: Annotated[list[str] | None, typer.Option(help="Who may use it: user:ada@example.org; repeatable.")] = None,
    folder: Annotated[Path, typer.Option("--to", help="Where the files go.")] = Path("."),
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there with another text.")] = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Write cloud.yaml, an example price table, and Terraform for bucket, database, accounts and image repository."""
    from synthbank.cloud import make_settings, setup_files, write_files

    values = {"project": project, "bucket": bucket, "region": region, "prefix": prefix}
    files = setup_files(make_settings(values, where="the options"), person or [])
    if dry_run:
        if json:
            say_json({"requests": [], "files": files})
        else:
            say("\n".join(f"# {name}\n{text}" for name, text in files.items()))
        return
    written = write_files(folder, files, force=force)
    if json:
        say_json({"written": [str(path) for path in written]})
        return
    for path in written:
        say(str(path))
    talk(f"next: look at them, then: cd {folder / 'terraform'} && terraform init && terraform apply")


def build(
    source: Annotated[Path, typer.Option("--source", help="A checkout of SynthBank.")] = Path("."),
    argument: Annotated[list[str] | None, typer.Option("--build-arg", help="KEY=VALUE, repeatable.")] = None,
    settings: SettingsOption = _HERE,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    poll: PollOption = 10.0,
    json: JsonOption = False,
) -> None:
    """Build the container image with Cloud Build, from what git tracks in a checkout."""
    from synthbank.cloud import build_cost, build_requests, pack

    found, prices = _given(settings)
    requests = build_requests(found, pack(source), _pairs(argument))
    if _stop_here(requests, [build_cost(prices, 15)], prices, dry_run=dry_run, yes=yes, json=json):
        return
    with _sending(found, poll) as send, working("building") as show:
        for request in requests:
            show(f"{request.method} {request.url}")
            send.send(request)
    say_json({"image": found.image_uri}) if json else say(f"image: {found.image_uri}")


def train(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the data set in the bank.")],
    machine: MachineOption = "g2-standard-8",
    accelerator: AcceleratorOption = "NVIDIA_L4",
    accelerators: CountOption = 1,
    on_demand: OnDemandOption = False,
    max_hours: HoursOption = 24.0,
    config: Annotated[Path | None, typer.Option(help="YAML file with options, as of synthbank train.")] = None,
    wait: WaitOption = False,
    settings: SettingsOption = _HERE,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    poll: PollOption = 30.0,
    json: JsonOption = False,
) -> None:
    """Train on Vertex AI; further options are those of synthbank train. A spot machine that is lost is replaced."""
    from synthbank.cloud import train_request

    options = _job_options(machine, accelerator, accelerators, on_demand, max_hours)
    words = _words(context, "train", name, [*_assignments(config), *context.args], device=options.machine.device)
    found, prices = _given(settings)
    _run_job(found, prices, train_request(found, name, words, options), options, wait, dry_run, yes, poll, json)


def generate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Name of a published model of the bank.")],
    machine: MachineOption = "g2-standard-8",
    accelerator: AcceleratorOption = "NVIDIA_L4",
    accelerators: CountOption = 1,
    on_demand: OnDemandOption = False,
    max_hours: HoursOption = 24.0,
    wait: WaitOption = False,
    settings: SettingsOption = _HERE,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    poll: PollOption = 30.0,
    json: JsonOption = False,
) -> None:
    """Make images on Vertex AI; further options are those of synthbank generate."""
    from synthbank.cloud import generate_request

    options = _job_options(machine, accelerator, accelerators, on_demand, max_hours)
    found, prices = _given(settings)
    words = _words(context, "generate", model, context.args, device=options.machine.device)
    request = generate_request(found, model, words, options)
    _run_job(found, prices, request, options, wait, dry_run, yes, poll, json)


def deploy(
    model: Annotated[str, typer.Argument(help="Name of a published model of the bank.")],
    machine: MachineOption = "n1-standard-4",
    accelerator: AcceleratorOption = "none",
    accelerators: CountOption = 1,
    replicas: Annotated[int, typer.Option(help="Machines that always run.")] = 1,
    most_replicas: Annotated[int | None, typer.Option(help="Machines at most, under load.")] = None,
    settings: SettingsOption = _HERE,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    poll: PollOption = 10.0,
    json: JsonOption = False,
) -> None:
    """Upload a model with its container, make an endpoint, and deploy on it. It costs by the hour until undeploy."""
    from synthbank.cloud import deploy_requests, endpoint_cost

    found, prices = _given(settings)
    on = _machine(machine, accelerator, accelerators)
    most = max(replicas, most_replicas or 0)
    requests = deploy_requests(found, model, machine=on, replicas=replicas, most_replicas=most)
    if _stop_here(requests, [endpoint_cost(prices, on, most)], prices, dry_run=dry_run, yes=yes, json=json):
        return
    with _sending(found, poll) as send, working(f"deploying {model}") as show:
        for request, step in zip(requests, ("uploading the model", "making the endpoint", "deploying"), strict=True):
            show(step)
            send.send(request)
    endpoint = requests[-1].url.removesuffix(":deployModel")
    say_json({"endpoint": endpoint}) if json else say(f"endpoint: {endpoint}")
    talk(f"next: synthbank cloud predict {model} -n 2; it costs until: synthbank cloud undeploy {model}")


def predict(
    model: Annotated[str, typer.Argument(help="Name of a deployed model.")],
    class_name: Annotated[str | None, typer.Option("--class", help="Only this class.")] = None,
    n: Annotated[int, typer.Option("-n", "--number", min=1, help="Images of each class.")] = 1,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same images.")] = None,
    truncation: Annotated[float | None, typer.Option(help="1: everything; towards 0: less varied.")] = None,
    to: Annotated[Path, typer.Option("--to", help="Folder for the images.")] = Path("predicted"),
    settings: SettingsOption = _HERE,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Ask the endpoint for images; each is in the catalogue as well."""
    from synthbank.cloud import images_of, predict_request

    found, prices = _given(settings)
    request = predict_request(found, model, class_name=class_name, count=n, seed=seed, truncation=truncation)
    if _stop_here([request], [], prices, dry_run=dry_run, yes=True, json=json):
        return
    with _sending(found) as send, working("asking the endpoint"):
        images = images_of(send.send(request))
    rows = [{"id": image["id"], "class": image["class"], "file": _saved(image, to)} for image in images]
    if json:
        say_json({"images": rows})
        return
    say_table(f"{len(rows)} images", ("id", "class", "file"), [tuple(row.values()) for row in rows])


def status(settings: SettingsOption = _HERE, dry_run: DryRunOption = False, json: JsonOption = False) -> None:
    """List jobs, models and endpoints of this bank, found by its label."""
    from synthbank.cloud import status_requests

    found, prices = _given(settings)
    requests = status_requests(found)
    if _stop_here(list(requests.values()), [], prices, dry_run=dry_run, yes=True, json=json):
        return
    with _sending(found) as send, working("looking"):
        lists = {kind: list(send.pages(request, kind)) for kind, request in requests.items()}
    if json:
        say_json(lists)
        return
    rows = [
        (kind, entry["displayName"], _state(entry), entry["name"]) for kind, all_ in lists.items() for entry in all_
    ]
    say_table("on Google Cloud", ("kind", "what", "state", "name"), rows)


def undeploy(
    model: Annotated[str, typer.Argument(help="Name of a deployed model.")],
    settings: SettingsOption = _HERE,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    poll: PollOption = 10.0,
    json: JsonOption = False,
) -> None:
    """Take the endpoint away, and the model from Vertex AI's registry. The bank keeps its model and all images."""
    from synthbank.cloud import undeploy_requests

    found, prices = _given(settings)
    requests = undeploy_requests(found, model)
    if _stop_here(requests, [], prices, dry_run=dry_run, yes=yes, json=json):
        return
    with _sending(found, poll) as send, working(f"taking {model} away"):
        for request in requests:
            send.send(request)
    say_json({"undeployed": model}) if json else say(f"{model} is not on Vertex AI any more")


def cost(
    machine: MachineOption = "g2-standard-8",
    accelerator: AcceleratorOption = "NVIDIA_L4",
    accelerators: CountOption = 1,
    on_demand: OnDemandOption = False,
    hours: Annotated[float, typer.Option(help="Hours of jobs.", min=0)] = 4.0,
    replicas: Annotated[int, typer.Option(help="Machines of the endpoint (n1-standard-4); 0: none.", min=0)] = 1,
    stored_gb: Annotated[float, typer.Option(help="GB in the bucket.", min=0)] = 10.0,
    database_gb: Annotated[float, typer.Option(help="GB of the database.", min=0)] = 10.0,
    image_gb: Annotated[float, typer.Option(help="GB of container images.", min=0)] = 5.0,
    settings: SettingsOption = _HERE,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Estimate what it costs, from your price table. Asks Google nothing."""
    from synthbank.cloud import endpoint_cost, job_cost, load_prices, standing_costs
    from synthbank.cloud.prices import FILE
    from synthbank.cloud.serving import SERVING

    prices = load_prices(settings.with_name(FILE))
    costs = [job_cost(prices, _job_options(machine, accelerator, accelerators, on_demand, 24.0), hours)]
    costs += [endpoint_cost(prices, SERVING, replicas)] if replicas else []
    costs += standing_costs(prices, stored_gb=stored_gb, database_gb=database_gb, image_gb=image_gb)
    if json:
        say_json({"requests": [], "costs": costs, "currency": prices.currency, "prices": prices.origin})
        return
    rows = [(one.what, f"{one.amount:.2f}", "a month" if one.per == "month" else "once") for one in costs]
    say_table(f"{prices.currency}, {prices.origin}", ("what", "about", "paid"), rows)
    if dry_run:
        talk("no request is ever sent for an estimate")


def _run_job(
    found: CloudSettings,
    prices: Prices,
    request: Request,
    options: JobOptions,
    wait: bool,
    dry_run: bool,
    yes: bool,
    poll: float,
    json: bool,
) -> None:
    from synthbank.cloud import job_cost

    if _stop_here([request], [job_cost(prices, options)], prices, dry_run=dry_run, yes=yes, json=json):
        return
    with _sending(found, poll) as send:
        job = send.send(request)
        if wait:
            job = _waited(send, request, job["name"])
    if json:
        say_json(job)
        return
    say(f"{job['name']}: {_state(job)}")


def _waited(send: Sender, request: Request, name: str) -> dict[str, Any]:
    url = f"{request.url.partition('/v1/')[0]}/v1/{name}"
    with working("waiting for the job") as show:

        def look() -> dict[str, Any]:
            job = send.get(url)
            show(f"{name}: {_state(job)}")
            return job

        job = send.wait(look, lambda found: found.get("state") in _ENDED)
    if job["state"] != "JOB_STATE_SUCCEEDED":
        raise StateError(
            "The job did not succeed",
            got=f"{_state(job)}: {job.get('error', {}).get('message', 'no reason given')}",
            next_step=f"gcloud ai custom-jobs stream-logs {name}",
        )
    return job


def _stop_here(
    requests: Sequence[Request], costs: Sequence[Cost], prices: Prices, *, dry_run: bool, yes: bool, json: bool
) -> bool:
    """Show requests or costs, ask, and say whether the command ends here."""
    from synthbank.cloud.request import check

    if dry_run:
        for request in requests:
            check(request)
        _show_requests(requests, costs, prices, json)
        return True
    if costs:
        _show_costs(costs, prices)
    if not yes:
        typer.confirm("Go on?", abort=True, err=True)
    return False


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
    for one in costs:
        talk(f"  {one.what}: about {one.amount:.2f} {prices.currency} {'a month' if one.per == 'month' else 'at most'}")
    talk(f"  ({prices.origin})")


def _given(path: Path) -> tuple[CloudSettings, Prices]:
    from synthbank.cloud import load_prices, load_settings
    from synthbank.cloud.prices import FILE

    return load_settings(path), load_prices(path.with_name(FILE))


def _sending(found: CloudSettings, poll: float = 10.0) -> Any:
    from synthbank.cloud import sender

    return sender(found, poll_sec=poll)


def _machine(machine: str, accelerator: str, count: int) -> Any:
    from synthbank.cloud import Machine

    return Machine(machine, None if accelerator.lower() == "none" else accelerator, count)


def _job_options(machine: str, accelerator: str, count: int, on_demand: bool, max_hours: float) -> JobOptions:
    from synthbank.cloud import JobOptions

    return JobOptions(_machine(machine, accelerator, count), not on_demand, max_hours)


def _words(context: typer.Context, kind: str, name: str, words: Sequence[str], *, device: str) -> list[str]:
    """Options of `synthbank train` or `generate`, checked by that command's own parser before anything is sent."""
    if name.startswith("-"):
        raise OptionError(f"cloud {kind} takes the name first", got=name, next_step=f"synthbank cloud {kind} NAME …")
    root = context.find_root().command
    assert isinstance(root, TyperGroup)
    with root.commands[kind].make_context(f"synthbank {kind}", [name, *words]) as local:
        if local.params["bank_path"] is not None:
            raise OptionError("The bank of a cloud job is the one of cloud.yaml", got="--bank")
    given = any(word.partition("=")[0] == "--device" for word in words)
    return [*words] if given else [*words, "--device", device]


def _assignments(config: Path | None) -> list[str]:
    """A file of options as `--set` words: the container does not have the file."""
    if config is None:
        return []
    return [word for key, value in read_options(config).items() for word in ("--set", f"{key}={jsons.dumps(value)}")]


def _pairs(texts: Iterable[str] | None) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in texts or [])
    if not all(pairs.values()):
        raise OptionError("A build argument is KEY=VALUE", got=", ".join(texts or []))
    return pairs


def _saved(image: dict[str, Any], folder: Path) -> str:
    """Where the image is: a file that is written here, or the stored one that a large answer names."""
    if "png" not in image:
        return str(image["url"])
    path = folder / f"{Path(image['id']).name}.png"
    save(path, base64.b64decode(image["png"]))
    return str(path)


def _state(entry: dict[str, Any]) -> str:
    if "deployedModels" in entry:
        return f"{len(entry['deployedModels'])} deployed"
    return str(entry.get("state", "")).removeprefix("JOB_STATE_").lower()
