"""Actor-critic networks of R replicas in torch, on any device, differentiated by autograd.

The general path: `rlbench.functional.networks` writes the derivatives of one kind of network out, here autograd finds
those of any. Parameters are one flat tensor `[R, P]` in both, of which the first `policy_size` are the policy's.

On the CPU a pass goes through the replicas one at a time, each with memory of its own: torch's batched products round
differently for other batch sizes, and its products may round differently at other addresses. So a replica's numbers
do not depend on the others, to the bit. On a GPU all replicas are one batch, and such differences are possible.

A module's tensors lie one after the other in the flat parameters: those that the policy depends on, the free log
standard deviations, those that only the value depends on. What is not learnt (buffers, frozen parameters) lies there,
too, and receives no gradient, so that every replica keeps its own.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import nn

from rlbench.functional.compiled import Array
from rlbench.functional.distributions import Distribution, Family
from rlbench.functional.networks import ActorCritic, Slot, Stack

Tensor = torch.Tensor
T = TypeVar("T")
Evaluated = tuple[Tensor | None, Tensor | None]


class TensorNetwork(ABC):
    """A policy with a value, evaluated on parameters `[R, P]`.

    size          P, the number of parameters of one replica
    policy_size   how many leading parameters the policy depends on
    shared        whether the value depends on them, too
    one_by_one    whether replicas are evaluated one after the other, see the module's docstring
    slots         where the tensors lie in the parameters
    """

    size: int
    policy_size: int
    shared: bool
    one_by_one: bool
    slots: list[Slot]

    @abstractmethod
    def evaluate(self, params: Tensor, x: Tensor, *, policy: bool = True, value: bool = True) -> Evaluated:
        """Return head `[R, B, H]` and value `[R, B]` for observations `[R, B, in]`, differentiable.

        What is not asked for may be None.
        """

    def forward(self, params: Tensor, x: Tensor, *, policy: bool = True, value: bool = True) -> Pass:
        """Return a pass that knows its way back, for observations `[R, B, in]`."""
        return Pass(self, params, x, policy=policy, value=value)

    def parts(self, *, policy: bool, value: bool) -> tuple[bool, bool]:
        """Return which parameters, before `policy_size` and after, move in a step of the policy, the value or both.

        A network that shares parameters between the two steps as a whole.
        """
        return (True, True) if self.shared else (policy, value)

    @torch.no_grad()
    def heads(self, params: Tensor, x: Tensor) -> Tensor:
        """Return the heads `[R, B, H]` without a way back."""
        return _joined([self.evaluate(*piece, value=False)[0] for piece in self.pieces(params, x)])

    def act(self, family: Family, params: Tensor, observation: Array, noise: Array) -> Array:
        """Do what `ActorCritic.act` does: what comes and goes is arrays, the parameters lie on a device."""
        head = self.heads(params, torch.from_numpy(observation).to(params.device))
        return family.sample_tensor(head, torch.from_numpy(noise).to(params.device)).cpu().numpy()

    @torch.no_grad()
    def values(self, params: Tensor, observation: Array) -> Array:
        """Do what `ActorCritic.values` does."""
        pieces = self.pieces(params, torch.from_numpy(observation).to(params.device))
        return _joined([self.evaluate(*piece, policy=False)[1] for piece in pieces]).cpu().numpy()

    def pieces(self, *stacked: Tensor) -> list[tuple[Tensor, ...]]:
        """Return what is evaluated in one go: one replica of each tensor, in memory of its own, or all replicas."""
        if not self.one_by_one:
            return [stacked]
        return [tuple(tensor[r : r + 1].clone() for tensor in stacked) for r in range(len(stacked[0]))]


class Pass:
    """A forward pass: `head` `[R, B, H]` and `value` `[R, B]`, without gradient, and `backward`.

    What was not asked for is an empty tensor.
    """

    def __init__(self, network: TensorNetwork, params: Tensor, x: Tensor, *, policy: bool, value: bool) -> None:
        self._pieces: list[tuple[Tensor, Tensor | None, Tensor | None]] = []
        self._pulls: list[tuple[Tensor, Tensor]] = []  # slopes at the heads, and the gradients they give, J^T slope
        # With gradient even where nobody goes back: some of torch's modules compute otherwise without it, and the
        # ratio before the first step must be exactly 1.
        with torch.enable_grad():
            for flat, observed in network.pieces(params.detach(), x):
                leaf = flat.detach().requires_grad_()
                self._pieces.append((leaf, *network.evaluate(leaf, observed, policy=policy, value=value)))
        self.head = _joined([head for _, head, _ in self._pieces]) if policy else params.new_empty(0)
        self.value = _joined([values for _, _, values in self._pieces]) if value else params.new_empty(0)

    def backward(self, grad_head: Tensor | None, grad_value: Tensor | None) -> Tensor:
        """Return the gradient `[R, P]` of a loss from its gradients at heads and values; None stands for zero."""
        slopes: list[Tensor | None] = []
        for rows, (leaf, head, value) in zip(self._rows(), self._pieces, strict=True):
            pairs = [(out, at) for out, at in ((head, grad_head), (value, grad_value)) if at is not None]
            outputs = [out for out, _ in pairs if out is not None and out.requires_grad]
            seeds = [at[rows].clone() for out, at in pairs if out is not None and out.requires_grad]
            found = torch.autograd.grad(outputs, leaf, seeds, retain_graph=True) if outputs else ()
            slopes += found or (torch.zeros_like(leaf),)
        return _joined(slopes)

    def jvp_head(self, tangent: Tensor) -> Tensor:
        """Return the derivative of the head, `[R, B, H]`, along a direction `[R, P]` of the parameters.

        J^T u is linear in u, so that its own derivative, taken backwards along `tangent`, is J tangent: forward
        differentiation, which not every module supports, is not needed.
        """
        if not self._pulls:
            for leaf, head, _ in self._pieces:
                assert head is not None
                slope = torch.zeros_like(head, requires_grad=True)
                (pulled,) = torch.autograd.grad(head, leaf, slope, create_graph=True)
                self._pulls.append((slope, pulled))
        moved: list[Tensor | None] = []
        for rows, (slope, pulled) in zip(self._rows(), self._pulls, strict=True):
            moved += torch.autograd.grad(pulled, slope, tangent[rows].clone(), retain_graph=True)
        return _joined(moved)

    def _rows(self) -> list[slice]:
        """Return the replicas of each piece."""
        return [slice(None)] if len(self._pieces) == 1 else [slice(r, r + 1) for r in range(len(self._pieces))]


class TensorActorCritic(TensorNetwork):
    """The built-in network: the parameters of `ActorCritic`, at the same places, batched by matrix products."""

    def __init__(self, layout: ActorCritic, *, one_by_one: bool) -> None:
        self._layout, self.slots = layout, layout.slots
        self.size, self.policy_size, self.shared = layout.size, layout.policy_size, layout.shared
        self.one_by_one = one_by_one

    def evaluate(self, params: Tensor, x: Tensor, *, policy: bool = True, value: bool = True) -> Evaluated:
        layout = self._layout
        head: Tensor | None = None
        values: Tensor | None = None
        if policy or self.shared:
            out = _forward(layout.policy, params, x)
            head = out[..., : layout.outputs]
            values = out[..., -1] if self.shared else None
            head = with_log_std(head, params[:, layout.policy.end : layout.policy_size])
        if value and not self.shared:
            values = _forward(layout.value, params, x)[..., 0]
        return head, values


def with_log_std(head: Tensor, free: Tensor) -> Tensor:
    """Return a head `[R, B, outputs]` followed by the free log standard deviations `[R, A]`; A may be 0."""
    if not free.shape[-1]:
        return head
    return torch.cat([head, free.unsqueeze(-2).expand(*head.shape[:-1], -1)], -1)


def head_fisher(build: Callable[[Tensor], Distribution], head: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the map from `[R, B, H]` to the Fisher information with respect to the head times it, `[R, B, H]`.

    The Fisher information is the Hessian of KL(old || new) where the two are equal (Schulman et al. 2015, appendix C).
    """
    with torch.enable_grad():
        here = head.detach().requires_grad_()
        divergence = build(here).kl_from(build(head.detach())).sum()
        (slope,) = torch.autograd.grad(divergence, here, create_graph=True)

    def product(tangent: Tensor) -> Tensor:
        (moved,) = torch.autograd.grad(slope, here, tangent, retain_graph=True)
        return moved

    return product


def _forward(stack: Stack, params: Tensor, x: Tensor) -> Tensor:
    """Return the output `[R, B, out]` of a fully connected network in the flat parameters."""
    replicas, at = len(params), stack.offset
    for k, (inputs, outputs) in enumerate(stack.shapes):
        middle, end = at + inputs * outputs, at + inputs * outputs + outputs
        weight = params[:, at:middle].reshape(replicas, inputs, outputs)
        x = torch.baddbmm(params[:, None, middle:end], x, weight)
        if k < len(stack.shapes) - 1:
            x = x.tanh() if stack.activation == "tanh" else x.relu()
        at = end
    return x


def _joined(parts: list[Tensor | None]) -> Tensor:
    """Return the replicas' results as one tensor, without gradient."""
    kept = [part.detach() for part in parts if part is not None]
    return kept[0] if len(kept) == 1 else torch.cat(kept)


MODULE = "module."  # opens the names of a module's tensors among the slots
_PROBE = 3  # rows of the batch that a module is tried on


class ModuleError(ValueError):
    """A module cannot be trained; the message says what to change."""


def seeded(seed: int, make: Callable[[], T]) -> T:
    """Return `make()` with torch's CPU generator at `seed`; afterwards the generator is as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        return make()


def build_modules(makers: Sequence[Callable[[], nn.Module | None]], seeds: Sequence[int]) -> list[nn.Module] | None:
    """Return one module per maker and seed, or None if the makers give none.

    Raises ModuleError if some give none, or if a seed does not decide the weights.
    """
    made = [seeded(seed, make) for make, seed in zip(makers, seeds, strict=True)]
    modules = [module for module in made if module is not None]
    if not modules:
        return None
    if len(modules) < len(made):
        raise ModuleError("network() gave some replicas a module and others None; let it depend on static fields only")
    again = seeded(seeds[0], makers[0])
    if again is None or not _same_state(modules[0], again):
        raise ModuleError(
            "network() gave other weights when it was called again with the same seed; "
            "draw initial weights from torch's own generator only, and return a new module from each call"
        )
    return modules


class ModuleNetwork(TensorNetwork):
    """R modules of one structure, each of which maps `[B, observations]` to (head `[B, outputs]`, value `[B]`).

    One tensor `[B, outputs + 1]` will do as well; its last column is the value.
    """

    def __init__(
        self, modules: Sequence[nn.Module], observations: int, outputs: int, log_std: int, *, one_by_one: bool
    ) -> None:
        """Read the structure from the first module; raises ModuleError where it breaks the contract."""
        self._module, self._outputs = modules[0], outputs
        self.one_by_one = one_by_one
        _check_tensors(modules)
        of_policy, self.shared = self._probe(observations)
        self._learnt = {name for name, one in self._module.named_parameters() if one.requires_grad}
        self._slots: list[Slot] = []
        frozen = {*_floats(self._module)} - self._learnt
        policy = [name for name in _floats(self._module) if name in of_policy | frozen or self.shared]
        self._free = self._place(policy, 0)
        self.policy_size = self._free + log_std
        self.size = self._place([name for name in _floats(self._module) if name not in policy], self.policy_size)
        self._constants = {name: one for name, one in _tensors(self._module).items() if not one.is_floating_point()}
        self.slots = [Slot(f"{MODULE}{slot.name}", slot.start, slot.shape) for slot in self._slots]
        self.slots += [Slot("log_std", self._free, (log_std,))] if log_std else []

    @property
    def constants(self) -> dict[str, Array]:
        """What is no floating-point number in the modules, and so equal for all replicas."""
        return {name: constant.cpu().numpy() for name, constant in self._constants.items()}

    def initial(self, modules: Sequence[nn.Module], log_std: Sequence[float]) -> Tensor:
        """Return the modules' weights as flat parameters `[R, P]`, log standard deviations from `log_std` `[R]`."""
        params = torch.zeros(len(modules), self.size)
        for r, module in enumerate(modules):
            tensors = _tensors(module)
            params[r, self._free : self.policy_size] = log_std[r]
            for slot in self._slots:
                params[r, slot.start : slot.start + math.prod(slot.shape)] = tensors[slot.name].detach().reshape(-1)
        return params

    def to(self, device: torch.device) -> ModuleNetwork:
        """Move what is equal for all replicas, and return self."""
        self._module.to(device)
        self._constants = {name: one.to(device) for name, one in self._constants.items()}
        return self

    def parts(self, *, policy: bool, value: bool) -> tuple[bool, bool]:
        if self.shared and not (policy and value):
            raise ModuleError(
                "policy and value are improved one after the other, but network()'s module shares parameters between "
                "them; give each its own"
            )
        return super().parts(policy=policy, value=value)

    def evaluate(self, params: Tensor, x: Tensor, *, policy: bool = True, value: bool = True) -> Evaluated:
        if len(params) == 1:
            head, values = (out.unsqueeze(0) for out in self._one(params[0], x[0]))
        else:
            head, values = torch.func.vmap(self._one)(params, x)
        return with_log_std(head, params[:, self._free : self.policy_size]), values

    def _one(self, flat: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return head `[B, outputs]` and value `[B]` of one replica, parameters `[P]`."""
        state = dict(self._constants)
        for slot in self._slots:
            tensor = flat[slot.start : slot.start + math.prod(slot.shape)].view(slot.shape)
            state[slot.name] = tensor if slot.name in self._learnt else tensor.detach()
        return read_output(torch.func.functional_call(self._module, state, (x,)))

    def _place(self, names: Sequence[str], start: int) -> int:
        tensors = _tensors(self._module)
        for name in names:
            self._slots.append(Slot(name, start, tuple(tensors[name].shape)))
            start += tensors[name].numel()
        return start

    def _probe(self, observations: int) -> tuple[set[str], bool]:
        """Try the module; return (what its head depends on, whether its value depends on one of these)."""
        before = {name: one.detach().clone() for name, one in _tensors(self._module).items()}
        x = torch.linspace(-1, 1, _PROBE * observations).reshape(_PROBE, observations)
        with torch.enable_grad():
            first, second = seeded(0, lambda: self._module(x)), seeded(1, lambda: self._module(x))
        _check_shapes(first, self._outputs)
        head, value = read_output(first)
        same = all(torch.equal(a, b) for a, b in zip((head, value), read_output(second), strict=True))
        if not same or any(not torch.equal(one, before[name]) for name, one in _tensors(self._module).items()):
            raise ModuleError(
                "the module of network() draws random numbers or changes itself when it is evaluated (dropout, batch "
                "normalisation); it must be a function of its parameters and the observations"
            )
        of_policy, of_value = _reached(self._module, head), _reached(self._module, value)
        if not of_policy:
            raise ModuleError("the head of network()'s module depends on none of its parameters")
        return of_policy, bool(of_policy & of_value)


def read_output(out: object) -> tuple[Tensor, Tensor]:
    """Return head `[B, outputs]` and value `[B]` from what a module returned that `Algorithm.network` gave."""
    if isinstance(out, Tensor):
        return out[..., :-1], out[..., -1]
    assert isinstance(out, tuple | list)  # `_check_shapes` has looked
    head, value = out
    return head, value.reshape(head.shape[:-1])


def set_tensors(module: nn.Module, arrays: Mapping[str, Array]) -> None:
    """Give a module the parameters and buffers in `arrays`; ModuleError where it has others."""
    tensors = _tensors(module)
    if {*tensors} != {*arrays} or any(tuple(tensors[name].shape) != arrays[name].shape for name in arrays):
        raise ModuleError("network() gives a module with other tensors than those that are kept")
    with torch.no_grad():
        for name, array in arrays.items():
            tensors[name].copy_(torch.from_numpy(array))


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _floats(module: nn.Module) -> list[str]:
    return [name for name, one in _tensors(module).items() if one.is_floating_point()]


def _reached(module: nn.Module, output: Tensor) -> set[str]:
    """Return the names of the parameters that an output depends on."""
    named = {name: one for name, one in module.named_parameters() if one.requires_grad}
    if not output.requires_grad:
        return set()
    slopes = torch.autograd.grad(output.sum(), list(named.values()), retain_graph=True, allow_unused=True)
    return {name for name, slope in zip(named, slopes, strict=True) if slope is not None}


def _same_state(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = _tensors(a), _tensors(b)
    return a is not b and ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def _check_tensors(modules: Sequence[nn.Module]) -> None:
    """Single precision, one structure, and constants that agree."""
    first = _tensors(modules[0])
    for name, one in first.items():
        if one.is_floating_point() and one.dtype != torch.float32:
            raise ModuleError(f"{name} of network()'s module is {one.dtype}; it must be torch.float32")
    for module in modules:
        other = _tensors(module)
        alike = {name: one.shape for name, one in first.items()} == {name: one.shape for name, one in other.items()}
        if not alike or any(not one.is_floating_point() and not torch.equal(one, other[n]) for n, one in first.items()):
            raise ModuleError(
                "network() gave replicas that train together modules of different structure; "
                "let it depend on static fields only"
            )


def _check_shapes(out: object, outputs: int) -> None:
    """The module must return what `Algorithm.network` says."""
    wanted = (
        f"for {_PROBE} observations the module of network() must return a head [{_PROBE}, {outputs}] and a value "
        f"[{_PROBE}], or both in one tensor [{_PROBE}, {outputs + 1}]"
    )
    if isinstance(out, Tensor):
        if out.shape != (_PROBE, outputs + 1):
            raise ModuleError(f"{wanted}, not {list(out.shape)}")
        return
    if not isinstance(out, tuple | list) or len(out) != 2 or not all(isinstance(one, Tensor) for one in out):
        raise ModuleError(f"{wanted}, not {type(out).__name__}")
    head, value = out
    if head.shape != (_PROBE, outputs) or value.shape not in ((_PROBE,), (_PROBE, 1)):
        raise ModuleError(f"{wanted}, not {list(head.shape)} and {list(value.shape)}")
