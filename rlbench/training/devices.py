"""The machine that trains."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

from rlbench.errors import RlbenchError


@cache
def processor() -> str:
    """Return the name of the processor, which Python itself does not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def resolve(device: str) -> str:
    """Return "cpu", "cuda" or "cuda:N" as a user asked for it; RlbenchError if it is unknown or not there."""
    kind, _, number = device.partition(":")
    if device == "cpu":
        return device
    if kind != "cuda" or (number and not number.isdecimal()):
        raise RlbenchError(f"There is no device {device!r}; it is cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        why = "torch finds none" if torch.version.cuda else "this torch is built without CUDA"
        raise RlbenchError(f"device={device} needs a CUDA GPU, but {why}; use cpu.")
    if number and int(number) >= torch.cuda.device_count():
        raise RlbenchError(f"device={device} does not exist; torch finds {torch.cuda.device_count()} CUDA GPUs.")
    return device


def describe(device: str) -> str:
    """Return a resolved device as a manifest records it, a GPU with its model."""
    return device if not device.startswith("cuda") else f"cuda ({torch.cuda.get_device_name(torch.device(device))})"
