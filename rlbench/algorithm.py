"""The contract of a plugin: the one page that the author of an algorithm reads.

An algorithm is a small frozen dataclass. Its fields are its hyper-parameters, its methods are pure formulas; the core
does the rest. A whole plugin, apart from its imports:

    class PPOClip(Algorithm):
        name = "ppo-clip"
        clip: float = hyper(0.2, low=0.0)

        def surrogate(self, x):
            clipped = x.ratio.clamp(1 - self.clip, 1 + self.clip)
            return torch.minimum(x.ratio * x.advantage, clipped * x.advantage)

**The last axis is yours, leading axes are not.** In `surrogate` every sample tensor is `[..., B]` and every
hyper-parameter a float or `[..., 1]`; return one number per sample, `[..., B]`. To reduce, use
`rlbench.functional.mean`, which keeps the axis. In a unit test `...` is empty and hyper-parameters are plain floats;
in training `...` is `[R]`, the replicas that train together. The same code serves both.

Override points, weakest first: `surrogate` < `adapt` < `advantages` < `improve`; and `network`, for another network.
An algorithm that another library trains is a `Peer`. State is returned, never mutated: an adaptive coefficient is a
`hyper` field that `adapt` replaces.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, dataclass_transform

from rlbench.errors import RlbenchError, brief
from rlbench.fields import Field, fields_of, hint_at, hyper, static

if TYPE_CHECKING:  # torch takes a second and a half to import, and a wrong argument is answered without it
    import torch

    from rlbench.data import Estimates, ObservationSize, Params, Problem, Samples, Stats, Trajectory

__all__ = [
    "Algorithm",
    "Field",
    "Peer",
    "configure",
    "fields_of",
    "hyper",
    "identifying",
    "pack_key",
    "settings",
    "stack",
    "static",
]

A = TypeVar("A", bound="Algorithm")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(hyper, static))
class Algorithm:
    """Base class of every algorithm; a subclass becomes a frozen, keyword-only dataclass by itself.

    The defaults are those of the PPO paper's continuous-control runs (Schulman et al. 2017, table 3) with the
    implementation details that CleanRL documents: orthogonal initialisation, Adam's epsilon 1e-5, advantages
    normalised per minibatch, a learning rate annealed to zero, separate networks, gradient norm 0.5.
    """

    name: ClassVar[str] = ""
    is_policy_gradient: ClassVar[bool] = True
    """Whether the surrogate's gradient at ratio 1 is the policy gradient; a deliberate exception says False."""
    foreign: ClassVar[bool] = False
    """Whether only the fields that the class itself declares are its own: those of a `Peer`."""
    learns: ClassVar[bool] = True
    """Whether training improves the policy; a deliberate exception says False."""

    lr: float = hyper(3e-4, low=0.0, doc="Adam's step size at the start")
    gamma: float = hyper(0.99, low=0.0, high=1.0, doc="discount factor")
    gae_lambda: float = hyper(0.95, low=0.0, high=1.0, doc="lambda of generalised advantage estimation")
    entropy_coef: float = hyper(0.0, low=0.0, doc="weight of the entropy bonus (the paper's c2)")
    value_coef: float = hyper(0.5, low=0.0, doc="weight of the value loss 0.5 (V - target)^2 (the paper's c1)")
    value_clip: float = hyper(float("inf"), low=0.0, doc="range of PPO2's value clipping; inf: none")
    max_grad_norm: float = hyper(0.5, low=0.0, doc="bound on the norm of the whole gradient; inf: none")
    adam_eps: float = hyper(1e-5, low=0.0, doc="Adam's epsilon")
    target_kl: float = hyper(float("inf"), low=0.0, doc="stop an update once its KL passes 1.5 x this; inf: never")
    initial_log_std: float = hyper(0.0, doc="log standard deviation of a Gaussian policy at the start")

    mean_noise: float = hyper(0.0, low=0.0, late=True, doc="uniform noise on a Gaussian's means in updates, half-width")
    value_lr_factor: float = hyper(1.0, low=0.0, late=True, doc="step size of a separate value network over lr")

    horizon: int = static(2048, low=1, doc="steps per environment copy in one rollout")
    num_envs: int = static(1, low=1, doc="environment copies of one run")
    epochs: int = static(10, low=1, doc="passes over a rollout")
    minibatches: int = static(32, low=1, doc="equal parts of a rollout, one gradient step each")
    hidden: tuple[int, ...] = static((64, 64), low=1, doc="widths of the hidden layers")
    activation: str = static("tanh", choices=("tanh", "relu"), doc="activation of the hidden layers")
    shared_trunk: bool = static(False, doc="one hidden stack for policy and value instead of two")
    orthogonal_init: bool = static(True, doc="orthogonal weights (gain sqrt 2, policy 0.01, value 1) or torch's")
    anneal_lr: bool = static(True, doc="let the step size fall linearly to zero over the budget")
    normalize_advantage: str = static(
        "minibatch",
        choices=("minibatch", "batch", "none"),
        doc="over which samples advantages are standardised",
    )
    normalize_observation: bool = static(False, doc="standardise observations by running statistics")
    normalize_reward: bool = static(False, doc="divide rewards by the running deviation of the discounted return")
    optimizer: str = static(
        "adam",
        choices=("adam", "rmsprop", "rmsprop-tf", "sgd"),
        late=True,
        doc="rmsprop is PyTorch's, rmsprop-tf TensorFlow's; adam_eps is their epsilon, too",
    )
    reestimate: bool = static(False, late=True, doc="estimate advantages anew, with the latest value, in every epoch")
    squash: bool = static(False, late=True, doc="squash real actions to their bounds by tanh instead of cutting them")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            raise TypeError(f"{cls.__name__} has an __init__: declare its values by hyper(...) or static(...) instead")
        dataclasses.dataclass(frozen=True, kw_only=True, eq=False)(cls)
        declared, inherited = fields_of(cls), fields_of(next(filter(dataclasses.is_dataclass, cls.__mro__[1:])))
        for name in declared.keys() & inherited.keys():
            if declared[name].kind != inherited[name].kind:
                kind = inherited[name].kind
                raise TypeError(f"{cls.__name__}.{name} is a {kind} field: declare it by {name}: TYPE = {kind}(...)")
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # a dataclass since two lines
            # A bare `clip = 0.1` over an inherited field would go unnoticed: instances keep the inherited default.
            bare = field.name in cls.__dict__ and cls.__dict__[field.name] is not field.default
            own = declared.get(field.name)
            if own and own.is_hyper and field.type in (int, bool, "int", "bool"):
                raise TypeError(f"{cls.__name__}.{field.name} is no float: declare it by static(...)")
            hidden = cls.foreign and field.name in fields_of(Algorithm)
            if bare or not (hidden or field.name in declared):
                how = f"{field.name}: TYPE = hyper(...) or static(...)"
                raise TypeError(f"{cls.__name__}.{field.name} is a field: declare it by {how}")
        known = {*inspect.get_annotations(cls)}.union(*(vars(base) for base in cls.__mro__[1:]))
        for name in (name for name in vars(cls) if name not in known and name[0].islower()):
            value = vars(cls)[name]  # `eps = 0.2` would be a number that nobody can set
            if type(value) in (bool, int, float):
                how = f"{name}: {type(value).__name__} = hyper({value}) or static({value})"
                raise TypeError(f"{cls.__name__}.{name} is no field: declare it by {how}, or call it _{name}")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Return the objective per sample, `[..., B]`, to be maximised. The one method that is required."""
        raise NotImplementedError(f"{type(self).__name__} must define surrogate(self, x)")

    def adapt(self, stats: Stats) -> Self:
        """Return the algorithm for the next update, for example with another coefficient; once per update.

        Every tensor of `stats` is `[..., 1]`, measured over the whole update. Use `self.replace(clip=...)`.
        """
        return self

    def advantages(self, tr: Trajectory) -> tuple[torch.Tensor, torch.Tensor] | Estimates:
        """Return (advantage, value target), each `[T, ..., N]`; a third tensor weighs the samples, 0 leaves one out.

        Default: generalised advantage estimation (Schulman et al. 2016, equation 16).
        """
        from rlbench.functional.returns import gae

        return gae(tr.reward, tr.value, tr.next_value, tr.terminated, tr.ended, gamma=self.gamma, lam=self.gae_lambda)

    def improve(self, problem: Problem) -> Params:
        """Return the parameters after one update, `[R, P]`; the only method that sees the replica axis.

        Default: `epochs` passes of minibatch Adam on surrogate, entropy bonus and value loss.
        """
        from rlbench.improve import first_order

        return first_order(problem)

    def network(self, observations: ObservationSize, outputs: int) -> torch.nn.Module | None:
        """Return a new torch module to train instead of the built-in network, or None for that (the default).

        The module is of one replica: it maps observations `[B, observations]` to (head `[B, outputs]`, value `[B]`),
        or to one tensor `[B, outputs + 1]` whose last column is the value. The head holds logits of discrete actions
        or means of continuous ones, whose log standard deviations the core adds. Initial weights come from torch's
        own generator, which is set from the run's seed. Policy and value are separate, as TRPO needs, if they share no
        parameter. `observations.shape` is the environment's own shape: `torch.nn.Unflatten(-1, observations.shape)`
        gives images back.

        No dropout or batch statistics: the module is a function of its parameters and one observation. A recurrent
        layer may run over what is inside of that; it remembers nothing from one step to the next.

        Such an algorithm is trained through autograd, one replica after the other on the CPU, which is slower than
        the built-in network; `hidden`, `activation`, `shared_trunk` and `orthogonal_init` have no effect of their own.
        """
        return None

    def validate(self) -> None:
        """Raise ValueError with one sentence if fields contradict each other; ranges are checked before."""

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]  # a dataclass since subclassing

    @property
    def copies(self) -> int:
        """Environment copies of one run."""
        return self.num_envs

    @property
    def samples_per_update(self) -> int:
        """Environment steps of one rollout, all copies together."""
        return self.horizon * self.num_envs

    @property
    def band(self) -> float | torch.Tensor:
        """Half-width of the ratio band that clip fractions refer to: the field `clip`, or 0.2 where there is none."""
        width: float | torch.Tensor = getattr(self, "clip", 0.2)
        return width


dataclasses.dataclass(frozen=True, kw_only=True, eq=False)(Algorithm)


class Peer(Algorithm):
    """An algorithm that another library trains, one run at a time, beside which others are compared.

    It declares its fields under the names that the library has for them, and has none of `Algorithm`'s; those called
    `n_envs` and `n_steps`, if it has them, are environment copies and steps of each in one rollout. No formula of
    `Algorithm`'s is used. `package` is the library's name where it is installed from.
    """

    foreign = True
    is_policy_gradient = False
    package: ClassVar[str] = ""

    def train(self, environments: Sequence[Any], steps: int, seed: int) -> None:
        """Train one run on `copies` environments of Gymnasium's interface, for `steps` of all of them together.

        They record their episodes, are reset to the seeds that all algorithms of the run's seed have, whatever seed
        they are given, and raise an exception, which must pass, when a step is asked for that the budget does not have.
        """
        raise NotImplementedError(f"{type(self).__name__} must define train(self, environments, steps, seed)")

    @property
    def copies(self) -> int:
        """Environment copies of one run."""
        return getattr(self, "n_envs", 1)

    @property
    def samples_per_update(self) -> int:
        """Environment steps of one rollout, all copies together."""
        return self.copies * getattr(self, "n_steps", 1)


def pack_key(algorithm: Algorithm) -> Hashable:
    """Return what two runs must share to train in one pack: the class and every static field."""
    statics = tuple(
        (name, getattr(algorithm, name)) for name, field in fields_of(type(algorithm)).items() if not field.is_hyper
    )
    return (type(algorithm), statics)


def stack(algorithms: Sequence[Algorithm]) -> Algorithm:
    """Return one algorithm whose hyper fields are tensors `[R, 1]`, the values of `algorithms` in order.

    Raises ValueError if classes or static fields differ.
    """
    import torch

    first = algorithms[0]
    if any(pack_key(other) != pack_key(first) for other in algorithms):
        raise ValueError("replicas of one pack must share the class and every static field")
    return first.replace(
        **{
            name: torch.tensor([[getattr(algorithm, name)] for algorithm in algorithms], dtype=torch.float32)
            for name, field in fields_of(type(first)).items()
            if field.is_hyper
        }
    )


def configure(cls: type[A], overrides: Mapping[str, Any], where: str) -> A:
    """Return `cls` with `overrides`, every value checked; `where` opens the message of an error.

    Raises RlbenchError for an unknown field (naming the nearest), a wrong type, a value out of range, or fields
    that contradict each other.
    """
    known, parsed = fields_of(cls), {}
    for name, value in overrides.items():
        if name not in known:
            raise RlbenchError(f"{where}: {cls.name} has no field {brief(name)}.{hint_at(name, known)}")
        parsed[name] = known[name].parse(value, where)
    algorithm = cls(**parsed)
    if not cls.foreign:
        _check_minibatches(algorithm, where)
    try:
        algorithm.validate()
    except ValueError as error:
        raise RlbenchError(f"{where}: {error}") from error
    return algorithm


def _check_minibatches(algorithm: Algorithm, where: str) -> None:
    """Raise RlbenchError where a rollout has no equal parts, or parts of one sample that is standardised."""
    samples = algorithm.samples_per_update
    if samples % algorithm.minibatches:
        raise RlbenchError(
            f"{where}: horizon x num_envs = {samples} samples cannot be split into {algorithm.minibatches} equal "
            f"minibatches; set minibatches to a divisor of {samples}."
        )
    alone = {"minibatch": samples // algorithm.minibatches, "batch": samples}.get(algorithm.normalize_advantage)
    if alone == 1:
        raise RlbenchError(
            f"{where}: the advantage of a single sample is 0 once it is standardised, so that nothing would be learnt; "
            "set normalize_advantage to none, or take more samples per minibatch."
        )


def settings(algorithm: Algorithm) -> dict[str, Any]:
    """Return every field of `algorithm` as a JSON value, sorted by name; infinity becomes the string "inf"."""
    values = {name: getattr(algorithm, name) for name in sorted(fields_of(type(algorithm)))}
    return {name: _json(value) for name, value in values.items()}


def identifying(algorithm: Algorithm) -> dict[str, Any]:
    """Return the `settings` that a run is known by: without late fields that have their defaults.

    Runs were stored before such a field was declared, and are the same.
    """
    known = fields_of(type(algorithm))
    late = {name for name, field in known.items() if field.late and getattr(algorithm, name) == field.default}
    return {name: value for name, value in settings(algorithm).items() if name not in late}


def _json(value: Any) -> Any:
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return list(value) if isinstance(value, tuple) else value
