"""Actor-critic networks of R replicas in torch, on any device, differentiated by autograd.

The general path: `rlbench.functional.networks` writes the derivatives of one kind of network out, here autograd finds
those of any. Parameters are one flat tensor `[R, P]` in both, of which the first `policy_size` are the policy's.

On the CPU a pass goes through the replicas one at a time, each with memory of its own: torch's batched products round
differently for other batch sizes, and its products may round differently at other addresses. So a replica's numbers
do not depend on the others, to the bit. On a GPU all replicas are one batch, and such differences are possible.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from rlbench.functional.distributions import Distribution
    from rlbench.functional.networks import ActorCritic, Stack

Tensor = torch.Tensor
Evaluated = tuple[Tensor | None, Tensor | None]


class TensorNetwork(ABC):
    """A policy with a value, evaluated on parameters `[R, P]`.

    size          P, the number of parameters of one replica
    policy_size   how many leading parameters the policy depends on
    shared        whether the value depends on them, too
    one_by_one    whether replicas are evaluated one after the other, see the module's docstring
    """

    size: int
    policy_size: int
    shared: bool
    one_by_one: bool

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

    def heads(self, params: Tensor, x: Tensor) -> Tensor:
        """Return the heads `[R, B, H]` without a way back."""
        with torch.no_grad():
            parts = [self.evaluate(*piece, value=False)[0] for piece in self.pieces(params, x)]
        return _joined(parts)

    def values(self, params: Tensor, x: Tensor) -> Tensor:
        """Return the values `[R, B]` without a way back."""
        with torch.no_grad():
            parts = [self.evaluate(*piece, policy=False)[1] for piece in self.pieces(params, x)]
        return _joined(parts)

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
        self._layout = layout
        self.size, self.policy_size, self.shared = layout.size, layout.policy_size, layout.shared
        self.one_by_one = one_by_one

    def evaluate(self, params: Tensor, x: Tensor, *, policy: bool = True, value: bool = True) -> Evaluated:
        """Return head and value, see `TensorNetwork.evaluate`."""
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
