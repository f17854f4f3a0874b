"""Which device is used for what was asked."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rlbench.errors import RlbenchError
from rlbench.training.engines import describe, resolve


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes torch say that there are so many GPUs."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Model {device.index or 0}")

    return pretend


def test_the_cpu_needs_nothing(gpus: Any) -> None:
    gpus(2)
    assert resolve("cpu") == "cpu"
    assert describe("cpu") == "cpu"


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1"])
def test_a_gpu_is_taken_where_it_is_and_missed_in_one_sentence_where_not(device: str, gpus: Any) -> None:
    gpus(2)
    assert resolve(device) == device
    assert describe(device) == f"cuda (Model {device[5:] or 0})"
    gpus(0)
    with pytest.raises(RlbenchError, match=rf"device={device} needs a CUDA GPU, but .*; use cpu\."):
        resolve(device)


@pytest.mark.parametrize("device", ["auto", "gpu", "mps", "cuda:x", "cuda:-1", ""])
def test_an_unknown_device_is_refused(device: str, gpus: Any) -> None:
    gpus(1)
    with pytest.raises(RlbenchError, match=f"There is no device {device!r}; it is cpu, cuda or cuda:N"):
        resolve(device)


def test_a_gpu_beyond_the_last_is_refused(gpus: Any) -> None:
    gpus(1)
    with pytest.raises(RlbenchError, match="device=cuda:1 does not exist; torch finds 1 CUDA GPU"):
        resolve("cuda:1")
