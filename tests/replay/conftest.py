"""Surrogates as their authors write them, samples with ties and numbers that are none, and what autograd says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rlbench import Algorithm, Samples, hyper

Array = npt.NDArray[Any]
Surrogate = Callable[[Any, Samples], torch.Tensor]
INPUTS = ("log_prob", "entropy", "kl", "value")


class Given:
    """Terms that are given."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.tensors = {name: tensors[name].requires_grad_() for name in INPUTS}

    def __getattr__(self, name: str) -> Callable[[], torch.Tensor]:
        return lambda: self.tensors[name]


@pytest.fixture(scope="session")
def plugin() -> Callable[[Surrogate], type[Algorithm]]:
    """Return a function from a surrogate to an algorithm with it and the fields `clip`, `beta` and `bonus`."""

    def make(function: Surrogate) -> type[Algorithm]:
        class Plugin(Algorithm):
            clip: float = hyper(0.25)
            beta: float = hyper(0.5)
            bonus: float = hyper(0.0)

            def surrogate(self, x: Samples) -> torch.Tensor:
                return function(self, x)

        return Plugin

    return make


@pytest.fixture(scope="session")
def draw() -> Callable[..., dict[str, Array]]:
    """Return a function that draws samples `[R, B]`; `ties`: in quarters, so that many are equal, and NaN and inf."""

    def make(replicas: int, size: int, *, weighted: bool = False, ties: bool = False) -> dict[str, Array]:
        rng = np.random.default_rng(size)
        # A replica's samples are the same however many there are.
        names = (*INPUTS, "old_log_prob", "old_value", "target", "advantage")
        normal = [rng.standard_normal((len(names), size)) for _ in range(replicas)]
        samples = {name: np.stack([one[k] for one in normal]) for k, name in enumerate(names)}
        for name in ("entropy", "kl"):
            samples[name] = np.abs(samples[name])
        if ties:
            samples = {name: np.round(4 * values) / 4 for name, values in samples.items()}
            samples["log_prob"][1, 2] = np.nan
            samples["kl"][1, 1] = np.nan
            samples["value"][-1, 0] = np.inf
        if weighted:
            samples["weight"] = np.tile(np.arange(size) % 3 > 0, (replicas, 1))
        return {name: values.astype(np.float32) for name, values in samples.items()}

    return make


@pytest.fixture(scope="session")
def autograd() -> Callable[..., tuple[Array, dict[str, Array]]]:
    """Return a function like a replay, by autograd."""

    def run(algorithm: Algorithm, inputs: Mapping[str, Array], upstream: Array) -> tuple[Array, dict[str, Array]]:
        tensors = {name: torch.from_numpy(values.copy()) for name, values in inputs.items()}
        terms = Given(tensors)
        given = {name: tensor for name, tensor in tensors.items() if name not in INPUTS}
        surrogate = algorithm.surrogate(Samples(**given, terms=terms))  # type: ignore[arg-type]
        if surrogate.requires_grad:
            surrogate.backward(torch.from_numpy(upstream).expand(surrogate.shape))
        grads = {name: x.grad.numpy() for name, x in terms.tensors.items() if x.grad is not None}
        return surrogate.detach().numpy(), grads

    return run


@pytest.fixture(scope="session")
def surrogates() -> dict[str, Surrogate]:
    """Return surrogates of many kinds, all of which can be replayed."""
    from rlbench.functional import clip, kl_estimate, mean, standardise, weighted_mean

    functional = torch.nn.functional

    def dual_clip(self: Any, x: Samples) -> torch.Tensor:
        clipped = torch.min(x.ratio * x.advantage, clip(x.ratio, 1 - self.clip, 1 + self.clip) * x.advantage)
        return torch.where(x.advantage < 0, torch.max(clipped, 3.0 * x.advantage), clipped)

    def clipped_value(self: Any, x: Samples) -> torch.Tensor:
        near = x.old_value + torch.clamp(x.value - x.old_value, -self.clip, self.clip)
        loss = torch.maximum((x.value - x.target) ** 2, (near - x.target).square())
        return x.ratio * x.advantage - self.beta * loss

    def in_place(self: Any, x: Samples) -> torch.Tensor:
        scaled = x.ratio * 2
        scaled.clamp_(max=3.0)
        scaled += x.advantage
        return scaled

    def masks(self: Any, x: Samples) -> torch.Tensor:
        far = (x.log_ratio.abs() > self.clip) & ~(x.advantage <= 0) | torch.isnan(x.kl)
        return x.log_prob.masked_fill(far, 0.0) + far.float() * x.entropy - (far ^ (x.kl > 0)).to(x.kl.dtype)

    def flat(self: Any, x: Samples) -> torch.Tensor:
        centre = x.advantage.mean(-1)
        spread = (x.advantage.var(-1) + 1).sqrt()
        return x.ratio * (x.advantage - centre[..., None]) / spread.unsqueeze(-1)

    def constants(self: Any, x: Samples) -> torch.Tensor:
        half = torch.tensor(0.5) * torch.ones_like(x.ratio)
        return x.ratio * torch.where(x.advantage > 0, 0.5, 1.0) + half - torch.full_like(x.kl, 2.0) * x.kl

    return {
        "asymmetric clip": lambda self, x: torch.minimum(x.ratio * x.advantage, x.ratio.clamp(0.8, 1.28) * x.advantage),
        "dual clip": dual_clip,
        "clipped value": clipped_value,
        "k3": lambda self, x: x.ratio * x.advantage - self.beta * kl_estimate(x.log_ratio),
        "entropy": lambda self, x: x.log_prob * x.advantage + self.bonus * x.entropy,
        "tanh": lambda self, x: torch.tanh(self.beta * (x.ratio - 1)) * x.advantage / self.beta,
        "sigmoid": lambda self, x: torch.sigmoid(4 * x.log_ratio) * x.advantage,
        "softplus": lambda self, x: -functional.softplus(-x.log_ratio, beta=2) * x.advantage,
        "sign": lambda self, x: x.ratio * torch.sign(x.advantage) * x.advantage.abs().sqrt(),
        "relu": lambda self, x: x.log_ratio - functional.relu(x.log_ratio.abs() - self.clip) * x.ratio.detach(),
        "standardised": lambda self, x: x.ratio * standardise(x.advantage, x.weight),
        "by the batch's mean": lambda self, x: x.ratio * x.advantage / (mean(x.ratio) + 1) - mean(x.kl),
        "weighted mean": lambda self, x: x.ratio - weighted_mean(x.ratio, x.weight),
        "powers": lambda self, x: x.ratio**0.5 + x.ratio**-1 + x.kl**3 + (1 + x.entropy) ** -2 + x.ratio.rsqrt(),
        "logarithms": lambda self, x: torch.log1p(x.kl) + torch.log(x.ratio + 1) - torch.expm1(-x.kl),
        "deviation": lambda self, x: x.advantage * x.ratio / (x.ratio.std(-1, keepdim=True) + self.beta),
        "log of a negative number": lambda self, x: x.ratio * torch.log(x.advantage),
        "a leaf": lambda self, x: x.log_prob,
        "no leaf": lambda self, x: 0 * x.advantage,
        "a field": lambda self, x: self.clip.expand_as(x.advantage),
        "a constant": lambda self, x: torch.zeros_like(x.advantage),
        "in place": in_place,
        "masks": masks,
        "flat": flat,
        "constants": constants,
    }
