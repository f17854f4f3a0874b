"""Formulas that nobody thought of: random compositions, to the bit where torch and numpy both round correctly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbench import Algorithm, Samples, hyper, static
from rlbench.algorithm import stack
from rlbench.improve.replay import Replay, record

Array = npt.NDArray[Any]
Tensor = torch.Tensor
REPLICAS, SIZE = 5, 6

# Where -0.0 meets 0.0 torch itself may take either one; nothing here divides by a zero that may have a sign. Roots are
# not among them: on some processors torch takes those of a library that does not round them correctly.
UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "neg": lambda a: -a,
    "abs": torch.abs,
    "square": torch.square,
    "cube": lambda a: a**3,
    "reciprocal": lambda a: 1 / (a + 0.5),
    "sign": torch.sign,
    "relu": torch.relu,
    "detach": lambda a: a.detach(),
    "clone": torch.clone,
    "one less": lambda a: 1 - a,
    "scaled": lambda a: 0.3 * a,
    "band": lambda a: a.clamp(-0.5, 0.5),
    "floor": lambda a: a.clamp(min=0.25),
    "ceiling": lambda a: torch.clamp_max(a, 0.75),
    "positive": lambda a: (a > 0).float(),
    "masked": lambda a: a.masked_fill(a < 0, 2.0),
    "filled": lambda a: (a + 0.5).masked_fill_(a != a, 0.0),
    "either": lambda a: torch.where(a > 0.5, a + a, a + a),
    "zeros": torch.zeros_like,
}
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": lambda a, b: a / (b + 0.5),
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "at least": lambda a, b: torch.clamp(a, min=b),
    "less": lambda a, b: torch.where(a < b, a, 2 * b),
    "equal": lambda a, b: torch.where(a == b, a, 0.0) + torch.where(a >= b, 1.0, b),
    "both": lambda a, b: ((a > 0) & ~(b > 0) | (a == 0)).float() * b,
    "added to": lambda a, b: (a + torch.zeros_like(b)).add_(b),
}
Step = tuple[str, int, int]
steps = st.tuples(st.sampled_from([*UNARY, *BINARY]), st.integers(0, 30), st.integers(0, 30))


class Composed(Algorithm):
    """A formula given as steps, each of which takes earlier results; their sum is the surrogate."""

    low: float = hyper(-0.5)
    scale: float = hyper(2.0)
    steps: tuple[Step, ...] = static(())
    summed: int = static(1)

    def surrogate(self, x: Samples) -> Tensor:
        low, scale = (torch.as_tensor(one) for one in (self.low, self.scale))
        results = [x.log_prob, x.value, x.advantage, x.target, low, scale]
        for name, first, second in self.steps:
            a, b = results[first % len(results)], results[second % len(results)]
            results.append(UNARY[name](a) if name in UNARY else BINARY[name](a, b))
        total = results[-1] + torch.zeros_like(x.advantage)
        for one in results[-1 - self.summed : -1]:
            total = total + one
        return total


def by_autograd(algorithm: Algorithm, inputs: dict[str, Array], upstream: Array) -> tuple[Array, dict[str, Array]]:
    tensors = {name: torch.from_numpy(values.copy()) for name, values in inputs.items()}
    by = {name: tensors[name].requires_grad_() for name in ("log_prob", "value")}

    class Given:
        def __getattr__(self, name: str) -> Callable[[], Tensor]:
            return lambda: by[name]

    rest = {name: tensors[name] for name in ("advantage", "target")}
    zero = torch.zeros_like(rest["target"])
    x = Samples(**rest, old_log_prob=zero, old_value=zero, terms=Given())  # type: ignore[arg-type]
    surrogate = algorithm.surrogate(x)
    if surrogate.requires_grad:
        surrogate.backward(torch.from_numpy(upstream).expand(surrogate.shape))
    grads = {name: x.grad.numpy() for name, x in by.items() if x.grad is not None}
    return surrogate.detach().numpy(), grads


@settings(max_examples=150)
@given(st.lists(steps, min_size=1, max_size=12), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_compositions_are_autograd_to_the_bit(formula: list[Step], summed: int, seed: int) -> None:
    algorithm = stack([Composed(steps=tuple(formula), summed=summed, low=-0.5 * r, scale=r) for r in range(REPLICAS)])
    replay = record(algorithm, SIZE, weighted=False)
    assert isinstance(replay, Replay), replay
    rng = np.random.default_rng(seed)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], np.float32)
    inputs = {}
    for name in ("log_prob", "value", "advantage", "target"):
        # In halves, so that there are ties; with a few numbers that are none.
        values = np.round(2 * rng.standard_normal((REPLICAS, SIZE))).astype(np.float32) / 2
        inputs[name] = np.where(rng.random(values.shape) < 0.05, rng.choice(special, values.shape), values)
    upstream = rng.uniform(0.5, 1.5, (REPLICAS, 1)).astype(np.float32)
    surrogate, grads = replay(algorithm, inputs, upstream)
    expected, expected_grads = by_autograd(algorithm, inputs, upstream)
    np.testing.assert_array_equal(surrogate, expected)
    assert grads.keys() == expected_grads.keys()
    for name in grads:
        np.testing.assert_array_equal(grads[name], expected_grads[name])
