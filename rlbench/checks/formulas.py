"""What the checks are made on: samples of a policy that moved, and the way to say what is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rlbench.algorithm import Algorithm, pack_key, stack
from rlbench.data import Estimates, Samples, Stats, Trajectory
from rlbench.fields import Field, fields_of
from rlbench.functional.distributions import Categorical, DiagonalGaussian, Distribution
from rlbench.functional.losses import mean

REPLICAS, SAMPLES, ACTIONS = 3, 50, 4  # 50: no multiple of a vector register, where unequal rounding shows


class Broken(Exception):
    """A check failed; the message says what to change."""


def require(condition: bool, message: str) -> None:
    """Raise Broken with `message` unless `condition` holds."""
    if not condition:
        raise Broken(message)


@dataclass(frozen=True, eq=False)
class Case:
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

    def alone(self, r: int, build: Callable[[torch.Tensor], Distribution]) -> Samples:
        """Return the samples of one replica as it has them where it trains alone, `[1, B]`."""
        own = slice(r, r + 1)
        return Samples.from_heads(
            build, self.head[own].detach(), self.old_head[own], self.action[own], self.x.advantage[own]
        )


def make_case(
    build: Callable[[torch.Tensor], Distribution],
    replicas: int | None,
    *,
    moved: float = 0.3,
    changed: int | None = None,
    samples: int = SAMPLES,
) -> Case:
    """Return samples of a policy that moved away from the old one; `[B]` tensors without `replicas`, else `[R, B]`.

    The replica `changed`, if there is one, saw something else than it did without.
    """
    lead = (samples,) if replicas is None else (replicas, samples)
    rng, other = np.random.default_rng(0), np.random.default_rng(1)

    def normal(*shape: int) -> torch.Tensor:
        numbers, others = (one.standard_normal(shape).astype(np.float32) for one in (rng, other))
        if changed is not None:
            numbers[changed] = others[changed]
        return torch.from_numpy(numbers)

    old_head = normal(*lead, ACTIONS)
    head = (old_head + moved * normal(*lead, ACTIONS)).requires_grad_()
    if build is Categorical:
        action = torch.from_numpy(rng.integers(ACTIONS, size=lead))
    else:
        center, log_std = old_head.chunk(2, -1)
        action = center + log_std.exp() * normal(*lead, ACTIONS // 2)
    return Case(Samples.from_heads(build, head, old_head, action, normal(*lead)), head, old_head, action)


_SEEN = ("reward", "value", "next_value", "terminated", "ended")


def check_surrogate(algorithm: Algorithm) -> None:
    """The surrogate returns one finite number per sample."""
    for build in (Categorical, DiagonalGaussian):
        for replicas in (None, REPLICAS):
            x = make_case(build, replicas).x
            one = algorithm if replicas is None else stack([algorithm] * replicas)
            value = one.surrogate(x)
            require(
                value.shape == x.advantage.shape,
                f"surrogate must return one number per sample, {tuple(x.advantage.shape)}, not {tuple(value.shape)}; "
                "reduce only with rlbench.functional.mean, which keeps the axis.",
            )
            require(bool(torch.isfinite(value).all()), "surrogate must return finite numbers for finite samples.")


def check_same_twice(algorithm: Algorithm) -> None:
    """The formulas return the same numbers for the same numbers."""
    whole, x, trajectory = stack([algorithm] * REPLICAS), make_case(Categorical, REPLICAS).x, _trajectory((REPLICAS,))
    for name, compute in (
        ("surrogate", lambda: (whole.surrogate(x),)),
        ("advantages", lambda: Estimates(*whole.advantages(trajectory))),
    ):
        require(
            _equal(compute(), compute()),
            f"{name} must return the same numbers for the same samples: draw no random numbers, keep no state.",
        )


def check_replicas(algorithm: Algorithm) -> None:
    """No replica's surrogate or advantages depend on what another replica saw."""
    whole = stack([algorithm] * REPLICAS)

    def surrogate(changed: int | None) -> list[torch.Tensor]:
        return list(whole.surrogate(make_case(Categorical, REPLICAS, changed=changed).x))

    def advantages(changed: int | None) -> list[torch.Tensor]:
        parts = [part for part in whole.advantages(_trajectory((REPLICAS,), changed=changed)) if part is not None]
        return list(torch.stack(parts).movedim(2, 0))

    for name, compute, hint in (
        ("surrogate", surrogate, "a leading axis; reduce over the last axis only, with rlbench.functional.mean."),
        (
            "advantages",
            advantages,
            "the axis between time and copies; reduce over the first and the last axis only, as "
            "rlbench.functional.rollout_mean does.",
        ),
    ):
        before = compute(None)
        for r in range(REPLICAS):
            after = compute(r)
            require(
                _equal(before[:r] + before[r + 1 :], after[:r] + after[r + 1 :]),
                f"{name} mixes replicas: a reduction runs over {hint}",
            )
    _check_slopes(whole)


def check_alone(algorithm: Algorithm) -> None:
    """A replica among others with other hyper-parameters has the numbers that it has alone, but for rounding.

    Made on several numbers of samples, since a formula may take only some, and on both kinds of policies. Where it
    takes none of them, its exception is raised.
    """
    variants = _variants(algorithm)
    together = stack(variants)
    raised: list[Exception] = []
    sizes = [SAMPLES, 64, algorithm.samples_per_update // algorithm.minibatches]
    for build, samples in itertools.product((Categorical, DiagonalGaussian), sizes):
        case = make_case(build, len(variants), samples=samples)
        try:
            whole = together.surrogate(case.x)
            parts = [stack([one]).surrogate(case.alone(r, build)) for r, one in enumerate(variants)]
        except Exception as error:  # a plugin may raise anything
            raised.append(error)
            continue
        require(
            all(
                torch.allclose(whole[r], part[0], rtol=1e-3, atol=1e-5, equal_nan=True) for r, part in enumerate(parts)
            ),
            "surrogate mixes replicas: a run has other numbers alone than in a pack; reduce over the last axis only, "
            "with rlbench.functional.mean, and use no number of replicas, no generator, no other's hyper-parameters.",
        )
    if len(raised) == 2 * len(sizes):
        raise raised[0]
    trajectory = _trajectory((len(variants),))
    estimates = Estimates(*together.advantages(trajectory))
    for r, one in enumerate(variants):
        own = {name: getattr(trajectory, name)[:, r : r + 1] for name in _SEEN}
        alone = stack([one]).advantages(Trajectory(**own))
        require(
            all(
                torch.allclose(part[:, r], other[:, 0], rtol=1e-3, atol=1e-5, equal_nan=True)
                for part, other in zip(estimates, Estimates(*alone), strict=True)
                if part is not None and other is not None
            ),
            "advantages mixes replicas: a run has other numbers alone than in a pack; reduce over the first and the "
            "last axis only, as rlbench.functional.rollout_mean does, and use hyper-parameters as they are, [..., 1].",
        )


def _check_slopes(whole: Algorithm) -> None:
    """No derivative of one replica's surrogate depends on another replica, where the value itself may not show it."""
    case = make_case(Categorical, REPLICAS)
    value = whole.surrogate(case.x)
    for r in range(REPLICAS if value.requires_grad else 0):
        (slope,) = torch.autograd.grad(value[r].sum(), case.head, retain_graph=True)
        require(
            not bool(torch.cat([slope[:r], slope[r + 1 :]]).nan_to_num().any()),  # what is NaN alone shows nothing
            "surrogate mixes replicas: a reduction runs over a leading axis; reduce over the last axis only, with "
            "rlbench.functional.mean.",
        )


def _equal(some: Iterable[torch.Tensor | None], others: Iterable[torch.Tensor | None]) -> bool:
    """Return whether tensors, or their absence, are equal to the bit."""
    pairs = zip(some, others, strict=True)
    return all(
        a is b or (a is not None and b is not None and bool(a.eq(b).logical_or(a.isnan() & b.isnan()).all()))
        for a, b in pairs
    )


def check_stacking(algorithm: Algorithm) -> None:
    """Hyper-parameters `[R, 1]` give what floats give."""
    variants = _variants(algorithm)
    case = make_case(Categorical, len(variants))
    together = stack(variants).surrogate(case.x)
    for r, one in enumerate(variants):
        alone = one.surrogate(case.replica(r))
        require(
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


def check_policy_gradient(algorithm: Algorithm) -> None:
    """At ratio 1 the surrogate's gradient is the policy gradient."""
    if not algorithm.is_policy_gradient:
        return
    case = make_case(Categorical, None, moved=0.0)
    x = case.x
    value = mean(algorithm.surrogate(x)).sum()
    require(
        value.requires_grad,
        "The surrogate does not depend on the policy; use x.ratio, x.log_prob, x.entropy or x.kl, or declare "
        "is_policy_gradient = False on the class if that is intended.",
    )
    (slope,) = torch.autograd.grad(value, case.head, retain_graph=True)
    (expected,) = torch.autograd.grad(mean(x.log_prob * x.advantage).sum(), case.head)
    require(
        torch.allclose(slope, expected, rtol=1e-4, atol=1e-6),
        "At ratio 1 the surrogate's gradient is not the policy gradient of log_prob * advantage; correct it, or "
        "declare is_policy_gradient = False on the class if that is intended.",
    )


def check_adapt(algorithm: Algorithm) -> None:
    """`adapt` keeps class, static fields and shapes, and decides for each replica by itself."""
    kls = (0.0, 1e-4, 0.05, 5.0)
    for kl in kls:
        _check_adapted(algorithm, stack([algorithm] * REPLICAS), _stats([kl] * REPLICAS))
    variants = [*_variants(algorithm), algorithm]
    together, again = (stack(variants).adapt(_stats(kls)) for _ in range(2))
    hypers = [name for name, field in fields_of(type(algorithm)).items() if field.is_hyper]
    require(
        all(torch.equal(getattr(together, name), getattr(again, name)) for name in hypers),
        "adapt must return the same numbers for the same statistics: draw no random numbers, keep no state.",
    )
    for r, kl in enumerate(kls):
        alone = stack([variants[r]]).adapt(_stats([kl]))
        for name, field in fields_of(type(algorithm)).items():
            if field.is_hyper:
                require(
                    torch.equal(getattr(together, name)[r], getattr(alone, name)[0]),
                    f"adapt mixes replicas: the field {name} of one depends on the others' statistics; decide per "
                    "replica, with torch.where instead of if and mean.",
                )


def _stats(kls: Sequence[float]) -> Stats:
    column = torch.tensor(kls)[:, None]
    return Stats(kl=column, entropy=column, surrogate=column, mean_return=column, progress=column.clamp(max=1))


def _check_adapted(algorithm: Algorithm, stacked: Algorithm, stats: Stats) -> None:
    new = stacked.adapt(stats)
    require(isinstance(new, type(algorithm)), "adapt must return an algorithm of the same class, by self.replace.")
    require(pack_key(new) == pack_key(stacked), "adapt must not change static fields; make the field a hyper.")
    for name, field in fields_of(type(algorithm)).items():
        if field.is_hyper:
            value = getattr(new, name)
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            require(
                shape == (REPLICAS, 1),
                f"adapt made the field {name} {shape}; every hyper-parameter must stay [..., 1], one per replica.",
            )


def check_advantages(algorithm: Algorithm) -> None:
    """`advantages` keeps shapes and gives finite numbers."""
    for lead, one in (((), algorithm), ((REPLICAS,), stack([algorithm] * REPLICAS))):
        trajectory = _trajectory(lead)
        shape = tuple(trajectory.reward.shape)
        estimates = Estimates(*one.advantages(trajectory))
        for name, tensor in estimates._asdict().items():
            if tensor is None:
                continue
            require(tensor.shape == shape, f"advantages must return {name} {shape}, not {tuple(tensor.shape)}.")
            require(bool(torch.isfinite(tensor).all()), f"advantages must return a finite {name}.")


def _trajectory(lead: tuple[int, ...], *, changed: int | None = None) -> Trajectory:
    """Return what a rollout of 20 steps and 2 copies may have seen; another one for the replica `changed`."""

    def draw(rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        shape = (20, *lead, 2)
        numbers = [torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) for _ in range(3)]
        return *numbers, *(torch.from_numpy(rng.random(shape) < 0.1) for _ in range(2))

    parts = draw(np.random.default_rng(0))
    if changed is not None:
        for part, other in zip(parts, draw(np.random.default_rng(1)), strict=True):
            part[:, changed] = other[:, changed]
    reward, value, following, terminated, truncated = parts
    return Trajectory(reward, value, following, terminated, terminated | truncated)
