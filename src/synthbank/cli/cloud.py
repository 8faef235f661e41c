"""`cloud`: the same commands on Google Cloud."""

from __future__ import annotations

import base64
import json as jsons
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from synthbank.cli.cloud_requests import (
    DryRunOption,
    JobFlags,
    MachineFlags,
    ReadFlags,
    SendFlags,
    confirm,
    load,
    sending,
    state_of,
    submit_job,
)
from synthbank.cli.options import JsonOption, grouped
from synthbank.cli.output import save, say, say_json, say_table, talk, working
from synthbank.config import read_options
from synthbank.errors import OptionError

_FORWARD = {"allow_extra_args": True, "ignore_unknown_options": True}
_ENDPOINT = MachineFlags("n1-standard-4", "none", 1)
_JOB_POLL = SendFlags(poll=30.0)


def register(app: typer.Typer) -> None:
    """Add the group `cloud` with its commands."""
    cloud = typer.Typer(help="The same on Google Cloud (Vertex AI).", no_args_is_help=True)
    for command in (init, build, train, generate, deploy, predict, status, undeploy, cost):
        cloud.command(context_settings=_FORWARD if command in (train, generate) else None)(grouped(command))
    app.add_typer(cloud, name="cloud")


@dataclass(frozen=True)
class SettingsFlags:
    """The settings that `init` writes into cloud.yaml."""

    project: Annotated[str, typer.Option(help="Id of the Google Cloud project.")]
    bucket: Annotated[str, typer.Option(help="Name of the bucket, unique in the world.")]
    region: Annotated[str, typer.Option(help="Region of everything.")] = "europe-west4"
    prefix: Annotated[str, typer.Option(help="Folder of the bank in the bucket, and its label.")] = "bank"


def init(
    settings: SettingsFlags,
    person: Annotated[list[str] | None, typer.Option(help="Who may use it: user:ada@example.org; repeatable.")] = None,
    folder: Annotated[Path, typer.Option("--to", help="Folder for the files.")] = Path("."),
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there with another text.")] = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Write cloud.yaml, an example price table, and Terraform for bucket, database, accounts and image repository."""
    from synthbank.cloud import make_settings, setup_files, write_files

    files = setup_files(make_settings(asdict(settings), where="the options"), person or [])
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
    *,
    flags: SendFlags,
) -> None:
    """Build the container image with Cloud Build, from the files that git tracks in a checkout."""
    from synthbank.cloud import build_cost, build_requests, pack

    settings, prices = load(flags.settings)
    requests = build_requests(settings, pack(source), _pairs(argument))
    if not confirm(requests, [build_cost(prices, 15)], prices, flags):
        return
    with sending(settings, flags.poll) as send, working("building") as show:
        for request in requests:
            show(f"{request.method} {request.url}")
            send.send(request)
    say_json({"image": settings.image_uri}) if flags.json else say(f"image: {settings.image_uri}")


def train(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the data set in the bank.")],
    job: JobFlags,
    config: Annotated[Path | None, typer.Option(help="YAML file with options, as of synthbank train.")] = None,
    flags: SendFlags = _JOB_POLL,
) -> None:
    """Train on Vertex AI; other options are those of synthbank train. A preempted spot machine is replaced."""
    from synthbank.cloud import train_request

    options = job.to_options()
    words = _checked_words(context, "train", name, [*_assignments(config), *context.args], options.machine.device)
    settings, _ = load(flags.settings)
    submit_job(train_request(settings, name, words, options), options, flags, wait=job.wait)


def generate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Name of a published model of the bank.")],
    job: JobFlags,
    flags: SendFlags = _JOB_POLL,
) -> None:
    """Make images on Vertex AI; other options are those of synthbank generate."""
    from synthbank.cloud import generate_request

    options = job.to_options()
    words = _checked_words(context, "generate", model, context.args, options.machine.device)
    settings, _ = load(flags.settings)
    submit_job(generate_request(settings, model, words, options), options, flags, wait=job.wait)


def deploy(
    model: Annotated[str, typer.Argument(help="Name of a published model of the bank.")],
    on: MachineFlags = _ENDPOINT,
    replicas: Annotated[int, typer.Option(help="Machines that always run.")] = 1,
    most_replicas: Annotated[int | None, typer.Option(help="Machines at most, under load.")] = None,
    *,
    flags: SendFlags,
) -> None:
    """Upload a model with its container, make an endpoint, and deploy on it. It costs by the hour until undeploy."""
    from synthbank.cloud import deploy_requests, endpoint_cost

    settings, prices = load(flags.settings)
    machine = on.to_machine()
    most = max(replicas, most_replicas or 0)
    requests = deploy_requests(settings, model, machine=machine, replicas=replicas, most_replicas=most)
    if not confirm(requests, [endpoint_cost(prices, machine, most)], prices, flags):
        return
    with sending(settings, flags.poll) as send, working(f"deploying {model}") as show:
        for request, step in zip(requests, ("uploading the model", "making the endpoint", "deploying"), strict=True):
            show(step)
            send.send(request)
    endpoint = requests[-1].url.removesuffix(":deployModel")
    say_json({"endpoint": endpoint}) if flags.json else say(f"endpoint: {endpoint}")
    talk(f"next: synthbank cloud predict {model} -n 2; it costs until: synthbank cloud undeploy {model}")


def predict(
    model: Annotated[str, typer.Argument(help="Name of a deployed model.")],
    class_name: Annotated[str | None, typer.Option("--class", help="Only this class.")] = None,
    n: Annotated[int, typer.Option("-n", "--number", min=1, help="Images of each class.")] = 1,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same images.")] = None,
    truncation: Annotated[float | None, typer.Option(help="1: everything; towards 0: less varied.")] = None,
    to: Annotated[Path, typer.Option("--to", help="Folder for the images.")] = Path("predicted"),
    *,
    flags: ReadFlags,
) -> None:
    """Request images from the endpoint; each is in the catalogue as well."""
    from synthbank.cloud import images_of, predict_request

    settings, prices = load(flags.settings)
    request = predict_request(settings, model, class_name=class_name, count=n, seed=seed, truncation=truncation)
    if not confirm([request], [], prices, flags):
        return
    with sending(settings) as send, working("asking the endpoint"):
        images = images_of(send.send(request))
    rows = [{"id": image["id"], "class": image["class"], "file": _saved(image, to)} for image in images]
    if flags.json:
        say_json({"images": rows})
        return
    say_table(f"{len(rows)} images", ("id", "class", "file"), [tuple(row.values()) for row in rows])


def status(flags: ReadFlags) -> None:
    """List jobs, models and endpoints of this bank, which carry its label."""
    from synthbank.cloud import status_requests

    settings, prices = load(flags.settings)
    requests = status_requests(settings)
    if not confirm(list(requests.values()), [], prices, flags):
        return
    with sending(settings) as send, working("looking"):
        lists = {kind: list(send.pages(request, kind)) for kind, request in requests.items()}
    if flags.json:
        say_json(lists)
        return
    rows = [
        (kind, entry["displayName"], state_of(entry), entry["name"])
        for kind, entries in lists.items()
        for entry in entries
    ]
    say_table("on Google Cloud", ("kind", "what", "state", "name"), rows)


def undeploy(model: Annotated[str, typer.Argument(help="Name of a deployed model.")], flags: SendFlags) -> None:
    """Delete the endpoint, and the model from Vertex AI's registry. The bank keeps its model and all images."""
    from synthbank.cloud import undeploy_requests

    settings, prices = load(flags.settings)
    requests = undeploy_requests(settings, model)
    if not confirm(requests, [], prices, flags):
        return
    with sending(settings, flags.poll) as send, working(f"deleting the endpoint of {model}"):
        for request in requests:
            send.send(request)
    say_json({"undeployed": model}) if flags.json else say(f"{model} is no longer on Vertex AI")


def cost(
    on: MachineFlags,
    on_demand: Annotated[bool, typer.Option("--on-demand", help="The price without spot machines.")] = False,
    hours: Annotated[float, typer.Option(help="Hours of jobs.", min=0)] = 4.0,
    replicas: Annotated[int, typer.Option(help="Machines of the endpoint (n1-standard-4); 0: none.", min=0)] = 1,
    stored_gb: Annotated[float, typer.Option(help="GB in the bucket.", min=0)] = 10.0,
    database_gb: Annotated[float, typer.Option(help="GB of the database.", min=0)] = 10.0,
    image_gb: Annotated[float, typer.Option(help="GB of container images.", min=0)] = 5.0,
    *,
    flags: ReadFlags,
) -> None:
    """Estimate the costs from your price table. Sends no request to Google."""
    from synthbank.cloud import JobOptions, endpoint_cost, job_cost, load_prices, standing_costs
    from synthbank.cloud.prices import FILE
    from synthbank.cloud.serving import SERVING

    prices = load_prices(flags.settings.with_name(FILE))
    costs = [job_cost(prices, JobOptions(on.to_machine(), not on_demand), hours)]
    costs += [endpoint_cost(prices, SERVING, replicas)] if replicas else []
    costs += standing_costs(prices, stored_gb=stored_gb, database_gb=database_gb, image_gb=image_gb)
    if flags.json:
        say_json({"requests": [], "costs": costs, "currency": prices.currency, "prices": prices.origin})
        return
    rows = [(one.what, f"{one.amount:.2f}", "a month" if one.per == "month" else "once") for one in costs]
    say_table(f"{prices.currency}, {prices.origin}", ("what", "about", "paid"), rows)
    if flags.dry_run:
        talk("no request is ever sent for an estimate")


def _checked_words(context: typer.Context, kind: str, name: str, words: Sequence[str], device: str) -> list[str]:
    """Options of `synthbank train` or `generate`, checked by that command's own parser before anything is sent.

    Args:
        context: of the running command; its root holds the command that parses.
        kind: "train" or "generate".
        name: of the data set or model.
        words: the options as the user gave them.
        device: of the job's machine, where the options name none.
    """
    if name.startswith("-"):
        raise OptionError(f"cloud {kind} takes the name first", got=name, next_step=f"synthbank cloud {kind} NAME …")
    root = context.find_root().command
    assert isinstance(root, TyperGroup)
    with root.commands[kind].make_context(f"synthbank {kind}", [name, *words]) as parsed:
        if parsed.params["bank_path"] is not None:
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
    """Place of an image: a file that is written here, or the stored one that a large answer names."""
    if "png" not in image:
        return str(image["url"])
    path = folder / f"{Path(image['id']).name}.png"
    save(path, base64.b64decode(image["png"]))
    return str(path)
