"""Devices: from a word to the device that computes, and from a device to its name."""

from __future__ import annotations

import platform

import torch

from synthbank.errors import OptionError

DEVICES = ("auto", "cpu", "cuda", "mps")


def one_device(device: str) -> torch.device:
    """The device that a word names: auto is the fastest there is.

    Raises:
        OptionError: an unknown word, or a device that this machine lacks.
    """
    check_device(device.partition(":")[0])
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_words(device: torch.device, count: int = 1, *, threads: int | None = None) -> str:
    """The device by name, such as "cuda: NVIDIA H200" or "cpu: x86_64, 2 threads".

    Args:
        device: that computes.
        count: processes, one a device.
        threads: most of them; `None`: as many as are set.
    """
    if device.type == "cuda":
        words = f"cuda: {torch.cuda.get_device_name(device)}"
    else:
        words = f"{device.type}: {platform.machine()}, {threads or torch.get_num_threads()} threads"
    return words if count == 1 else f"{count} x {words}"


def check_device(device: str) -> None:
    """Raise `OptionError` for an unknown word, or for a device that this machine lacks."""
    if device not in DEVICES:
        raise OptionError("Unknown device", got=device, allowed=list(DEVICES))
    missing = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if missing.get(device, False):
        raise OptionError(f"No such device on this machine: {device}", got=device, next_step="use --device cpu")
