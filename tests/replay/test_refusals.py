"""What cannot be replayed is left to autograd, and nobody who writes such a surrogate notices."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rlbench import Algorithm, Samples
from rlbench.algorithm import stack
from rlbench.improve.replay import Replay, record

Make = Callable[[Any], type[Algorithm]]
OUTSIDE = torch.tensor(0.5)
COUNTS = {"calls": 0}


class Doubled(torch.autograd.Function):
    """An author's own derivative."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return 2 * grads[0]


def counted(self: Any, x: Samples) -> torch.Tensor:
    COUNTS["calls"] += 1
    return x.ratio / COUNTS["calls"]


def branching(self: Any, x: Samples) -> torch.Tensor:
    return x.ratio if (x.ratio > 0.5).all() else x.log_prob


def written_to(self: Any, x: Samples) -> torch.Tensor:
    x.advantage.mul_(2)
    return x.ratio * x.advantage


def written_to_a_view(self: Any, x: Samples) -> torch.Tensor:
    doubled = 2 * x.advantage
    first = doubled.mean(-1, keepdim=True)
    again = first.expand_as(doubled)
    first.add_(1.0)
    return x.ratio * again


def assigned(self: Any, x: Samples) -> torch.Tensor:
    ratio = x.ratio.clone()
    ratio[x.advantage < 0] = 1.0
    return ratio


def hooked(self: Any, x: Samples) -> torch.Tensor:
    x.ratio.register_hook(lambda grad: 2 * grad)
    return x.ratio


def swallowed(self: Any, x: Samples) -> torch.Tensor:
    try:
        scale = x.advantage.numpy().std()
    except Exception:
        scale = 1.0
    return x.ratio * float(scale)


REFUSED: dict[str, tuple[Callable[[Any, Samples], Any], str]] = {
    "numpy": (lambda self, x: x.ratio * float(x.advantage.numpy().std()), "numpy gives Python a ndarray"),
    "numpy and back": (lambda self, x: x.ratio * torch.from_numpy(x.advantage.numpy() * 2), "gives Python a ndarray"),
    "asarray": (lambda self, x: x.ratio * float(np.asarray(self.clip)[0, 0]), "gives Python a ndarray"),
    "tolist": (lambda self, x: x.ratio * self.clip.tolist()[0][0], "tolist gives Python a list"),
    "item": (lambda self, x: x.ratio * self.clip[0].item(), "aten.select.int"),
    "float": (lambda self, x: x.ratio * float(self.clip.amax()), "aten.amax"),
    "address": (lambda self, x: x.ratio * (self.clip.data_ptr() % 3), "data_ptr gives Python a int"),
    "branch": (branching, "aten.all.default"),
    "equal": (lambda self, x: x.ratio * torch.equal(x.kl, x.entropy), "aten.equal"),
    "random": (lambda self, x: x.ratio * torch.rand_like(x.ratio), "aten.rand_like"),
    "dropout": (lambda self, x: torch.nn.functional.dropout(x.ratio), "aten."),
    "uninitialised": (lambda self, x: x.ratio + torch.empty_like(x.ratio), "aten.empty_like"),
    "Python's random": (lambda self, x: x.ratio * random.random(), "depends on numbers"),
    "counter": (counted, "depends on numbers"),
    "number of replicas": (lambda self, x: x.ratio / x.ratio.shape[0], "depends on numbers"),
    "tensor from outside": (lambda self, x: x.ratio * OUTSIDE, "neither an input nor computed"),
    "tensor in the code": (lambda self, x: x.ratio * torch.arange(x.ratio.shape[-1]), "aten.arange"),
    "list in the code": (lambda self, x: x.ratio + torch.tensor([[1.0]] * len(x.ratio)), "written into the code"),
    "input in place": (written_to, "a change in place"),
    "view in place": (written_to_a_view, "a change in place of a view"),
    "assignment": (assigned, "aten."),
    "sum of all": (lambda self, x: x.ratio / x.ratio.sum(), "aten.sum.default"),
    "over replicas": (lambda self, x: x.ratio - x.ratio.mean(0), "another axis"),
    "over both axes": (lambda self, x: x.ratio - x.ratio.mean((0, 1), keepdim=True), "another axis"),
    "one replica": (lambda self, x: x.ratio * x.advantage[0], "aten.select.int"),
    "transposed": (lambda self, x: (x.ratio.T * 2).T, "aten.permute"),
    "flattened": (lambda self, x: (x.ratio.flatten() * 2).view_as(x.ratio), "a result of shape"),
    "sorted": (lambda self, x: x.ratio.sort(-1).values, "aten.sort"),
    "double": (lambda self, x: x.ratio.double().exp().float(), "float64"),
    "power": (lambda self, x: x.ratio**1.7, "the power 1.7"),
    "exponents": (lambda self, x: x.ratio**self.clip, "aten.pow.Tensor_Tensor"),
    "own derivative": (lambda self, x: Doubled.apply(x.ratio), "autograd.Function"),
    "own derivative inside": (lambda self, x: 1 + Doubled.apply(x.ratio) * x.advantage, "autograd.Function"),
    "hook": (hooked, "register_hook"),
    "swallowed": (swallowed, "gives Python a ndarray"),
    "raises": (lambda self, x: x.ratios, "AttributeError"),
    "one number per replica": (lambda self, x: x.ratio.mean(-1, keepdim=True), "not one number per sample"),
    "one sample": (lambda self, x: x.ratio[:, :1], "not one number per sample"),
    "double at the end": (lambda self, x: x.ratio.double(), "float64"),
    "no tensor": (lambda self, x: 1.0, "not one number per sample"),
    "truth values": (lambda self, x: x.ratio > 1, "torch.bool"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, plugin: Make) -> None:
    function, reason = REFUSED[name]
    answer = record(stack([plugin(function)()] * 3), 8, weighted=False)
    assert isinstance(answer, str)
    assert reason in answer


@pytest.mark.parametrize("column", [torch.full((3, 1), 0.2, dtype=torch.float64), torch.full((3,), 0.2)])
def test_a_field_of_another_type_is_refused(column: torch.Tensor, plugin: Make) -> None:
    algorithm = stack([plugin(lambda self, x: x.ratio * self.clip)()] * 3)
    assert isinstance(record(algorithm, 8, weighted=False), Replay)
    assert "the field clip is" in str(record(algorithm.replace(clip=column), 8, weighted=False))


def test_a_field_that_is_a_number_is_recorded_as_one(plugin: Make) -> None:
    algorithm = stack([plugin(lambda self, x: x.ratio * self.clip)()] * 2).replace(clip=2.0)
    replay = record(algorithm, 1, weighted=False)
    assert isinstance(replay, Replay)
    zero, one = np.zeros((2, 1), np.float32), np.ones((2, 1), np.float32)
    surrogate, _ = replay(algorithm, {"log_prob": zero, "old_log_prob": zero}, one)
    assert surrogate.tolist() == [[2.0], [2.0]]


def test_where_numpy_and_torch_disagree_autograd_stays(plugin: Make) -> None:
    # The derivative of a fast wave turns the last place of exp into another number.
    steep = plugin(lambda self, x: (x.ratio - x.log_ratio.detach().exp() + 1e-9).sign() * x.log_prob * x.log_ratio)
    assert isinstance(record(stack([steep()] * 2), 8, weighted=False), Replay)
    rough = plugin(lambda self, x: torch.tanh(1e7 * (x.log_ratio.exp().log() - x.log_ratio)) * x.log_prob)
    assert record(stack([rough()] * 2), 64, weighted=False) == "numpy and torch disagree"


def test_a_refused_surrogate_runs_as_ever(plugin: Make) -> None:
    """Watching leaves no trace: not on the algorithm, nor in torch's modes."""
    algorithm = stack([plugin(branching)()] * 2)
    assert isinstance(record(algorithm, 8, weighted=False), str)
    assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    x = torch.ones(2, 2, requires_grad=True)
    (2 * x).sum().backward()
    assert x.grad is not None
    assert float(x.grad.sum()) == 8.0
