"""Where each microsecond of training goes: the functions of a step are wrapped and their own time is summed by row.

A wrapped function's time is its own: what wrapped functions inside it take is theirs. Inside a phase (estimates, old
policy, diagnostics after the update) everything belongs to the phase. What is not wrapped is the last row.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# row -> where its functions are looked up, "module:name" or "module:Class.name"
PHASES = {
    "update: advantages and values": ["rlbench.training.loop:estimate"],
    "update: old policy": ["rlbench.improve.minibatches:BaseProblem._evaluate_old_policy"],
    "update: diagnostics after it": [
        "rlbench.improve.compiled:CompiledProblem.measure",
        "rlbench.training.loop:explained_variance",
    ],
}
PARTS = {
    "rollout: noise": ["rlbench.functional.distributions:Family.draw_noise"],
    "rollout: policy and environment": ["rlbench.training.envs.classic:ClassicBatch.rollout"],
    "rollout: bookkeeping": ["rlbench.training.rollout:Collector.collect"],
    "update: gather": [
        "rlbench.improve.minibatches:BaseProblem._gather",
        "rlbench.improve.minibatches:BaseProblem._order",
    ],
    "update: forward": ["rlbench.functional.networks:ActorCritic.forward"],
    "update: surrogate": ["rlbench.improve.replay:Replay.__call__"],
    "update: likelihood": [
        f"rlbench.functional.likelihoods:{name}"
        for name in (
            *("CategoricalLikelihood.__init__", "Likelihood.log_prob", "Likelihood.entropy", "Likelihood.kl_from"),
            *("Likelihood.vjp_log_prob", "Likelihood.vjp_entropy", "Likelihood.vjp_kl"),
        )
    ],
    "update: value loss": ["rlbench.improve.compiled:value_loss"],
    "update: backward": ["rlbench.functional.networks:ActorCritic.backward"],
    "update: optimiser": ["rlbench.improve.compiled:CompiledProblem.ascend"],
    "update: diagnostics per gradient step": [
        "rlbench.improve.diagnostics:Meter.add_policy_step",
        "rlbench.improve.diagnostics:Meter.add",
    ],
    "update: the step around these": ["rlbench.improve.compiled:CompiledProblem.gradient"],
}
REST = "the loop and what is not wrapped"
ROWS = [*PARTS, *PHASES, REST]
ROWS.sort(key=lambda row: (row == REST, not row.startswith("rollout")))


class Clock:
    """Own time per row, by a stack of what is running."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(ROWS, 0.0)
        self._running: list[str] = []
        self._since = 0.0

    def enter(self, row: str) -> None:
        """Begin a function of `row`; inside a phase it belongs to the phase."""
        now = time.perf_counter()
        running = self._running[-1] if self._running else ""
        if running:
            self.seconds[running] += now - self._since
        self._running.append(running if running in PHASES else row)
        self._since = time.perf_counter()

    def leave(self) -> None:
        """End what began last."""
        now = time.perf_counter()
        self.seconds[self._running.pop()] += now - self._since
        self._since = time.perf_counter()


def find(place: str) -> tuple[Any, str]:
    """Return (owner, name) of "module:Class.name"; AttributeError where the function has moved."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    getattr(owner, name)
    return owner, name


@contextmanager
def clocked() -> Iterator[Clock]:
    """Wrap the functions while the context lasts."""
    clock, replaced = Clock(), []
    try:
        for row, places in (PHASES | PARTS).items():
            for place in places:
                owner, name = find(place)
                original = owner.__dict__[name] if inspect.isclass(owner) else getattr(owner, name)
                replaced.append((owner, name, original))
                setattr(owner, name, _wrapped(original, clock, row))
        yield clock
    finally:
        for owner, name, original in reversed(replaced):
            setattr(owner, name, original)


def _wrapped(function: Callable[..., Any], clock: Clock, row: str) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
            running = function(*args, **kwargs)
            while True:
                clock.enter(row)
                try:
                    item = next(running)
                except StopIteration:
                    return
                finally:
                    clock.leave()
                yield item

        return generator

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        clock.enter(row)
        try:
            return function(*args, **kwargs)
        finally:
            clock.leave()

    return plain


def break_down(train: Callable[[], float], steps: int) -> dict[str, float]:
    """Return microseconds per environment step of each row, for a `train` that returns its loop's seconds.

    `steps` counts those of all replicas.
    """
    with clocked() as clock:
        total = train()
    clock.seconds[REST] += total - sum(clock.seconds.values())
    return {row: 1e6 * seconds / steps for row, seconds in clock.seconds.items()}
