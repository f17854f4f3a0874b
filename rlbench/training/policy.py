"""A trained policy by itself: what is kept of a run, and what acts with it, one observation at a time.

It is kept as an npz file without pickle, which numpy alone reads: `header`, a JSON document as bytes, and plain arrays.
The first axis of most counts the K moments of the training that are kept; the last of them is its end.

    step [K]                                      environment steps of the run
    policy.0.weight [K, in, out], policy.0.bias   layers of the built-in network; its last outputs are logits or means
    [K, out], policy.1.weight ...                 (and, of a shared trunk, the value)
    value.0.weight ...                            layers of its value network
    log_std [K, A]                                log standard deviations of continuous actions
    module.NAME [K, ...]                          tensors of a network of the algorithm's own
    observation.mean, observation.scale [K, O]    what observations are shifted and divided by, where they are
    action.start, action.low, action.high         as `ActionSpec` has them

A file never runs code: a network of an algorithm's own is built by that algorithm, which whoever loads it must know.
"""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from rlbench.algorithm import Algorithm, configure, settings
from rlbench.data import ObservationSize
from rlbench.errors import RlbenchError
from rlbench.files import ANY, COUNT, FLAG, LABEL, WHOLE, Each, Kind, check, pack, unpack
from rlbench.functional.distributions import Distribution, Family, family
from rlbench.functional.networks import ActorCritic, flat_from, named
from rlbench.functional.torch_networks import (
    MODULE,
    ModuleError,
    TensorNetwork,
    read_output,
    seeded,
    set_tensors,
    with_log_std,
)
from rlbench.records import Environment
from rlbench.training.envs.base import ActionSpec, ObservationEncoder
from rlbench.training.envs.normalize import CLIP, standardised
from rlbench.training.state import Array

SCHEMA = 1
_HEADER = {
    "schema": COUNT,
    "algorithm": LABEL,
    "settings": Each(ANY),
    "environment": {"id": LABEL, "options": Each(ANY), "wrappers?": [ANY]},
    "observation": {"shape": [COUNT], "categories?": COUNT, "first?": WHOLE},
    "action": {"kind": LABEL, "sizes": [COUNT], "shape": [COUNT], "dtype": LABEL},
}
_BUILT_IN = {
    "hidden": [COUNT],
    "activation": Kind("tanh or relu", lambda value: value in ("tanh", "relu")),
    "shared_trunk": FLAG,
}
_OF_ACTIONS = ("start", "low", "high")
Find = Callable[[str], type[Algorithm]]
"""Returns the algorithm of a name."""


def kept(
    algorithm: Algorithm,
    environment: Environment,
    observation: ObservationEncoder,
    action: ActionSpec,
    network: ActorCritic | TensorNetwork,
    params: Array,
    statistics: Array,
    steps: Sequence[int],
) -> bytes:
    """Return what is kept of one run after `steps`: parameters `[K, P]`, and what observations are normalised by.

    That is `[K, 2, O]`, a shift and a scale, or `[K, 2, 0]` where they are not.
    """
    header = {
        "schema": SCHEMA,
        "algorithm": algorithm.name,
        "settings": settings(algorithm),
        "environment": environment.document(),
        "observation": observation.document(),
        "action": {
            "kind": action.kind,
            "sizes": list(action.sizes),
            "shape": list(action.shape),
            "dtype": action.dtype.name,
        },
    }
    arrays: dict[str, Array] = {"step": np.array(steps, np.int64), **named(params, network.slots)}
    for name, constant in getattr(network, "constants", {}).items():
        arrays[f"{MODULE}{name}"] = np.stack([constant] * len(steps))
    if statistics.size:
        arrays |= {"observation.mean": statistics[:, 0], "observation.scale": statistics[:, 1]}
    bounds = {name: getattr(action, name) for name in _OF_ACTIONS}
    arrays |= {f"action.{name}": np.asarray(value) for name, value in bounds.items() if value is not None}
    return bytes(pack(header, arrays))


class Policy:
    """What a run has learnt: called with an observation, or a batch of them, it returns the action, or actions.

        policy = rlbench.load_policy("ppo-vs-reinforce", arm="ppo-clip", environment="CartPole-v1", seed=0)
        env = gymnasium.make("CartPole-v1")
        observation, info = env.reset(seed=1)
        action = policy(observation)

    algorithm, environment, settings   what was trained, where, and with which fields
    steps                              after which environment steps of the training it can be had; the last is the end
    generator                          what actions are drawn from where they are not deterministic; begins at seed 0

    Observations and actions are those of the environment itself: normalisation, one-hot vectors and the bounds of
    actions are inside. Each observation of a batch is treated by itself, so that it gives the same action, to the bit,
    alone and among others.
    """

    def __init__(self, data: bytes, find: Find | None = None) -> None:
        """Read what `kept` returned; `find` is asked for the algorithm that builds a network of its own.

        Raises:
            ValueError: it is no policy, or its parts do not fit together.
            RlbenchError: its algorithm is not known, or builds another network now.
        """
        header, arrays = unpack(data)
        check(header, _HEADER, "its header")
        if header["schema"] != SCHEMA:
            raise ValueError(f"its schema is {header['schema']}, this version reads {SCHEMA}")
        try:
            self._read(header, arrays, find)
        except (KeyError, TypeError, IndexError, AttributeError, OverflowError, MemoryError) as problem:
            raise ValueError("its header and its arrays do not fit together") from problem
        self.generator = np.random.default_rng(0)

    def _read(self, header: Mapping[str, Any], arrays: Mapping[str, Array], find: Find | None) -> None:
        action = header["action"]
        self.algorithm, self.settings = str(header["algorithm"]), header["settings"]
        self.environment = Environment.of(header["environment"])
        self.steps = [int(step) for step in arrays["step"]]
        self.observe = ObservationEncoder(**header["observation"])
        bounds = {name: arrays.get(f"action.{name}") for name in _OF_ACTIONS}
        self.action = ActionSpec(
            action["kind"], tuple(action["sizes"]), tuple(action["shape"]), np.dtype(action["dtype"]), **bounds
        )
        self.family = family(self.action.kind, self.action.sizes)
        self._statistics = tuple(arrays.get(f"observation.{name}") for name in ("mean", "scale"))
        self._moment = len(self.steps) - 1
        _check_shapes(arrays, self.action, self.family, self.observe.size, len(self.steps))
        self.network: ActorCritic | None = None
        self._module: nn.Module | None = None
        own = {name.removeprefix(MODULE): array for name, array in arrays.items() if name.startswith(MODULE)}
        if own:
            self._own, self._log_std = own, arrays.get("log_std")
            self._trained = self._known(find)
            self._module = self._build()
            return
        check(self.settings, _BUILT_IN, "its settings")
        layout = ActorCritic(
            self.observe.size,
            self.family.outputs,
            self.family.log_std_size,
            tuple(self.settings["hidden"]),
            self.settings["activation"],
            self.settings["shared_trunk"],
            by_row=True,
        )
        self._flat = flat_from(arrays, layout.slots)
        self.network = layout

    def _known(self, find: Find | None) -> Algorithm:
        """Return the algorithm that builds the network."""
        if find is None:
            raise RlbenchError(f"{self.algorithm} has a network of its own, which only {self.algorithm} can build.")
        return configure(find(self.algorithm), self.settings, f"The policy of {self.algorithm}")

    def _build(self) -> nn.Module:
        """Return the network of the algorithm's own, with the tensors of the moment."""
        shape = ObservationSize(self.observe.shape)
        module = seeded(0, lambda: self._trained.network(shape, self.family.outputs))
        try:
            if module is None:
                raise ModuleError("network() gives no module")
            set_tensors(module, {name: array[self._moment] for name, array in self._own.items()})
        except ModuleError as problem:
            raise RlbenchError(f"{self.algorithm} is not the algorithm that was trained: {problem}.") from problem
        return module.train(False)

    @property
    def params(self) -> Array:
        """The parameters of the built-in network, `[1, P]`, as `network` has them."""
        return self._flat[self._moment :][:1]

    @property
    def statistics(self) -> tuple[Array, Array] | None:
        """What observations are shifted and divided by, `[O]` each; None where they are not."""
        mean, scale = self._statistics
        return None if mean is None or scale is None else (mean[self._moment], scale[self._moment])

    def at(self, step: int) -> Self:
        """Return the policy as it was after `step` environment steps; RlbenchError where that was not kept."""
        if step not in self.steps:
            raise RlbenchError(f"This policy was kept after {', '.join(map(str, self.steps))} steps, not after {step}.")
        other = copy.copy(self)
        other._moment, other.generator = self.steps.index(step), np.random.default_rng(0)
        if self._module is not None:
            other._module = other._build()
        return other

    def __call__(self, observation: npt.ArrayLike, *, deterministic: bool = True) -> Any:
        """Return the action for one observation, or those for a batch, as the environment takes them.

        `deterministic`: the most likely action (of a Gaussian its mean, squashed where it is); else one that is drawn.
        """
        encoded, batch = self._encoded(observation)
        noise = np.zeros((len(encoded), self.family.noise_size), np.float32)
        if not deterministic:
            noise = self.family.draw_noise(self.generator, (len(encoded),))
        return self.action.to_environment(self.act(encoded, noise)).reshape((*batch, *self.action.shape))[()]

    def distribution(self, observation: npt.ArrayLike) -> Distribution:
        """Return the distribution of the action for one observation, or for each of a batch, before it is clipped."""
        encoded, batch = self._encoded(observation)
        return self.family.build(torch.from_numpy(self.evaluate(encoded)[0].reshape(*batch, -1)))

    def value(self, observation: npt.ArrayLike) -> Any:
        """Return what the value network expects of one observation, or of each of a batch.

        It is the discounted sum of what the algorithm was trained on, which `normalize_reward` scales.
        """
        encoded, batch = self._encoded(observation)
        return self.evaluate(encoded)[1].reshape(batch)[()]

    def act(self, encoded: Array, noise: Array) -> Array:
        """Return the learner's actions `[B]` or `[B, K]` for encoded observations `[B, O]`, by noise `[B, Z]`."""
        return self.family.sample(self.evaluate(encoded, value=False)[0], noise)

    def evaluate(self, encoded: Array, *, value: bool = True) -> tuple[Array, Array]:
        """Return heads `[B, H]` and values `[B]` (empty if not asked for) of encoded observations `[B, O]`."""
        if self.statistics:
            encoded = standardised(encoded, *self.statistics)
        if self.network is not None:
            out = self.network.forward(self.params, encoded[None], value=value)
            return out.head[0], out.value[0] if value else out.value
        assert self._module is not None
        if not len(encoded):
            return np.empty((0, self.family.head_size), np.float32), np.empty(0, np.float32)
        with torch.no_grad():
            rows = [read_output(self._module(row[None])) for row in torch.from_numpy(encoded)]
            head, values = (torch.cat(parts) for parts in zip(*rows, strict=True))
            if self._log_std is not None:
                head = with_log_std(head, torch.from_numpy(self._log_std[self._moment]))
        return head.numpy(), values.numpy()

    def _encoded(self, observation: npt.ArrayLike) -> tuple[Array, tuple[int, ...]]:
        """Return observations as `[B, O]`, and the shape of the batch, () of a single one."""
        given, shape = np.asarray(observation), self.observe.space_shape
        batch = given.shape[: given.ndim - len(shape)]
        if given.shape[len(batch) :] != shape:
            raise RlbenchError(f"An observation of {self.environment.label} has the shape {shape}, not {given.shape}.")
        encoded = self.observe(given.reshape(-1, *shape), (int(np.prod(batch)),))
        return encoded, batch

    def module(self) -> PolicyModule:
        """Return the network as an ordinary torch module: raw observations `[B, ...]` to (head `[B, H]`, value `[B]`).

        It is a copy, with the normalisation inside, and computes as torch does: its numbers differ from those of the
        policy by rounding.
        """
        if self.network is not None:
            network: nn.Module = _built_in(self.network, self.params)
            log_std = self.params[0, self.network.policy.end : self.network.policy_size]
        else:
            network, log_std = self._build(), np.empty(0, np.float32)
            if self._log_std is not None:
                log_std = self._log_std[self._moment]
        return PolicyModule(network, log_std, self.observe, self.action, self.statistics).train(False)

    def to_onnx(self, path: str | Path) -> None:
        """Write the network as ONNX: raw observations `[B, ...]` to action (the most likely one), head and value.

        Raises:
            RlbenchError: a package for it is not installed.
        """
        for package in ("onnx", "onnxscript"):
            if importlib.util.find_spec(package) is None:
                raise RlbenchError(f"Writing ONNX needs {package}; pip install 'rlbench[onnx]' installs it.")
        module, shape = self.module(), self.observe.space_shape
        example = torch.zeros(2, *shape, dtype=torch.int64 if self.observe.first is not None else torch.float32)
        if self.observe.first:
            example += self.observe.first
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own, of its libraries
            torch.onnx.export(
                _Exported(module).train(False),
                (example,),
                str(path),
                input_names=["observation"],
                output_names=["action", "head", "value"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                verbose=False,
            )

    def __repr__(self) -> str:
        return f"<Policy of {self.algorithm} on {self.environment.label}, after {self.steps[self._moment]:,} steps>"


def _check_shapes(
    arrays: Mapping[str, Array], action: ActionSpec, family: Family, observations: int, moments: int
) -> None:
    """Raise ValueError for arrays that are not of numbers, or not those that are asked for."""
    bounds: dict[str, dict[str, tuple[int, ...]]]
    bounds = {"categorical": {"start": ()}, "multicategorical": {"start": (len(action.sizes),)}, "bernoulli": {}}
    needed = bounds.get(action.kind, {"low": action.sizes, "high": action.sizes})
    shapes = {f"action.{name}": shape for name, shape in needed.items()}
    if family.log_std_size:
        shapes["log_std"] = (moments, family.log_std_size)
    if arrays.keys() & {"observation.mean", "observation.scale"}:
        shapes |= dict.fromkeys(("observation.mean", "observation.scale"), (moments, observations))
    given = {name: array.shape for name, array in arrays.items() if name.startswith(("action.", "log_std", "observ"))}
    if given != shapes or action.dtype.kind not in "biuf":
        raise ValueError(f"its arrays are not those of {action.kind} actions and {observations} observed numbers")
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or (name not in shapes and len(array) != moments):
            raise ValueError(f"its {name} is not of numbers at {moments} moments")


class PolicyModule(nn.Module):
    """What `Policy.module` returns; `network` maps what it has normalised as `Algorithm.network` says."""

    mean: torch.Tensor
    scale: torch.Tensor
    start: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __init__(
        self,
        network: nn.Module,
        log_std: Array,
        observation: ObservationEncoder,
        action: ActionSpec,
        statistics: tuple[Array, Array] | None,
    ) -> None:
        super().__init__()
        self.network, self.log_std = network, nn.Parameter(torch.from_numpy(log_std.copy()))
        self._observation, self._action, self._normalised = observation, action, statistics is not None
        for name, values in zip(("mean", "scale"), statistics or (), strict=False):
            self.register_buffer(name, torch.from_numpy(values.copy()))
        for name in _OF_ACTIONS:
            bound = getattr(action, name)
            if bound is not None:
                self.register_buffer(name, torch.from_numpy(np.array(bound)))

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return head `[B, H]` and value `[B]` of raw observations `[B, ...]`, of a Discrete space indices `[B]`."""
        if self._observation.first is not None:
            x = nn.functional.one_hot(observation.long() - self._observation.first, self._observation.size).float()
        else:
            x = observation.float().flatten(1) if observation.dim() > 1 else observation.float().unsqueeze(1)
        if self._normalised:
            x = ((x - self.mean) / self.scale).clamp(-CLIP, CLIP).float()
        head, value = read_output(self.network(x))
        return with_log_std(head, self.log_std), value

    def act(self, observation: torch.Tensor) -> torch.Tensor:
        """Return the most likely actions of raw observations, `[B, ...]`, as the environment takes them."""
        return self.chosen(self(observation)[0])

    def chosen(self, head: torch.Tensor) -> torch.Tensor:
        """Return the most likely actions for heads `[B, H]`."""
        kind, sizes = self._action.kind, self._action.sizes
        if kind == "gaussian":
            chosen = torch.clamp(head[:, : sizes[0]], self.low, self.high)
        elif kind == "squashed":
            stretched = self.low + 0.5 * (torch.tanh(head[:, : sizes[0]]) + 1) * (self.high - self.low)
            chosen = torch.clamp(stretched, self.low, self.high)
        elif kind == "bernoulli":
            chosen = head.reshape(-1, sizes[0], 2).argmax(-1)
        else:
            chosen = torch.stack([part.argmax(-1) for part in torch.split(head, list(sizes), -1)], -1) + self.start
        return chosen.reshape(-1, *self._action.shape)


class _Exported(nn.Module):
    def __init__(self, module: PolicyModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        head, value = self.module(observation)
        return self.module.chosen(head), head, value


class _Separate(nn.Module):
    """Policy and value that share nothing."""

    def __init__(self, policy: nn.Module, value: nn.Module) -> None:
        super().__init__()
        self.policy, self.value = policy, value

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.policy(x), self.value(x)[..., 0]


def _built_in(layout: ActorCritic, flat: Array) -> nn.Module:
    """Return the built-in network with parameters `[1, P]` as layers of torch."""

    def layers(stack: Any) -> nn.Module:
        parts: list[nn.Module] = []
        for weight, bias in stack.layers(flat):
            linear = nn.Linear(*weight.shape[1:])
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(weight[0].T.copy()))
                linear.bias.copy_(torch.from_numpy(bias[0].copy()))
            parts += [linear, nn.Tanh() if layout.activation == "tanh" else nn.ReLU()]
        return nn.Sequential(*parts[:-1])

    return layers(layout.policy) if layout.shared else _Separate(layers(layout.policy), layers(layout.value))
