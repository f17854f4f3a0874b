"""Checks of an algorithm's formulas, on samples of a policy that moved and on the trajectory of a small rollout."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from rlbench.algorithm import Algorithm, pack_key, stack
from rlbench.data import Estimates, Samples, Stats, Trajectory
from rlbench.errors import nearest
from rlbench.fields import Field, fields_of
from rlbench.functional.distributions import Categorical, DiagonalGaussian, Distribution
from rlbench.functional.returns import mean

_REPLICAS, _ACTIONS = 3, 4
_LONGEST = 400  # numbers of an observation: more than MuJoCo's have
_SAMPLES = 50  # no multiple of a vector register, where unequal rounding shows


class Broken(Exception):
    """A check failed; the message says what to change."""


def require(condition: bool, message: str) -> None:
    """Raise Broken with `message` unless `condition` holds."""
    if not condition:
        raise Broken(message)


@dataclass(frozen=True, eq=False)
class Case:
    """Samples of `[..., B]`, with the policy heads that they come from."""

    build: Callable[[torch.Tensor], Distribution]
    head: torch.Tensor
    old_head: torch.Tensor
    action: torch.Tensor
    advantage: torch.Tensor

    def __post_init__(self) -> None:
        self.head.requires_grad_()

    @property
    def x(self) -> Samples:
        """The samples, computed anew."""
        return Samples.from_heads(self.build, self.head, self.old_head, self.action, self.advantage)

    def replica(self, r: int | slice) -> Case:
        """Return the case of one replica: `[B]`, or `[1, B]` for a slice."""
        head = self.head[r].detach().clone()
        return Case(self.build, head, self.old_head[r], self.action[r], self.advantage[r])


def make_case(
    build: Callable[[torch.Tensor], Distribution],
    replicas: int | None,
    *,
    moved: float = 0.3,
    changed: int | None = None,
    samples: int = _SAMPLES,
) -> Case:
    """Return samples of a policy that moved away from the old one; `[B]` tensors without `replicas`, else `[R, B]`.

    The replica `changed`, if any, has other samples than without.
    """
    lead = (samples,) if replicas is None else (replicas, samples)
    generators = np.random.default_rng(0), np.random.default_rng(1)

    def normal(*shape: int) -> torch.Tensor:
        numbers, others = (rng.standard_normal(shape).astype(np.float32) for rng in generators)
        if changed is not None:
            numbers[changed] = others[changed]
        return torch.from_numpy(numbers)

    old_head = normal(*lead, _ACTIONS)
    head = old_head + moved * normal(*lead, _ACTIONS)
    if build is Categorical:
        action = torch.from_numpy(generators[0].integers(_ACTIONS, size=lead))
    else:
        center, log_std = old_head.chunk(2, -1)
        action = center + log_std.exp() * normal(*lead, _ACTIONS // 2)
    return Case(build, head, old_head, action, normal(*lead))


def _trajectory(algorithm: Algorithm, lead: tuple[int, ...], *, changed: int | None = None) -> Trajectory:
    """Return a rollout of 20 steps and 2 copies, `[20, *lead, 2]`, with actions of a kind that `advantages` takes.

    It is another one for the replica `changed`. Observations are as long as the longest that are usual.
    """
    try:
        algorithm.advantages(_made((), None, Categorical))
        return _made(lead, changed, Categorical)
    except Exception:  # a plugin may raise anything; perhaps it is for continuous actions
        return _made(lead, changed, DiagonalGaussian)


def _made(lead: tuple[int, ...], changed: int | None, build: Callable[[torch.Tensor], Distribution]) -> Trajectory:

    def draw(rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        shape = (20, *lead, 2)
        numbers = [torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) for _ in range(3)]
        ends = [torch.from_numpy(rng.random(shape) < 0.1) for _ in range(2)]
        seen, moved = (
            torch.from_numpy(rng.standard_normal((*shape, size)).astype(np.float32)) for size in (_LONGEST, _ACTIONS)
        )
        action = torch.from_numpy(rng.integers(_ACTIONS, size=shape)) if build is Categorical else moved
        return *numbers, *ends, seen, action, -numbers[0].abs()

    parts = draw(np.random.default_rng(0))
    if changed is not None:
        for part, other in zip(parts, draw(np.random.default_rng(1)), strict=True):
            part[:, changed] = other[:, changed]
    reward, value, next_value, terminated, truncated, observation, action, log_prob = parts
    ended = terminated | truncated
    return Trajectory(reward, value, next_value, terminated, ended, observation, action, lambda: log_prob)


def _stats(kls: Sequence[float]) -> Stats:
    column = torch.tensor(kls)[:, None]
    share = column.clamp(max=1)
    more = {"clip_fraction": share, "explained_variance": share, "grad_norm": column}
    return Stats(kl=column, entropy=column, surrogate=column, mean_return=column, progress=share, **more)


def _hypers(algorithm: Algorithm) -> list[Field]:
    return [field for field in fields_of(type(algorithm)).values() if field.is_hyper]


def _variants(algorithm: Algorithm) -> list[Algorithm]:
    """Return copies whose hyper fields differ a little, within their ranges."""

    def varied(field: Field, factor: float) -> float:
        value = getattr(algorithm, field.name)
        other = value * factor if value else 1 - factor
        inside = (field.low is None or other >= field.low) and (field.high is None or other <= field.high)
        return float(other if inside else value)

    hypers = _hypers(algorithm)
    return [algorithm.replace(**{field.name: varied(field, factor) for field in hypers}) for factor in (1.0, 0.9, 0.8)]


def _equal(some: Iterable[torch.Tensor | None], others: Iterable[torch.Tensor | None]) -> bool:
    """Return whether tensors, or their absence, are equal to the bit."""
    return all(
        a is b or (a is not None and b is not None and bool(a.eq(b).logical_or(a.isnan() & b.isnan()).all()))
        for a, b in zip(some, others, strict=True)
    )


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Return whether tensors are equal but for rounding."""
    return torch.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True)


def _check_surrogate(algorithm: Algorithm) -> None:
    for build in (Categorical, DiagonalGaussian):
        for replicas in (None, _REPLICAS):
            x = make_case(build, replicas).x
            value = (algorithm if replicas is None else stack([algorithm] * replicas)).surrogate(x)
            _require_per_sample(value, x)
            require(bool(torch.isfinite(value).all()), "surrogate must return finite numbers for finite samples.")


def _require_per_sample(value: object, x: Samples) -> None:
    shape = tuple(x.advantage.shape)
    require(value is not None, f"surrogate returned None; return one number per sample, {shape}.")
    if not isinstance(value, torch.Tensor):
        raise Broken(f"surrogate must return a tensor, one number per sample, not {value!r}.")
    require(
        value.shape == shape,
        f"surrogate must return one number per sample, {shape}, not {tuple(value.shape)}; reduce only with "
        "rlbench.functional.mean, which keeps the axis.",
    )


def _check_usable(algorithm: Algorithm) -> None:
    """Refuse a surrogate that cannot be right whatever the samples are; what else it raises may be due to these."""
    whole = stack([algorithm] * _REPLICAS)
    for build, samples in itertools.product((Categorical, DiagonalGaussian), _sizes(algorithm)):
        x = make_case(build, _REPLICAS, samples=samples).x
        try:
            value = whole.surrogate(x)
        except (NameError, AttributeError, NotImplementedError) as error:
            absent = isinstance(error, AttributeError) and not isinstance(error.obj, Samples)
            require(absent, f"surrogate raised {type(error).__name__}: {error}.{hint_at_error(error)}")
        except Exception:  # a plugin may raise anything
            continue
        else:
            _require_per_sample(value, x)
            return


def _sizes(algorithm: Algorithm) -> list[int]:
    """Return numbers of samples to try a formula with, the last one that of the algorithm's own minibatches."""
    return [_SAMPLES, 64, algorithm.samples_per_update // algorithm.minibatches]


def hint_at_error(error: BaseException) -> str:
    """Return what helps against an exception that formulas often raise, with a space before it, or ""."""
    message = str(error)
    if isinstance(error, AttributeError) and isinstance(error.obj, Samples | Trajectory | Stats):
        names = [name for name in dir(error.obj) if not name.startswith("_")]
        return nearest(str(error.name), names)
    written = "Write it as surrogate(self, x), advantages(self, tr), adapt(self, stats) or improve(self, problem)."
    hints = {
        "Boolean value of Tensor": "Decide per replica by torch.where, or declare the field as static.",
        "cannot be interpreted as an integer": "Declare a whole number as static.",
        "cannot assign to field": "Nothing is kept on self: adapt returns self.replace(...), and improve keeps tensors "
        "in problem.memory.",
        "positional argument": written,
        "missing 1 required": written,
    }
    return next((f" {hint}" for sign, hint in hints.items() if sign in message), "")


def _check_advantages(algorithm: Algorithm) -> None:
    for lead, each in (((), algorithm), ((_REPLICAS,), stack([algorithm] * _REPLICAS))):
        trajectory = _trajectory(algorithm, lead)
        shape = tuple(trajectory.reward.shape)
        for name, tensor in Estimates(*each.advantages(trajectory))._asdict().items():
            if tensor is not None:
                require(tensor.shape == shape, f"advantages must return {name} {shape}, not {tuple(tensor.shape)}.")
                require(bool(torch.isfinite(tensor).all()), f"advantages must return a finite {name}.")


def _check_same_twice(algorithm: Algorithm) -> None:
    whole = stack([algorithm] * _REPLICAS)
    x, trajectory = make_case(Categorical, _REPLICAS).x, _trajectory(algorithm, (_REPLICAS,))
    for name, compute in (
        ("surrogate", lambda: (whole.surrogate(x),)),
        ("advantages", lambda: Estimates(*whole.advantages(trajectory))),
    ):
        require(
            _equal(compute(), compute()),
            f"{name} must return the same numbers for the same samples: draw no random numbers, keep no state.",
        )


def _check_replicas(algorithm: Algorithm) -> None:
    whole = stack([algorithm] * _REPLICAS)

    def surrogate(changed: int | None) -> Iterable[torch.Tensor]:
        return whole.surrogate(make_case(Categorical, _REPLICAS, changed=changed).x)

    def advantages(changed: int | None) -> Iterable[torch.Tensor]:
        trajectory = _trajectory(algorithm, (_REPLICAS,), changed=changed)
        parts = [part for part in whole.advantages(trajectory) if part is not None]
        return torch.stack(parts).movedim(2, 0)

    mixed = (
        "surrogate mixes replicas: a reduction runs over a leading axis; reduce over the last axis only, with "
        "rlbench.functional.mean."
    )
    _require_independent(surrogate, mixed)
    _require_independent(
        advantages,
        "advantages mixes replicas: a reduction runs over the axis between time and copies; reduce over the first and "
        "the last axis only, as rlbench.functional.rollout_mean does.",
    )
    # The gradient may depend on another replica where the value itself does not show it.
    case = make_case(Categorical, _REPLICAS)
    value = whole.surrogate(case.x)
    for r in range(_REPLICAS if value.requires_grad else 0):
        (gradient,) = torch.autograd.grad(value[r].sum(), case.head, retain_graph=True)
        others = torch.cat([gradient[:r], gradient[r + 1 :]])
        require(not bool(others.nan_to_num().any()), mixed)  # NaN alone shows nothing


def _require_independent(compute: Callable[[int | None], Iterable[torch.Tensor]], message: str) -> None:
    """Require that what is computed for one replica does not depend on what another one saw."""
    before = list(compute(None))
    for r in range(_REPLICAS):
        after = list(compute(r))
        require(_equal(before[:r] + before[r + 1 :], after[:r] + after[r + 1 :]), message)


def _check_alone(algorithm: Algorithm) -> None:
    """A replica among others with other hyper-parameters has the numbers that it has alone, but for rounding.

    Made on several numbers of samples, since a formula may take only some, and on both kinds of policies. Where it
    takes none of them, its exception is raised.
    """
    variants = _variants(algorithm)
    together = stack(variants)
    raised: list[Exception] = []
    sizes = _sizes(algorithm)
    for build, samples in itertools.product((Categorical, DiagonalGaussian), sizes):
        case = make_case(build, len(variants), samples=samples)
        try:
            whole = together.surrogate(case.x)
            parts = [stack([each]).surrogate(case.replica(slice(r, r + 1)).x) for r, each in enumerate(variants)]
        except Exception as error:  # a plugin may raise anything
            raised.append(error)
            continue
        require(
            all(_close(whole[r], part[0]) for r, part in enumerate(parts)),
            "surrogate mixes replicas: a run has other numbers alone than in a pack; reduce over the last axis only, "
            "with rlbench.functional.mean, and use no number of replicas, no generator, no other's hyper-parameters.",
        )
    if len(raised) == 2 * len(sizes):
        raise raised[0]
    trajectory = _trajectory(algorithm, (len(variants),))
    estimates = Estimates(*together.advantages(trajectory))
    for r, each in enumerate(variants):
        seen = {name: getattr(trajectory, name)[:, r : r + 1] for name in _SEEN}
        acted = partial(torch.clone, trajectory.log_prob[:, r : r + 1])
        alone = Estimates(*stack([each]).advantages(Trajectory(**seen, acted=acted)))
        require(
            all(
                _close(part[:, r], other[:, 0])
                for part, other in zip(estimates, alone, strict=True)
                if part is not None and other is not None
            ),
            "advantages mixes replicas: a run has other numbers alone than in a pack; reduce over the first and the "
            "last axis only, as rlbench.functional.rollout_mean does, and use hyper-parameters as they are, [..., 1].",
        )


_SEEN = ("reward", "value", "next_value", "terminated", "ended", "observation", "action")


def _check_stacking(algorithm: Algorithm) -> None:
    variants = _variants(algorithm)
    case = make_case(Categorical, len(variants))
    together = stack(variants).surrogate(case.x)
    for r, each in enumerate(variants):
        require(
            torch.allclose(together[r], each.surrogate(case.replica(r).x), rtol=1e-4, atol=1e-5),
            "surrogate gives other numbers for hyper-parameters [R, 1] than for floats; use tensor operations that "
            "broadcast, such as rlbench.functional.clip.",
        )


def _check_policy_gradient(algorithm: Algorithm) -> None:
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
    (gradient,) = torch.autograd.grad(value, case.head, retain_graph=True)
    (expected,) = torch.autograd.grad(mean(x.log_prob * x.advantage).sum(), case.head)
    require(
        torch.allclose(gradient, expected, rtol=1e-4, atol=1e-6),
        "At ratio 1 the surrogate's gradient is not the policy gradient of log_prob * advantage; correct it, or "
        "declare is_policy_gradient = False on the class if that is intended.",
    )


def _check_adapt(algorithm: Algorithm) -> None:
    kls = (0.0, 1e-4, 0.05, 5.0)
    hypers = [field.name for field in _hypers(algorithm)]
    stacked = stack([algorithm] * _REPLICAS)
    for kl in kls:
        new = stacked.adapt(_stats([kl] * _REPLICAS))
        require(isinstance(new, type(algorithm)), "adapt must return an algorithm of the same class, by self.replace.")
        require(pack_key(new) == pack_key(stacked), "adapt must not change static fields; make the field a hyper.")
        for name in hypers:
            value = getattr(new, name)
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            require(
                shape == (_REPLICAS, 1),
                f"adapt made the field {name} {shape}; every hyper-parameter must stay [..., 1], one per replica.",
            )
    variants = [*_variants(algorithm), algorithm]
    together, again = (stack(variants).adapt(_stats(kls)) for _ in range(2))
    require(
        all(torch.equal(getattr(together, name), getattr(again, name)) for name in hypers),
        "adapt must return the same numbers for the same statistics: draw no random numbers, keep no state.",
    )
    for r, kl in enumerate(kls):
        alone = stack([variants[r]]).adapt(_stats([kl]))
        for name in hypers:
            require(
                torch.equal(getattr(together, name)[r], getattr(alone, name)[0]),
                f"adapt mixes replicas: the field {name} of one depends on the others' statistics; decide per "
                "replica, with torch.where instead of if and mean.",
            )


CHECKS: dict[str, Callable[[Algorithm], None]] = {
    "surrogate is one finite number per sample": _check_surrogate,
    "advantages keep their shape": _check_advantages,
    "the same numbers twice": _check_same_twice,
    "replicas are independent": _check_replicas,
    "stacked equals single": _check_stacking,
    "policy gradient at ratio 1": _check_policy_gradient,
    "adapt keeps class, static fields and shapes": _check_adapt,
}
"""The checks by name, in the order in which they are made."""

PROMISES = (_check_usable, _check_same_twice, _check_replicas, _check_alone, _check_adapt)
"""The checks of what every run relies on: it has the same numbers in every pack and every time."""
