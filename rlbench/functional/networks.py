"""Actor-critic networks of R replicas at once, forward, backward and along a direction, on one flat buffer `[R, P]`.

The loops are compiled and the derivatives written out: for two hidden layers of 64 units that costs a fraction of what
recording and replaying a graph does. `tests/functional/test_networks.py` holds them against autograd.

`sizes` are the widths of a stack, input first; its parameters begin at `offset` of a replica's buffer, for each layer
the weight `[in, out]` and then the bias `[out]`. `hidden` `[R, B * (sum of the hidden widths)]` holds the activations
of the hidden layers, one layer `[B, width]` after the other.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from rlbench.functional.compiled import Array, inlined, kernel
from rlbench.functional.distributions import Family

TANH, RELU = 0, 1
_FEW = 2  # below so many rows a plain loop is faster than the library's matrix product


@inlined
def _tanh(x: Any) -> Any:
    """Return tanh(x) within 3e-7 of its size: the rational approximation of Eigen's `ptanh`, in Horner's form.

    A library call per number would take ten times as long; this one is translated to vector instructions.
    """
    x = min(max(x, np.float32(-7.90531110763549805)), np.float32(7.90531110763549805))
    square = x * x
    upper = np.float32(-2.76076847742355e-16)
    upper = square * upper + np.float32(2.00018790482477e-13)
    upper = square * upper + np.float32(-8.60467152213735e-11)
    upper = square * upper + np.float32(5.12229709037114e-08)
    upper = square * upper + np.float32(1.48572235717979e-05)
    upper = square * upper + np.float32(6.37261928875436e-04)
    upper = square * upper + np.float32(4.89352455891786e-03)
    lower = np.float32(1.19825839466702e-06)
    lower = square * lower + np.float32(1.18534705686654e-04)
    lower = square * lower + np.float32(2.26843463243900e-03)
    lower = square * lower + np.float32(4.89352518554385e-03)
    return x * upper / lower


@inlined
def _product(x: Array, weight: Array, out: Array, few: int) -> None:
    """Write x @ weight into out, `[B, in]` x `[in, out]` to `[B, out]`; row by row where there are less than `few`."""
    rows, inputs = x.shape
    if rows >= few:
        np.dot(x, weight, out)
        return
    for b in range(rows):
        total = out[b]
        total[:] = 0
        for i in range(inputs):
            factor, row = x[b, i], weight[i]
            for j in range(len(total)):
                total[j] += factor * row[j]


@inlined
def _activate(z: Array, bias: Array, activation: int) -> None:
    """Add the bias to `z` `[B, out]` and apply the activation, in place."""
    for b in range(len(z)):
        row = z[b]
        if activation == TANH:
            for j in range(len(row)):
                row[j] = _tanh(row[j] + bias[j])
        else:
            for j in range(len(row)):
                row[j] = max(row[j] + bias[j], np.float32(0))


@inlined
def _times_derivative(delta: Array, activated: Array, activation: int) -> None:
    """Multiply `delta` `[B, width]` by the activation's derivative, given the activated values, in place."""
    for b in range(len(delta)):
        row, values = delta[b], activated[b]
        if activation == TANH:
            for j in range(len(row)):
                row[j] *= np.float32(1) - values[j] * values[j]
        else:
            for j in range(len(row)):
                row[j] = row[j] if values[j] > 0 else np.float32(0)


@inlined
def _add_row(out: Array, bias: Array) -> None:
    """Add a bias `[out]` to every row of `out` `[B, out]`."""
    for b in range(len(out)):
        row = out[b]
        for j in range(len(row)):
            row[j] += bias[j]


@inlined
def _forward(
    flat: Array, offset: int, sizes: Array, activation: int, x: Array, hidden: Array, out: Array, few: int
) -> None:
    rows, last = x.shape[1], len(sizes) - 2
    for r in range(len(flat)):
        inputs, at, start = x[r], offset, 0
        for k in range(last + 1):
            i, o = sizes[k], sizes[k + 1]
            weight, bias = flat[r, at : at + i * o].reshape(i, o), flat[r, at + i * o : at + i * o + o]
            at += i * o + o
            if k == last:
                _product(inputs, weight, out[r], few)
                _add_row(out[r], bias)
            else:
                z = hidden[r, start : start + rows * o].reshape(rows, o)
                start += rows * o
                _product(inputs, weight, z, few)
                _activate(z, bias, activation)
                inputs = z


@kernel
def forward(flat: Array, offset: int, sizes: Array, activation: int, x: Array, hidden: Array, out: Array) -> None:
    """Fill `hidden` and `out` `[R, B, out]` for inputs `x` `[R, B, in]`."""
    _forward(flat, offset, sizes, activation, x, hidden, out, _FEW)


@kernel
def forward_each(flat: Array, offset: int, sizes: Array, activation: int, x: Array, hidden: Array, out: Array) -> None:
    """Do what `forward` does, with numbers of each row that do not depend on how many rows there are.

    A library's product rounds differently for other numbers of rows; this is what acts outside of training, where one
    observation must give the same action alone and among others.
    """
    _forward(flat, offset, sizes, activation, x, hidden, out, x.shape[1] + 1)


@kernel
def backward(
    flat: Array, offset: int, sizes: Array, activation: int, x: Array, hidden: Array, grad_out: Array, grad: Array
) -> None:
    """Write into `grad` `[R, P]` the gradient of a loss whose gradient at the output is `grad_out` `[R, B, out]`."""
    rows, last = x.shape[1], len(sizes) - 2
    widest = sizes[1:-1].max() if last else 1
    scratch = np.empty((2, rows * widest), np.float32)
    for r in range(len(flat)):
        delta = grad_out[r]
        at, start = offset, 0
        for k in range(last + 1):
            at += sizes[k] * sizes[k + 1] + sizes[k + 1]
            start += rows * sizes[k + 1] if k < last else 0
        for k in range(last, -1, -1):
            i, o = sizes[k], sizes[k + 1]
            at -= i * o + o
            start -= rows * i if k else 0
            inputs = hidden[r, start : start + rows * i].reshape(rows, i) if k else x[r]
            np.dot(inputs.T, delta, grad[r, at : at + i * o].reshape(i, o))
            bias = grad[r, at + i * o : at + i * o + o]
            bias[:] = 0
            for b in range(rows):
                for j in range(o):
                    bias[j] += delta[b, j]
            if k:
                lower = scratch[k % 2, : rows * i].reshape(rows, i)
                np.dot(delta, flat[r, at : at + i * o].reshape(i, o).T, lower)
                _times_derivative(lower, inputs, activation)
                delta = lower


@kernel
def jvp(
    flat: Array, offset: int, sizes: Array, activation: int, x: Array, hidden: Array, tangent: Array, out: Array
) -> None:
    """Fill `out` `[R, B, out]` with the derivative of the output along a direction `tangent` `[R, P]`."""
    rows, last = x.shape[1], len(sizes) - 2
    widest = sizes[1:].max()
    scratch = np.empty((3, rows * widest), np.float32)
    for r in range(len(flat)):
        inputs, at, start = x[r], offset, 0
        moved = x[r]  # only for its type: the first layer has nothing to carry on
        for k in range(last + 1):
            i, o = sizes[k], sizes[k + 1]
            result = scratch[1 + k % 2, : rows * o].reshape(rows, o)
            np.dot(inputs, tangent[r, at : at + i * o].reshape(i, o), result)
            _add_row(result, tangent[r, at + i * o : at + i * o + o])
            if k:
                through = scratch[0, : rows * o].reshape(rows, o)
                np.dot(moved, flat[r, at : at + i * o].reshape(i, o), through)
                result += through
            at += i * o + o
            if k == last:
                out[r] = result
            else:
                inputs = hidden[r, start : start + rows * o].reshape(rows, o)
                start += rows * o
                _times_derivative(result, inputs, activation)
                moved = result


_ACTIVATIONS = {"tanh": TANH, "relu": RELU}


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


class Slot(NamedTuple):
    """Where a tensor lies in the flat buffer of a replica."""

    name: str
    start: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Stack:
    """A fully connected network in the flat buffer: hidden layers with an activation, then a linear one.

    `by_row`: every row is computed by itself (`forward_each`).
    """

    sizes: tuple[int, ...]
    offset: int
    activation: str = "tanh"
    by_row: bool = False

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

    def slots(self, name: str) -> list[Slot]:
        """Return where the weight `[in, out]` and the bias `[out]` of each layer lie, as NAME.0.weight and so on."""
        found, at = [], self.offset
        for k, (i, o) in enumerate(self.shapes):
            found += [Slot(f"{name}.{k}.weight", at, (i, o)), Slot(f"{name}.{k}.bias", at + i * o, (o,))]
            at += i * o + o
        return found

    @property
    def pass_forward(self) -> Callable[..., None]:
        """The kernel of a forward pass."""
        return forward_each if self.by_row else forward

    def forward(self, flat: Array, x: Array) -> tuple[Array, Array]:
        """Return (output `[R, B, out]`, the hidden activations) for inputs `[R, B, in]`."""
        replicas, batch = x.shape[:2]
        hidden = np.empty((replicas, batch * sum(self.sizes[1:-1])), np.float32)
        out = np.empty((replicas, batch, self.sizes[-1]), np.float32)
        self.pass_forward(flat, *self.plan, x, hidden, out)
        return out, hidden

    def backward(self, flat: Array, x: Array, hidden: Array, grad_out: Array, grad: Array) -> None:
        """Write into `grad`, `[R, P]`, the gradient of a loss whose gradient at the output is `grad_out`."""
        backward(flat, *self.plan, x, hidden, grad_out, grad)

    def jvp(self, flat: Array, x: Array, hidden: Array, tangent: Array) -> Array:
        """Return the derivative of the output, `[R, B, out]`, along a direction `[R, P]` of the parameters."""
        out = np.empty((*x.shape[:2], self.sizes[-1]), np.float32)
        jvp(flat, *self.plan, x, hidden, tangent, out)
        return out


@dataclass(frozen=True)
class ActorCritic:
    """Policy and value of one algorithm: two stacks, or one (`shared`) with a joint last layer.

    The buffer holds the policy's stack, then the `log_std` free log standard deviations, then the value's stack.
    `by_row`: every observation is evaluated by itself.
    """

    observations: int
    outputs: int
    log_std: int
    hidden: tuple[int, ...]
    activation: str = "tanh"
    shared: bool = False
    by_row: bool = False

    @cached_property
    def policy(self) -> Stack:
        """The policy's stack; with a shared trunk its last output is the value."""
        return Stack((self.observations, *self.hidden, self.outputs + self.shared), 0, self.activation, self.by_row)

    @cached_property
    def value(self) -> Stack:
        """The value's stack (of separate networks)."""
        return Stack((self.observations, *self.hidden, 1), self.policy_size, self.activation, self.by_row)

    @cached_property
    def policy_size(self) -> int:
        """How many leading parameters the policy depends on."""
        return self.policy.end + self.log_std

    @property
    def size(self) -> int:
        """P, the number of parameters of one replica."""
        return self.policy_size if self.shared else self.value.end

    @property
    def slots(self) -> list[Slot]:
        """Where the tensors lie in the buffer, in its order."""
        free = [Slot("log_std", self.policy.end, (self.log_std,))] if self.log_std else []
        return [*self.policy.slots("policy"), *free, *([] if self.shared else self.value.slots("value"))]

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

    def act(self, family: Family, flat: Array, observation: Array, noise: Array) -> Array:
        """Return the actions `[R, N]` or `[R, N, K]` that the policy takes, by noise `[R, N, Z]` that was drawn."""
        return family.sample(self.forward(flat, observation, value=False).head, noise)

    def values(self, flat: Array, observation: Array) -> Array:
        """Return the values `[R, B]` of observations `[R, B, in]`."""
        return self.forward(flat, observation, policy=False).value

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


def named(flat: Array, slots: Iterable[Slot]) -> dict[str, Array]:
    """Return the tensors `[R, ...]` of buffers `[R, P]` by their names."""
    return {slot.name: flat[:, slot.start :][:, : math.prod(slot.shape)].reshape(-1, *slot.shape) for slot in slots}


def flat_from(tensors: Mapping[str, Array], slots: Iterable[Slot]) -> Array:
    """Return the buffers `[R, P]` of tensors by their names; ValueError where one is not as the slots say."""
    parts = []
    for slot in slots:
        tensor = tensors.get(slot.name)
        if tensor is None or tensor.dtype != np.float32 or tensor.shape[1:] != slot.shape:
            shape = " x ".join(map(str, slot.shape))
            raise ValueError(f"its {slot.name} is not of {shape} numbers in single precision")
        parts.append(tensor.reshape(len(tensor), -1))
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def _orthogonal(rng: np.random.Generator, inputs: int, outputs: int) -> Array:
    """Return a matrix with orthonormal columns or rows, uniformly distributed (Saxe et al. 2014)."""
    tall = rng.standard_normal((max(inputs, outputs), min(inputs, outputs)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return q if inputs >= outputs else q.T
