"""The machine that trains."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from rlbench.errors import RlbenchError
from rlbench.records import Environment


@cache
def processor() -> str:
    """Return the name of the processor, which Python itself does not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


AUTO_REPLICAS = 128
"""How many replicas "auto" wants before it takes a GPU. A judgement and not a measurement: the compiled engine is fast
for few, and a GPU needs many replicas before its work outweighs the cost of starting it."""


def resolve(device: str, environments: Sequence[Environment], replicas: int) -> str:
    """Return "cpu", "cuda" or "cuda:N" for what a user asked for; "auto" chooses.

    "auto" takes the GPU if there is one, every environment can be stepped there, and a pack has at least
    `AUTO_REPLICAS` replicas. Raises RlbenchError if the device is unknown or not there.
    """
    kind, _, number = device.partition(":")
    if device in ("cpu", "auto"):
        return "cuda" if device == "auto" and _pays(environments, replicas) else "cpu"
    if kind != "cuda" or (number and not number.isdecimal()):
        raise RlbenchError(f"There is no device {device!r}; it is cpu, cuda, cuda:N or auto.")
    if not torch.cuda.is_available():
        why = "torch finds none" if torch.version.cuda else "this torch is built without CUDA"
        raise RlbenchError(f"device={device} needs a CUDA GPU, but {why}; use cpu or auto.")
    if number and int(number) >= torch.cuda.device_count():
        raise RlbenchError(f"device={device} does not exist; torch finds {torch.cuda.device_count()} CUDA GPUs.")
    return device


def describe(device: str) -> str:
    """Return a resolved device as a manifest records it, a GPU with its model."""
    return device if not device.startswith("cuda") else f"cuda ({torch.cuda.get_device_name(torch.device(device))})"


def _pays(environments: Sequence[Environment], replicas: int) -> bool:
    from rlbench.training.tensor.envs import is_resident

    return replicas >= AUTO_REPLICAS and torch.cuda.is_available() and all(map(is_resident, environments))
