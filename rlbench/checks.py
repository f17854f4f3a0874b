"""The contract suite: what every algorithm must keep, ours and anybody's; `rlbench check` runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from rlbench.algorithm import Algorithm, Field, configure, fields_of, pack_key, stack
from rlbench.data import Estimates, Samples, Stats, Trajectory
from rlbench.errors import RlbenchError
from rlbench.functional.distributions import Categorical, DiagonalGaussian, Distribution
from rlbench.functional.surrogates import mean
from rlbench.records import Environment, RunRecord
from rlbench.training.envs.probes import register_probes
from rlbench.training.trainer import train

SOLVED = 0.8  # return on the probe, of at most 1
REPLICAS, SAMPLES, ACTIONS = 3, 50, 4  # 50: no multiple of a vector register, where unequal rounding shows


@dataclass(frozen=True)
class CheckResult:
    """One check's outcome; `message` says in one sentence what to change, and is empty if the check passed."""

    name: str
    passed: bool
    message: str = ""


class _Broken(Exception):
    """A check failed; the message says what to change."""


def check_algorithm(cls: type[Algorithm]) -> Iterator[CheckResult]:
    """Run the contract suite on an algorithm, cheapest checks first, and yield each result as it is known.

    A check that raises counts as failed, with the exception as its message. If the algorithm cannot be constructed
    without arguments, nothing else is tried.
    """
    built = _result("constructs without arguments", partial(_check_constructs, cls))
    yield built
    if not built.passed:
        return
    algorithm = configure(cls, {}, cls.name)
    for name, check in _CHECKS.items():
        yield _result(name, partial(check, algorithm))


def _result(name: str, check: Callable[[], None]) -> CheckResult:
    try:
        check()
    except _Broken as broken:
        return CheckResult(name, False, str(broken))
    except Exception as error:  # a plugin may raise anything
        return CheckResult(name, False, f"It raised {type(error).__name__}: {error}")
    return CheckResult(name, True)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise _Broken(message)


def _check_constructs(cls: type[Algorithm]) -> None:
    _require(bool(cls.name), "Give the class a name, such as name = 'my-variant'.")
    try:
        configure(cls, {name: field.default for name, field in fields_of(cls).items()}, cls.name)
    except RlbenchError as error:
        raise _Broken(f"Its own defaults are refused: {error}") from error
    cls()


@dataclass(frozen=True, eq=False)
class _Case:
    """Samples with what they were made of."""

    x: Samples
    head: torch.Tensor
    old_head: torch.Tensor
    action: torch.Tensor

    def replica(self, r: int) -> Samples:
        """Return the samples of one replica, without the leading axis."""
        return Samples.from_heads(
            Categorical, self.head[r].detach(), self.old_head[r], self.action[r], self.x.advantage[r]
        )


def _case(build: Callable[[torch.Tensor], Distribution], replicas: int | None, *, moved: float = 0.3) -> _Case:
    """Return samples of a policy that moved away from the old one; `[B]` tensors without `replicas`, else `[R, B]`."""
    rng = np.random.default_rng(0)
    lead = (SAMPLES,) if replicas is None else (replicas, SAMPLES)

    def normal(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))

    old_head = normal(*lead, ACTIONS)
    head = (old_head + moved * normal(*lead, ACTIONS)).requires_grad_()
    if build is Categorical:
        action = torch.from_numpy(rng.integers(ACTIONS, size=lead))
    else:
        center, log_std = old_head.chunk(2, -1)
        action = center + log_std.exp() * normal(*lead, ACTIONS // 2)
    return _Case(Samples.from_heads(build, head, old_head, action, normal(*lead)), head, old_head, action)


def _check_surrogate(algorithm: Algorithm) -> None:
    for build in (Categorical, DiagonalGaussian):
        for replicas in (None, REPLICAS):
            x = _case(build, replicas).x
            one = algorithm if replicas is None else stack([algorithm] * replicas)
            value = one.surrogate(x)
            _require(
                value.shape == x.advantage.shape,
                f"surrogate must return one number per sample, {tuple(x.advantage.shape)}, not {tuple(value.shape)}; "
                "reduce only with rlbench.functional.mean, which keeps the axis.",
            )
            _require(bool(torch.isfinite(value).all()), "surrogate must return finite numbers for finite samples.")
            _require(
                torch.equal(value, one.surrogate(x)),
                "surrogate must return the same numbers for the same samples: draw no random numbers, keep no state.",
            )


def _check_replicas(algorithm: Algorithm) -> None:
    case = _case(Categorical, REPLICAS)
    inputs = (case.head, case.x.advantage.requires_grad_())
    value = stack([algorithm] * REPLICAS).surrogate(case.x)
    if not value.requires_grad:
        return
    for r in range(REPLICAS):
        slopes = torch.autograd.grad(value[r].sum(), inputs, retain_graph=True, allow_unused=True)
        others = [torch.cat([slope[:r], slope[r + 1 :]]) for slope in slopes if slope is not None]
        _require(
            not any(bool(slope.any()) for slope in others),
            "surrogate mixes replicas: a reduction runs over a leading axis; reduce over the last axis only, with "
            "rlbench.functional.mean.",
        )


def _check_stacking(algorithm: Algorithm) -> None:
    variants = _variants(algorithm)
    case = _case(Categorical, len(variants))
    together = stack(variants).surrogate(case.x)
    for r, one in enumerate(variants):
        alone = one.surrogate(case.replica(r))
        _require(
            torch.allclose(together[r], alone, rtol=1e-4, atol=1e-5),
            "surrogate gives other numbers for hyper-parameters [R, 1] than for floats; use tensor operations that "
            "broadcast, such as rlbench.functional.clip.",
        )


def _variants(algorithm: Algorithm) -> list[Algorithm]:
    """Return copies whose hyper fields differ a little, within their ranges."""
    hypers = [field for field in fields_of(type(algorithm)).values() if field.is_hyper]

    def varied(field: Field, factor: float) -> float:
        value = getattr(algorithm, field.name)
        other = value * factor if value else 1 - factor
        inside = (field.low is None or other >= field.low) and (field.high is None or other <= field.high)
        return float(other if inside else value)

    return [algorithm.replace(**{field.name: varied(field, factor) for field in hypers}) for factor in (1.0, 0.9, 0.8)]


def _check_policy_gradient(algorithm: Algorithm) -> None:
    if not algorithm.is_policy_gradient:
        return
    case = _case(Categorical, None, moved=0.0)
    x = case.x
    value = mean(algorithm.surrogate(x)).sum()
    _require(
        value.requires_grad,
        "The surrogate does not depend on the policy; use x.ratio, x.log_prob, x.entropy or x.kl, or declare "
        "is_policy_gradient = False on the class if that is intended.",
    )
    (slope,) = torch.autograd.grad(value, case.head, retain_graph=True)
    (expected,) = torch.autograd.grad(mean(x.log_prob * x.advantage).sum(), case.head)
    _require(
        torch.allclose(slope, expected, rtol=1e-4, atol=1e-6),
        "At ratio 1 the surrogate's gradient is not the policy gradient of log_prob * advantage; correct it, or "
        "declare is_policy_gradient = False on the class if that is intended.",
    )


def _check_adapt(algorithm: Algorithm) -> None:
    kls = (0.0, 1e-4, 0.05, 5.0)
    for kl in kls:
        _check_adapted(algorithm, stack([algorithm] * REPLICAS), _stats([kl] * REPLICAS))
    together = stack([algorithm] * len(kls)).adapt(_stats(kls))
    for r, kl in enumerate(kls):
        alone = stack([algorithm]).adapt(_stats([kl]))
        for name, field in fields_of(type(algorithm)).items():
            if field.is_hyper:
                _require(
                    torch.equal(getattr(together, name)[r], getattr(alone, name)[0]),
                    f"adapt mixes replicas: the field {name} of one depends on the others' statistics; decide per "
                    "replica, with torch.where instead of if and mean.",
                )


def _stats(kls: Sequence[float]) -> Stats:
    column = torch.tensor(kls)[:, None]
    return Stats(kl=column, entropy=column, surrogate=column, mean_return=column, progress=column.clamp(max=1))


def _check_adapted(algorithm: Algorithm, stacked: Algorithm, stats: Stats) -> None:
    new = stacked.adapt(stats)
    _require(isinstance(new, type(algorithm)), "adapt must return an algorithm of the same class, by self.replace.")
    _require(pack_key(new) == pack_key(stacked), "adapt must not change static fields; make the field a hyper.")
    for name, field in fields_of(type(algorithm)).items():
        if field.is_hyper:
            value = getattr(new, name)
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            _require(
                shape == (REPLICAS, 1),
                f"adapt made the field {name} {shape}; every hyper-parameter must stay [..., 1], one per replica.",
            )


def _check_advantages(algorithm: Algorithm) -> None:
    rng = np.random.default_rng(0)
    for lead, one in (((), algorithm), ((REPLICAS,), stack([algorithm] * REPLICAS))):
        shape = (20, *lead, 2)
        reward, value, following = (torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) for _ in range(3))
        terminated = torch.from_numpy(rng.random(shape) < 0.1)
        ended = terminated | torch.from_numpy(rng.random(shape) < 0.1)
        estimates = Estimates(*one.advantages(Trajectory(reward, value, following, terminated, ended)))
        for name, tensor in estimates._asdict().items():
            if tensor is None:
                continue
            _require(tensor.shape == shape, f"advantages must return {name} {shape}, not {tuple(tensor.shape)}.")
            _require(bool(torch.isfinite(tensor).all()), f"advantages must return a finite {name}.")


def _train(algorithm: Algorithm, environment: str, updates: int, seeds: list[int]) -> list[RunRecord]:
    steps = updates * algorithm.samples_per_update
    records = train([algorithm] * len(seeds), Environment(environment), steps, seeds)
    for record in records:
        _require(record.status == "finished", f"Training on {environment} ended early: {record.reason}.")
    return records


def _same(a: RunRecord, b: RunRecord) -> bool:
    tables = ((a.episodes, b.episodes), (a.updates, b.updates))
    return all(
        left.keys() == right.keys() and all(np.array_equal(left[k], right[k], equal_nan=True) for k in left)
        for left, right in tables
    )


def _check_repeats(algorithm: Algorithm) -> None:
    first, second = (_train(algorithm, "CartPole-v1", 2, [3])[0] for _ in range(2))
    _require(_same(first, second), "Two trainings with one seed differ: draw no random numbers in the algorithm.")


def _check_packs(algorithm: Algorithm) -> None:
    alone = _train(algorithm, "CartPole-v1", 2, [3])[0]
    packed = _train(algorithm, "CartPole-v1", 2, [7, 3, 5])[1]
    _require(
        _same(alone, packed) and _rounds_alike(algorithm),
        "A run gives other numbers in a pack than alone: look for a reduction over a leading axis, state kept between "
        "calls, or a torch function whose rounding depends on the position (pow, sigmoid, softplus); exp, log and "
        "arithmetic do not.",
    )


def _rounds_alike(algorithm: Algorithm) -> bool:
    """Return whether the surrogate and its gradient are the same to the bit alone and in a pack."""
    whole = _case(Categorical, REPLICAS)
    values = stack([algorithm] * REPLICAS).surrogate(whole.x)
    slopes = _slope(values, whole.head)
    for r in range(REPLICAS):
        part = slice(r, r + 1)
        head = whole.head[part].detach().clone().requires_grad_()
        x = Samples.from_heads(Categorical, head, whole.old_head[part], whole.action[part], whole.x.advantage[part])
        value = stack([algorithm]).surrogate(x)
        if not (torch.equal(value, values[part]) and torch.equal(_slope(value, head), slopes[part])):
            return False
    return True


def _slope(value: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    if not value.requires_grad:
        return torch.zeros_like(head)
    (slope,) = torch.autograd.grad(value.sum(), head)
    return slope


def _check_learns(algorithm: Algorithm) -> None:
    if not algorithm.learns:
        return
    register_probes()
    reached = 0.0
    for steps, least in ((10_000, 5), (20_000, 10)):  # many need half the budget only
        updates = max(-(-steps // algorithm.samples_per_update), least)
        record = _train(algorithm, "rlbench/ProbeContext-v0", updates, [0])[0]
        reached = float(record.episodes["return"][-200:].mean())
        if reached > SOLVED:
            return
    raise _Broken(
        f"It does not solve the probe (act by the sign of the observation): return {reached:.2f} at the end, best 1; "
        "check the sign of the surrogate, or declare learns = False on the class."
    )


_CHECKS: dict[str, Callable[[Algorithm], None]] = {
    "surrogate is one finite number per sample": _check_surrogate,
    "replicas are independent": _check_replicas,
    "stacked equals single": _check_stacking,
    "policy gradient at ratio 1": _check_policy_gradient,
    "adapt keeps class, static fields and shapes": _check_adapt,
    "advantages keep their shape": _check_advantages,
    "one seed, one result": _check_repeats,
    "alone equals in a pack": _check_packs,
    "solves a probe environment": _check_learns,
}
