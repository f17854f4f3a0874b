"""What an update costs: floating-point operations of every pass through a network that was made, and seconds.

Operations are those of matrix products, two for each weight and sample (a product and a sum):

    forward     2 w                  w the number of weights of a stack
    backward    2 w + 2 (w - w1)     gradients of the weights, and of each layer's input but the first's; w1 the
                                     first layer's weights
    jvp         2 w + 2 (w - w1)     the derivative along a direction; with a backward pass a Fisher product

Biases, activations, distributions and Adam are left out; for two layers of 64 they are a few per cent.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mechanism_policies import algorithm
from rlbench import Algorithm, Environment, Params
from rlbench.functional.networks import ActorCritic, Output, Stack, Tape
from rlbench.improve.compiled import CompiledProblem
from rlbench.improve.minibatches import Batch
from rlbench.training.engines import Training
from rlbench.training.rollout import estimate

Array = npt.NDArray[Any]

UPDATES, WARM_UP = 10, 2
THINNED = 10
"""One sample in so many enters a Fisher product of a `ThinnedProblem` (Schulman et al. 2015, appendix C)."""


def forward_operations(stack: Stack) -> int:
    """Return the operations of a forward pass of one sample."""
    return 2 * sum(i * o for i, o in stack.shapes)


def further_operations(stack: Stack) -> int:
    """Return the operations of a backward pass of one sample, or of a derivative along a direction."""
    inputs, outputs = stack.shapes[0]
    return 2 * forward_operations(stack) - 2 * inputs * outputs


@dataclass(frozen=True)
class CountedNetwork(ActorCritic):
    """Separate networks that count the operations of the policy's passes and of the value's."""

    tally: Counter[str] = field(default_factory=Counter, compare=False)

    @classmethod
    def of(cls, network: ActorCritic) -> CountedNetwork:
        """Return a network that counts, else like `network`."""
        assert not network.shared
        return cls(**{one.name: getattr(network, one.name) for one in fields(network)})

    def forward(self, flat: Array, x: Array, *, policy: bool = True, value: bool = True) -> Output:
        """As `ActorCritic.forward`."""
        self._count(x, forward_operations, policy, value)
        return super().forward(flat, x, policy=policy, value=value)

    def backward(self, flat: Array, tape: Tape, grad_head: Array | None, grad_value: Array | None) -> Array:
        """As `ActorCritic.backward`."""
        self._count(tape.x, further_operations, grad_head is not None, grad_value is not None)
        return super().backward(flat, tape, grad_head, grad_value)

    def jvp_head(self, flat: Array, tape: Tape, tangent: Array) -> Array:
        """As `ActorCritic.jvp_head`."""
        self._count(tape.x, further_operations, True, False)
        return super().jvp_head(flat, tape, tangent)

    def _count(self, x: Array, operations: Callable[[Stack], int], policy: bool, value: bool) -> None:
        samples = x.shape[0] * x.shape[1]
        self.tally["policy"] += samples * operations(self.policy) * policy
        self.tally["value"] += samples * operations(self.value) * value


class CountedProblem(CompiledProblem):
    """An improvement step that counts gradients, Fisher products and the points that a line search tried."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: Counter[str] = Counter()

    def gradient(self, *args: Any, **kwargs: Any) -> Any:
        """As `CompiledProblem.gradient`."""
        self.calls["gradients"] += 1
        return super().gradient(*args, **kwargs)

    def policy_samples(self, params: Params, batch: Batch) -> Any:
        """As `CompiledProblem.policy_samples`."""
        self.calls["line_search"] += 1
        return super().policy_samples(params, batch)

    def fisher(self, params: Params, batch: Batch) -> Callable[[Params], Params]:
        """As `CompiledProblem.fisher`."""
        product = super().fisher(params, batch)

        def counted(vector: Params) -> Params:
            self.calls["fisher_products"] += 1
            return product(vector)

        return counted


class ThinnedProblem(CountedProblem):
    """The same with every tenth sample in the Fisher products."""

    def fisher(self, params: Params, batch: Batch) -> Callable[[Params], Params]:
        """As `CompiledProblem.fisher`."""
        observation = np.ascontiguousarray(batch.observation[:, ::THINNED])
        shares = np.full(observation.shape[:2], 1 / observation.shape[1], np.float32)
        return super().fisher(params, replace(batch, observation=observation, shares=shares))


class CountedRun:
    """A run whose updates are counted and timed, one at a time."""

    def __init__(self, one: Algorithm, problem: type[CountedProblem], environment: Environment, seed: int) -> None:
        self._training = Training([one], environment, one.samples_per_update, [seed])
        self._network, self._problem = CountedNetwork.of(self._training.network), problem

    def update(self) -> dict[str, float]:
        """Collect a rollout, improve on it, and return what the improvement took."""
        run = self._training
        rollout = estimate(run.algorithm, run.network, run.params, run.collect(run.horizon))
        problem = self._problem(
            run.algorithm, self._network, run.family, run.params, run.optimizer, rollout,
            lr=run.rate(0.0), alive=run.outcomes.alive, permute=run.streams.permute,
        )  # fmt: skip
        self._network.tally.clear()
        started = time.process_time()
        run.params = run.algorithm.improve(problem).numpy()
        seconds = time.process_time() - started
        policy, value = self._network.tally["policy"], self._network.tally["value"]
        names = ("gradients", "fisher_products", "line_search")
        return {
            "operations": policy + value,
            "policy_operations": policy,
            "cpu_seconds": seconds,
            **{name: problem.calls[name] for name in names},
        }


def runs(environment: Environment, seed: int) -> dict[str, CountedRun]:
    """Return a run of every arm: 2048 steps an update, minibatches of 64, step sizes not annealed."""
    made: dict[str, tuple[Algorithm, type[CountedProblem]]] = {
        "ppo-clip K=4": (algorithm("ppo-clip", epochs=4, anneal_lr=False), CountedProblem),
        "ppo-clip K=10": (algorithm("ppo-clip", epochs=10, anneal_lr=False), CountedProblem),
        "trpo": (algorithm("trpo", anneal_lr=False), CountedProblem),
        "trpo fisher=10%": (algorithm("trpo", anneal_lr=False), ThinnedProblem),
    }
    return {arm: CountedRun(one, problem, environment, seed) for arm, (one, problem) in made.items()}


def measure(environment: Environment, seed: int) -> dict[str, dict[str, float]]:
    """Return what an update of each arm takes, in the mean over ten; the arms take turns, as the machine changes.

    `teraflops` and `cpu_seconds` are per million environment steps, `log2_flops` and `log2_seconds` their logarithms,
    which compare as ratios.
    """
    arms = runs(environment, seed)
    rows: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
    for _ in range(WARM_UP + UPDATES):
        for arm, run in arms.items():
            rows[arm].append(run.update())
    return {arm: _summary(made[WARM_UP:]) for arm, made in rows.items()}


def _summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the numbers of one arm from those of its updates; of times the median, which a pause does not move."""
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    updates = 1e6 / 2048
    seconds = float(np.median([row["cpu_seconds"] for row in rows])) * updates
    teraflops, policy = (mean.pop(name) * updates / 1e12 for name in ("operations", "policy_operations"))
    return {
        **mean,
        "teraflops": teraflops,
        "policy_teraflops": policy,
        "log2_flops": float(np.log2(teraflops)),
        "log2_policy_flops": float(np.log2(policy)),
        "cpu_seconds": seconds,
        "log2_seconds": float(np.log2(seconds)),
    }
