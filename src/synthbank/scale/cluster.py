"""The Ray cluster that `--on` names, and the tasks that it is given."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

from synthbank import __version__
from synthbank.errors import OptionError, SetupError
from synthbank.storage import local_path_of

_LOCAL = ("", "local")
_OBJECT_STORE = 256 * 2**20  # bytes of a local cluster: what travels is small
RETRIES = 8
"""Times a task is begun again after its worker died."""


def address_of(on: str) -> str | None:
    """`ray` or `ray:ADDRESS` to the address that Ray is given; `None`: what `RAY_ADDRESS` says, else a local cluster.

    Raises:
        OptionError: another engine.
    """
    engine, _, address = on.partition(":")
    if engine != "ray":
        raise OptionError("Work cannot be sent there", got=on, allowed="ray, or ray:ADDRESS such as ray:10.0.0.5:6379")
    return address or None


def check_shared(storage_url: str | None, hosts: set[str]) -> None:
    """Raise `OptionError` where workers on other machines could not reach the bank's files.

    Args:
        storage_url: of the bank's object store; `None`: the workers need no files.
        hosts: names or addresses of the machines that work.
    """
    if storage_url is None:
        return
    in_memory = storage_url.startswith("memory://")
    strangers = sorted(hosts - _own_names())
    if in_memory or (strangers and local_path_of(storage_url) is not None):
        raise OptionError(
            "The workers of this cluster cannot reach the bank's files",
            got=f"{storage_url} on this machine; workers on {', '.join(strangers) or 'this machine'}",
            allowed="storage that all machines share, such as gs://BUCKET/PATH or s3://BUCKET/PATH",
            next_step="set SYNTHBANK_STORAGE_URL to it",
        )


@contextmanager
def cluster(on: str, storage_url: str | None) -> Iterator[Any]:
    """A connection to the cluster, closed at the end unless it was there before; gives the `ray` module.

    Args:
        on: `ray` or `ray:ADDRESS`.
        storage_url: of the bank's object store; `None`: the workers need no files.

    Raises:
        OptionError: see `address_of` and `check_shared`.
        SetupError: Ray is not installed, or does not answer.
    """
    address = address_of(on)
    check_shared(storage_url, _hosts_in(address))
    ray = _import_ray()
    started_here = not ray.is_initialized()
    with redirect_stdout(sys.stderr):  # where Ray tells of workers that died; stdout is for results
        if started_here:
            _connect(ray, address)
        try:
            check_shared(storage_url, _hosts(ray))
            yield ray
        finally:
            if started_here:
                ray.shutdown()


def task(ray: Any, function: Callable[..., Any], *, device: str = "cpu") -> Callable[..., Any]:
    """`function` as a Ray task: one core, or one GPU; begun again on another worker when its own one dies."""
    on_gpu = device.startswith("cuda")
    options: dict[str, Any] = {"num_cpus": 0 if on_gpu else 1, "num_gpus": 1 if on_gpu else 0}
    remote: Callable[..., Any] = ray.remote(function).options(max_retries=RETRIES, **options).remote
    return remote


def width(ray: Any, *, device: str = "cpu") -> int:
    """Tasks that the cluster can run at once."""
    return max(int(ray.cluster_resources().get("GPU" if device.startswith("cuda") else "CPU", 1)), 1)


def check_version(version: str) -> None:
    """On a worker: raise `SetupError` where another version of this package would do the work."""
    if version != __version__:
        raise SetupError("A worker of the cluster has another version of synthbank", got=__version__, allowed=version)


def _connect(ray: Any, address: str | None) -> None:
    # ray.init reads RAY_ADDRESS where it is given no address
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address in _LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise SetupError(
            "The Ray cluster does not answer",
            got=f"{address or 'RAY_ADDRESS or a new local cluster'}: {error}",
            next_step="check the address, and that Ray there has the version that is installed here",
        ) from error


def _hosts_in(address: str | None) -> set[str]:
    """The machine that an address names, where it names one."""
    rest = (address or "").partition("://")[2] or (address or "")
    host = rest.partition("/")[0].rpartition(":")[0]
    return {host} - {""}


def _hosts(ray: Any) -> set[str]:
    return {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}


def _own_names() -> set[str]:
    name = socket.gethostname()
    names = {"localhost", "127.0.0.1", name}
    with suppress(OSError):
        names.add(socket.gethostbyname(name))
    return names


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise SetupError("Ray is not installed", next_step="pip install 'synthbank[ray]'") from error
    return ray
