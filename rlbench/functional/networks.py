"""Actor-critic networks of R replicas at once, forward and backward, on one flat parameter buffer `[R, P]`.

The loops are compiled, see `rlbench.functional.layers`, and the derivatives are written out: for two hidden layers of
64 units they cost a fraction of what recording and replaying a graph costs. `tests/functional/test_networks.py` holds
them against autograd.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rlbench.functional import layers

Array = npt.NDArray[Any]

_ACTIVATIONS = {"tanh": layers.TANH, "relu": layers.RELU}


class Tape(NamedTuple):
    """What a forward pass keeps for the backward pass: its input and the hidden activations of policy and value."""

    x: Array
    policy: Array
    value: Array


class Output(NamedTuple):
    """A forward pass: `head` `[R, B, H]` (empty if not asked for), `value` `[R, B]` (likewise), and its tape."""

    head: Array
    value: Array
    tape: Tape


@dataclass(frozen=True)
class Stack:
    """A fully connected network in the flat buffer: hidden layers with an activation, then a linear one."""

    sizes: tuple[int, ...]
    offset: int
    activation: str = "tanh"

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each layer."""
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @cached_property
    def end(self) -> int:
        """Where the next thing in the buffer begins."""
        return self.offset + sum(i * o + o for i, o in self.shapes)

    @cached_property
    def plan(self) -> tuple[int, Array, int]:
        """What the kernels are told of the stack: offset, sizes, activation."""
        return self.offset, np.array(self.sizes), _ACTIVATIONS[self.activation]

    def layers(self, flat: Array) -> list[tuple[Array, Array]]:
        """Return views (weight `[R, in, out]`, bias `[R, out]`) of a buffer `[R, P]`."""
        views, at = [], self.offset
        for i, o in self.shapes:
            views.append((flat[:, at : at + i * o].reshape(-1, i, o), flat[:, at + i * o : at + i * o + o]))
            at += i * o + o
        return views

    def forward(self, flat: Array, x: Array) -> tuple[Array, Array]:
        """Return (output `[R, B, out]`, the hidden activations) for inputs `[R, B, in]`."""
        replicas, batch = x.shape[:2]
        hidden = np.empty((replicas, batch * sum(self.sizes[1:-1])), np.float32)
        out = np.empty((replicas, batch, self.sizes[-1]), np.float32)
        layers.forward(flat, *self.plan, x, hidden, out)
        return out, hidden

    def backward(self, flat: Array, x: Array, hidden: Array, grad_out: Array, grad: Array) -> None:
        """Write into `grad`, `[R, P]`, the gradient of a loss whose gradient at the output is `grad_out`."""
        layers.backward(flat, *self.plan, x, hidden, grad_out, grad)

    def jvp(self, flat: Array, x: Array, hidden: Array, tangent: Array) -> Array:
        """Return the derivative of the output, `[R, B, out]`, along a direction `[R, P]` of the parameters."""
        out = np.empty((*x.shape[:2], self.sizes[-1]), np.float32)
        layers.along(flat, *self.plan, x, hidden, tangent, out)
        return out


@dataclass(frozen=True)
class ActorCritic:
    """Policy and value of one algorithm: two stacks, or one (`shared`) with a joint last layer.

    The buffer holds the policy's stack, then the `log_std` free log standard deviations, then the value's stack.
    """

    observations: int
    outputs: int
    log_std: int
    hidden: tuple[int, ...]
    activation: str = "tanh"
    shared: bool = False

    @cached_property
    def policy(self) -> Stack:
        """The policy's stack; with a shared trunk its last output is the value."""
        return Stack((self.observations, *self.hidden, self.outputs + self.shared), 0, self.activation)

    @cached_property
    def value(self) -> Stack:
        """The value's stack (of separate networks)."""
        return Stack((self.observations, *self.hidden, 1), self.policy_size, self.activation)

    @cached_property
    def policy_size(self) -> int:
        """How many leading parameters the policy depends on."""
        return self.policy.end + self.log_std

    @property
    def size(self) -> int:
        """P, the number of parameters of one replica."""
        return self.policy_size if self.shared else self.value.end

    def init(self, rng: np.random.Generator, *, orthogonal: bool, log_std: float) -> Array:
        """Return one replica's initial parameters, `[P]`.

        Orthogonal weights with gain sqrt(2), for the policy's output 0.01 and the value's 1, and zero biases (Huang et
        al. 2022, detail 2); or torch's default, uniform within 1 / sqrt(inputs).
        """
        flat = np.zeros((1, self.size), np.float32)
        last = [0.01] * self.outputs + [1.0] * self.shared
        self._init_stack(self.policy, flat, rng, orthogonal, last)
        flat[:, self.policy.end : self.policy_size] = log_std
        if not self.shared:
            self._init_stack(self.value, flat, rng, orthogonal, [1.0])
        first: Array = flat[0]
        return first

    @staticmethod
    def _init_stack(
        stack: Stack, flat: Array, rng: np.random.Generator, orthogonal: bool, last: Sequence[float]
    ) -> None:
        views = stack.layers(flat)
        for k, (weight, bias) in enumerate(views):
            inputs, outputs = weight.shape[1:]
            if orthogonal:
                gain = last if k == len(views) - 1 else math.sqrt(2)
                weight[0] = _orthogonal(rng, inputs, outputs) * np.asarray(gain)
            else:
                bound = 1 / math.sqrt(inputs)
                weight[0] = rng.uniform(-bound, bound, (inputs, outputs))
                bias[0] = rng.uniform(-bound, bound, outputs)

    def forward(self, flat: Array, x: Array, *, policy: bool = True, value: bool = True) -> Output:
        """Return heads and values of observations `[R, B, in]`, those that are asked for."""
        head = values = policy_tape = value_tape = np.empty(0, np.float32)
        if policy or self.shared:
            head, policy_tape = self.policy.forward(flat, x)
            if self.shared:
                values, head = head[..., -1], np.ascontiguousarray(head[..., :-1])
            if self.log_std:
                free = flat[:, None, self.policy.end : self.policy_size]
                head = np.concatenate([head, np.broadcast_to(free, (*head.shape[:-1], self.log_std))], axis=-1)
        if value and not self.shared:
            out, value_tape = self.value.forward(flat, x)
            values = out[..., 0]
        return Output(head, values, Tape(x, policy_tape, value_tape))

    def backward(self, flat: Array, tape: Tape, grad_head: Array | None, grad_value: Array | None) -> Array:
        """Return the gradient `[R, P]` of a loss from its gradients at heads and values; None stands for zero."""
        complete = grad_head is not None and (self.shared or grad_value is not None)
        grad = np.empty_like(flat) if complete else np.zeros_like(flat)
        if self.shared:
            joint = np.zeros((*tape.x.shape[:-1], self.outputs + 1), np.float32)
            if grad_head is not None:
                joint[..., :-1] = grad_head[..., : self.outputs]
            if grad_value is not None:
                joint[..., -1] = grad_value
            self.policy.backward(flat, tape.x, tape.policy, joint, grad)
        elif grad_head is not None:
            at_output = np.ascontiguousarray(grad_head[..., : self.outputs])
            self.policy.backward(flat, tape.x, tape.policy, at_output, grad)
        if grad_head is not None and self.log_std:
            grad[:, self.policy.end : self.policy_size] = grad_head[..., self.outputs :].sum(axis=1)
        if grad_value is not None and not self.shared:
            self.value.backward(flat, tape.x, tape.value, grad_value[..., None], grad)
        return grad

    def jvp_head(self, flat: Array, tape: Tape, tangent: Array) -> Array:
        """Return the derivative of the head, `[R, B, H]`, along a direction `[R, P]` of the parameters."""
        moved = self.policy.jvp(flat, tape.x, tape.policy, tangent)[..., : self.outputs]
        if not self.log_std:
            return np.ascontiguousarray(moved)
        free = tangent[:, None, self.policy.end : self.policy_size]
        return np.concatenate([moved, np.broadcast_to(free, (*moved.shape[:-1], self.log_std))], axis=-1)


def _orthogonal(rng: np.random.Generator, inputs: int, outputs: int) -> Array:
    """Return a matrix with orthonormal columns or rows, uniformly distributed (Saxe et al. 2014)."""
    tall = rng.standard_normal((max(inputs, outputs), min(inputs, outputs)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return q if inputs >= outputs else q.T
