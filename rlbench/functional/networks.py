"""Actor-critic networks of R replicas at once, forward and backward, on one flat parameter buffer `[R, P]`.

Everything is numpy on views of that buffer. `np.matmul` multiplies a stack of matrices slice by slice, so a replica's
numbers do not depend on the other replicas, and the derivatives are written out: for two hidden layers of 64 units
they cost a fraction of what recording and replaying a graph costs. `tests/functional/test_networks.py` holds them
against autograd.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Layers = list[tuple[Array, Array]]


class Tape(NamedTuple):
    """What a forward pass keeps for the backward pass: the input of every layer, of the policy and of the value."""

    policy: list[Array]
    value: list[Array]


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
    def _latest(self) -> list[tuple[Array, Layers]]:
        """The buffer that was used last, with its views: making them costs as much as a small product."""
        return []

    def layers(self, flat: Array) -> Layers:
        """Return views (weight `[R, in, out]`, bias `[R, 1, out]`) of a buffer `[R, P]`."""
        if not self._latest or self._latest[0][0] is not flat:
            self._latest[:] = [(flat, self.views(flat))]
        return self._latest[0][1]

    def views(self, flat: Array) -> Layers:
        """Return what `layers` returns, for a buffer that is used only once."""
        replicas, views, at = len(flat), [], self.offset
        for i, o in self.shapes:
            weight = flat[:, at : at + i * o].reshape(replicas, i, o)
            views.append((weight, flat[:, None, at + i * o : at + i * o + o]))
            at += i * o + o
        return views

    def forward(self, flat: Array, x: Array) -> tuple[Array, list[Array]]:
        """Return (output `[R, B, out]`, the input of every layer) for inputs `[R, B, in]`."""
        inputs = [x]
        layers = self.layers(flat)
        for weight, bias in layers[:-1]:
            z = np.matmul(inputs[-1], weight)
            z += bias
            inputs.append(np.tanh(z, out=z) if self.activation == "tanh" else np.maximum(z, 0, out=z))
        weight, bias = layers[-1]
        out = np.matmul(inputs[-1], weight)
        out += bias
        return out, inputs

    def backward(self, flat: Array, inputs: list[Array], grad_out: Array, grad: Array) -> None:
        """Write into `grad`, `[R, P]`, the gradient of a loss whose gradient at the output is `grad_out`."""
        layers, slots = self.layers(flat), self.views(grad)
        delta = grad_out
        for k in range(len(layers) - 1, -1, -1):
            np.matmul(inputs[k].transpose(0, 2, 1), delta, out=slots[k][0])
            np.sum(delta, axis=1, keepdims=True, out=slots[k][1])
            if k:
                delta = np.matmul(delta, layers[k][0].transpose(0, 2, 1))
                delta *= self._slope(inputs[k])

    def jvp(self, flat: Array, inputs: list[Array], tangent: Array) -> Array:
        """Return the derivative of the output, `[R, B, out]`, along a direction `[R, P]` of the parameters."""
        layers, directions = self.layers(flat), self.views(tangent)
        moved: Array = np.matmul(inputs[0], directions[0][0])
        moved += directions[0][1]
        for k in range(1, len(layers)):
            moved *= self._slope(inputs[k])
            moved = np.matmul(moved, layers[k][0])
            moved += np.matmul(inputs[k], directions[k][0])
            moved += directions[k][1]
        return moved

    def _slope(self, activated: Array) -> Array:
        """Return the activation's derivative in terms of its output."""
        if self.activation == "relu":
            slope: Array = (activated > 0).astype(activated.dtype)
            return slope
        square = np.multiply(activated, activated)
        result: Array = np.subtract(1, square, out=square)
        return result


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
        layers = stack.layers(flat)
        for k, (weight, bias) in enumerate(layers):
            inputs, outputs = weight.shape[1:]
            if orthogonal:
                gain = last if k == len(layers) - 1 else math.sqrt(2)
                weight[0] = _orthogonal(rng, inputs, outputs) * np.asarray(gain)
            else:
                bound = 1 / math.sqrt(inputs)
                weight[0] = rng.uniform(-bound, bound, (inputs, outputs))
                bias[0, 0] = rng.uniform(-bound, bound, outputs)

    def forward(self, flat: Array, x: Array, *, policy: bool = True, value: bool = True) -> Output:
        """Return heads and values of observations `[R, B, in]`, those that are asked for."""
        empty = np.empty(0, np.float32)
        head, values = empty, empty
        policy_tape: list[Array] = []
        value_tape: list[Array] = []
        if policy or self.shared:
            head, policy_tape = self.policy.forward(flat, x)
            if self.shared:
                values, head = head[..., -1], head[..., :-1]
            if self.log_std:
                free = flat[:, None, self.policy.end : self.policy_size]
                head = np.concatenate([head, np.broadcast_to(free, (*head.shape[:-1], self.log_std))], axis=-1)
        if value and not self.shared:
            out, value_tape = self.value.forward(flat, x)
            values = out[..., 0]
        return Output(head, values, Tape(policy_tape, value_tape))

    def backward(self, flat: Array, tape: Tape, grad_head: Array | None, grad_value: Array | None) -> Array:
        """Return the gradient `[R, P]` of a loss from its gradients at heads and values; None stands for zero."""
        grad = np.zeros_like(flat)
        if self.shared:
            batch = tape.policy[0].shape[:-1]
            joint = np.zeros((*batch, self.outputs + 1), np.float32)
            if grad_head is not None:
                joint[..., :-1] = grad_head[..., : self.outputs]
            if grad_value is not None:
                joint[..., -1] = grad_value
            self.policy.backward(flat, tape.policy, joint, grad)
        elif grad_head is not None:
            self.policy.backward(flat, tape.policy, np.ascontiguousarray(grad_head[..., : self.outputs]), grad)
        if grad_head is not None and self.log_std:
            grad[:, self.policy.end : self.policy_size] = grad_head[..., self.outputs :].sum(axis=1)
        if grad_value is not None and not self.shared:
            self.value.backward(flat, tape.value, grad_value[..., None], grad)
        return grad

    def jvp_head(self, flat: Array, tape: Tape, tangent: Array) -> Array:
        """Return the derivative of the head, `[R, B, H]`, along a direction `[R, P]` of the parameters."""
        moved = self.policy.jvp(flat, tape.policy, tangent)[..., : self.outputs]
        if not self.log_std:
            return moved
        free = tangent[:, None, self.policy.end : self.policy_size]
        return np.concatenate([moved, np.broadcast_to(free, (*moved.shape[:-1], self.log_std))], axis=-1)


def _orthogonal(rng: np.random.Generator, inputs: int, outputs: int) -> Array:
    """Return a matrix with orthonormal columns or rows, uniformly distributed (Saxe et al. 2014)."""
    tall = rng.standard_normal((max(inputs, outputs), min(inputs, outputs)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return q if inputs >= outputs else q.T
