"""How many processes train, on which devices, and who started them: this command itself, or torchrun."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from synthbank.errors import OptionError
from synthbank.training import UnwrappedStrategy
from synthbank.workflows.devices import check_device


@dataclass(frozen=True)
class Processes:
    """One process a device, on one node or several."""

    accelerator: str
    devices: int = 1
    """On each node."""
    nodes: int = 1

    @property
    def count(self) -> int:
        """Processes in all."""
        return self.devices * self.nodes

    def launch(self, precision: str) -> Fabric:
        """Start what is not started yet, and connect; on a single device, nothing is started.

        The processes that this one starts run the same command from its beginning, and come here as well.
        """
        if _started_by_torchrun() is not None:
            _connect(self.accelerator)
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would tell of every precision it sets up
        fabric = Fabric(
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=self.nodes,
            strategy=UnwrappedStrategy() if self.count > 1 else "auto",
            precision=precision,  # type: ignore[arg-type]
        )
        fabric.launch()
        return fabric


def processes(device: str = "auto", *, devices: int | None = None, nodes: int | None = None) -> Processes:
    """What the options and torchrun ask for.

    Args:
        device: auto (a GPU where there is one), cpu, cuda or mps.
        devices: processes on each node; `None`: as torchrun says, else 1.
        nodes: `None`: as torchrun says, else 1.

    Raises:
        OptionError: more devices than there are, several nodes and nobody who started this command on each of them, or
            other numbers than those of torchrun.
    """
    check_device(device)
    for name, value in (("--devices", devices), ("--nodes", nodes)):
        if value is not None and value < 1:
            raise OptionError("There must be at least one process", got=f"{name} {value}")
    started = _started_by_torchrun()
    if started is not None:
        asked = Processes(device, *started)
        if (devices or asked.devices, nodes or asked.nodes) != started:
            raise OptionError(
                "torchrun has started other processes than the options say",
                got=f"--devices {devices or asked.devices} --nodes {nodes or asked.nodes}",
                allowed=f"--devices {asked.devices} --nodes {asked.nodes}",
                next_step="leave --devices and --nodes out: torchrun's --nproc-per-node and --nnodes count",
            )
    else:
        asked = Processes(device, devices or 1, nodes or 1)
        _check_nodes(asked)
    available = _devices_here(device)
    if asked.devices > available:
        raise OptionError(
            "There are not so many devices on this machine", got=asked.devices, allowed=f"1 to {available}"
        )
    return asked


def is_main_process() -> bool:
    """Whether this process was not started as the helper of another one."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def _started_by_torchrun() -> tuple[int, int] | None:
    """Processes a node and nodes."""
    if not torch.distributed.is_torchelastic_launched():
        return None
    here, everywhere = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    if everywhere % here:
        raise OptionError("Every node must run the same number of processes", got=f"{here} here, {everywhere} in all")
    return here, everywhere // here


def _connect(accelerator: str) -> None:
    """Connect what torchrun has started, under keys of this attempt.

    torchrun may keep its key-value store when it starts killed processes anew. The addresses of the dead are still in
    it, and whoever comes first would call them.
    """
    if torch.distributed.is_initialized():
        return
    store, rank, world_size = next(rendezvous("env://"))
    attempt = PrefixStore(f"attempt-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    backend = "nccl" if accelerator in ("auto", "cuda") and torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, store=attempt, rank=rank, world_size=world_size)


def _check_nodes(wanted: Processes) -> None:
    # without torchrun, Fabric connects nodes on each of which a person started the command with these two set
    if wanted.nodes == 1 or {"NODE_RANK", "MASTER_ADDR"} <= set(os.environ):
        return
    raise OptionError(
        "Nothing has started this command on the other nodes",
        got=f"--nodes {wanted.nodes}",
        next_step=f"on every node: torchrun --nnodes {wanted.nodes} --nproc-per-node {wanted.devices} "
        "--rdzv-backend c10d --rdzv-endpoint HOST:29500 -m synthbank train …",
    )


def _devices_here(device: str) -> int:
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return torch.cuda.device_count()
    if device == "mps" or (device == "auto" and torch.backends.mps.is_available()):
        return 1
    return os.cpu_count() or 1
