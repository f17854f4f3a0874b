"""Fully connected layers of R replicas, forward, backward and along a direction, on one flat buffer `[R, P]`.

`sizes` are the widths of a stack, input first; its parameters begin at `offset` of a replica's buffer, for each layer
the weight `[in, out]` and then the bias `[out]`. `hidden` `[R, B * (sum of the hidden widths)]` holds the activations
of the hidden layers, one layer `[B, width]` after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rlbench.functional.compiled import inlined, kernel

Array = npt.NDArray[Any]

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
def _product(x: Array, weight: Array, out: Array) -> None:
    """Write x @ weight into out, `[B, in]` x `[in, out]` to `[B, out]`."""
    rows, inputs = x.shape
    if rows >= _FEW:
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
def _times_slope(delta: Array, activated: Array, activation: int) -> None:
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


@kernel
def forward(flat: Array, offset: int, sizes: Array, activation: int, x: Array, hidden: Array, out: Array) -> None:
    """Fill `hidden` and `out` `[R, B, out]` for inputs `x` `[R, B, in]`."""
    rows, last = x.shape[1], len(sizes) - 2
    for r in range(len(flat)):
        inputs, at, start = x[r], offset, 0
        for k in range(last + 1):
            i, o = sizes[k], sizes[k + 1]
            weight, bias = flat[r, at : at + i * o].reshape(i, o), flat[r, at + i * o : at + i * o + o]
            at += i * o + o
            if k == last:
                _product(inputs, weight, out[r])
                _add_row(out[r], bias)
            else:
                z = hidden[r, start : start + rows * o].reshape(rows, o)
                start += rows * o
                _product(inputs, weight, z)
                _activate(z, bias, activation)
                inputs = z


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
                _times_slope(lower, inputs, activation)
                delta = lower


@kernel
def along(
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
                _times_slope(result, inputs, activation)
                moved = result
