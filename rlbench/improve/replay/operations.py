"""What torch's operations are in steps of a graph: the table of all that can be replayed.

Forward and backward pass are recorded as calls of torch's elementary operations ("aten"). Each entry says the same in
numpy's functions, NaN and infinities included; an operation without an entry is refused. Where torch and numpy compute
a function (exp, log, tanh) or a sum differently, the last places of a number may differ, and so may the sign of a zero
where a minimum or maximum has two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rlbench.improve.replay.graph import Constant, Graph, Node, Operand, Refused, constant

Number = float | Operand
Operation = Callable[..., Number]

SAME = frozenset({
    "detach", "alias", "clone", "view", "_unsafe_view", "expand",
    "unsqueeze", "squeeze", "squeeze.dim", "squeeze.dims",
})  # fmt: skip
"""Operations that leave the numbers as they are; the recording sees from the result's shape how they are laid out."""
CREATED = frozenset({
    "scalar_tensor", "zeros", "ones", "full", "zeros_like", "ones_like", "full_like",
    "new_zeros", "new_ones", "new_full", "lift_fresh",
})  # fmt: skip
"""Operations that make a tensor without reading one; what comes of them may be a constant."""


def _function(name: str) -> Operation:
    return lambda graph, *operands: graph.apply(name, *operands)


def _add(graph: Graph, a: Number, b: Number, *, alpha: float = 1) -> Number:
    return graph.apply("add", a, _scaled(graph, b, alpha))


def _sub(graph: Graph, a: Number, b: Number, *, alpha: float = 1) -> Number:
    return graph.apply("subtract", a, _scaled(graph, b, alpha))


def _rsub(graph: Graph, a: Number, b: Number, alpha: float = 1) -> Number:
    return _sub(graph, b, a, alpha=alpha)


def _times(graph: Graph, a: Number, b: Number) -> Number:
    if isinstance(a, Node) and isinstance(b, Node) and a.boolean and b.boolean:
        return graph.apply("logical_and", a, b)  # torch keeps the product of two truth values one
    for one, other in ((a, b), (b, a)):
        if isinstance(one, Node) and not isinstance(other, Node) and _value(other) == 1:
            return graph.number(one)
    return graph.apply("multiply", a, b)


def _scaled(graph: Graph, x: Number, factor: Number) -> Number:
    return x if _value(factor) == 1 else _times(graph, x, factor)


def _value(x: Number) -> float:
    if isinstance(x, Node):
        raise Refused("a tensor where the operation takes a number")
    return x.number if isinstance(x, Constant) else constant(x).number


def _square(graph: Graph, x: Number) -> Node:
    return graph.apply("multiply", x, x)


def _cube(graph: Graph, x: Number) -> Node:
    return graph.apply("multiply", _square(graph, x), x)


def _rsqrt(graph: Graph, x: Number) -> Node:
    return graph.apply("reciprocal", graph.apply("sqrt", x))


_POWERS: dict[float, Operation] = {
    0: lambda graph, x: Constant(1.0),
    1: lambda graph, x: x,
    2: _square,
    3: _cube,
    4: lambda graph, x: _square(graph, _square(graph, x)),
    0.5: _function("sqrt"),
    -0.5: _rsqrt,
    -1: _function("reciprocal"),
    -2: lambda graph, x: graph.apply("reciprocal", _square(graph, x)),
    -3: lambda graph, x: graph.apply("reciprocal", _cube(graph, x)),
    1.5: lambda graph, x: graph.apply("multiply", x, graph.apply("sqrt", x)),
    -1.5: lambda graph, x: graph.apply("reciprocal", graph.apply("multiply", x, graph.apply("sqrt", x))),
}


def _pow(graph: Graph, x: Number, exponent: Number) -> Number:
    """The powers that multiplication, division and roots give."""
    if (value := _value(exponent)) not in _POWERS:
        raise Refused(f"the power {value:g}")
    return _POWERS[value](graph, x)


def _sign(graph: Graph, x: Number) -> Node:
    """-1, 0 or 1, and 0 for NaN, as in torch."""
    return graph.apply("subtract", graph.apply("greater", x, 0), graph.apply("less", x, 0))


def _clamp(graph: Graph, x: Number, low: Number | None = None, high: Number | None = None) -> Number:
    above = x if low is None else graph.apply("maximum", x, low)
    return above if high is None else graph.apply("minimum", above, high)


def _masked_fill(graph: Graph, x: Number, mask: Operand, value: Number) -> Number:
    return graph.where(mask, value, x)


def _threshold_backward(graph: Graph, slope: Number, x: Number, threshold: Number) -> Number:
    return graph.where(graph.apply("less_equal", x, threshold), 0.0, slope)


def _sigmoid(graph: Graph, x: Number) -> Node:
    return graph.apply("reciprocal", graph.apply("add", graph.apply("exp", graph.apply("negative", x)), 1))


def _sigmoid_backward(graph: Graph, slope: Number, y: Number) -> Node:
    return graph.apply("multiply", graph.apply("multiply", slope, graph.apply("subtract", 1, y)), y)


def _tanh_backward(graph: Graph, slope: Number, y: Number) -> Node:
    return graph.apply("multiply", slope, graph.apply("subtract", 1, _square(graph, y)))


def _softplus(graph: Graph, x: Number, beta: Number = 1, threshold: Number = 20) -> Number:
    scaled = _scaled(graph, x, beta)
    soft = graph.apply("divide", graph.apply("log1p", graph.apply("exp", scaled)), beta)
    return graph.where(graph.apply("greater", scaled, threshold), x, soft)


def _softplus_backward(graph: Graph, slope: Number, x: Number, beta: Number, threshold: Number) -> Number:
    scaled = _scaled(graph, x, beta)
    z = graph.apply("exp", scaled)
    soft = graph.apply("divide", graph.apply("multiply", slope, z), graph.apply("add", z, 1))
    return graph.where(graph.apply("greater", scaled, threshold), slope, soft)


def _sum(graph: Graph, x: Operand, dims: Sequence[int] | None, keepdim: bool = False) -> Node:
    """Over the last axis of `[R, B]` only; whether it is kept shows in the shape of the result."""
    if dims is None or list(dims) not in ([-1], [1]):
        raise Refused("a reduction over another axis than the last one of [R, B]")
    return graph.total(x)


def _mean(graph: Graph, x: Operand, dims: Sequence[int] | None, keepdim: bool = False) -> Node:
    return graph.apply("divide", _sum(graph, x, dims), graph.size)


def _var(
    graph: Graph, x: Operand, dims: Sequence[int] | None, *, correction: Number | None = None, keepdim: bool = False
) -> Node:
    freedom = max(graph.size - (1.0 if correction is None else _value(correction)), 0.0)
    centred = graph.apply("subtract", x, _mean(graph, x, dims))
    return graph.apply("divide", graph.total(_square(graph, centred)), freedom)


def _std(graph: Graph, x: Operand, dims: Sequence[int] | None, **options: Any) -> Node:
    return graph.apply("sqrt", _var(graph, x, dims, **options))


def _isnan(graph: Graph, x: Number) -> Node:
    return graph.apply("not_equal", x, x)


def _convert(graph: Graph, x: Operand, *, dtype: Any = None, **_: Any) -> Number:
    """Return numbers for truth values and the reverse; other types are refused by what the recording sees of them."""
    if dtype is not None and str(dtype) == "torch.bool":
        return x if isinstance(x, Node) and x.boolean else graph.apply("not_equal", x, 0)
    return x if dtype is None else graph.number(x)


_BINARY: dict[str, Operation] = {
    "add": _add, "sub": _sub, "rsub": _rsub, "mul": _times, "div": _function("divide"),
    "clamp_min": _function("maximum"), "clamp_max": _function("minimum"),
    "eq": _function("equal"), "ne": _function("not_equal"), "lt": _function("less"), "le": _function("less_equal"),
    "gt": _function("greater"), "ge": _function("greater_equal"),
    "masked_fill": _masked_fill,
    "bitwise_and": _function("logical_and"), "bitwise_or": _function("logical_or"),
    "bitwise_xor": _function("logical_xor"),
}  # fmt: skip
_PLAIN = {
    "neg": "negative", "reciprocal": "reciprocal", "exp": "exp", "log": "log", "log1p": "log1p", "expm1": "expm1",
    "sqrt": "sqrt", "abs": "absolute", "tanh": "tanh", "minimum": "minimum", "maximum": "maximum",
    "logical_and": "logical_and", "logical_or": "logical_or", "logical_xor": "logical_xor",
    "logical_not": "logical_not", "bitwise_not": "logical_not",
}  # fmt: skip
TABLE: dict[str, Operation] = {
    **{f"{name}.{kind}": operation for name, operation in _BINARY.items() for kind in ("Tensor", "Scalar")},
    **{name: _function(function) for name, function in _PLAIN.items()},
    **dict.fromkeys(SAME, lambda graph, x, *_, **__: x),
    "rsqrt": _rsqrt, "sign": _sign, "sgn": _sign, "square": _square, "pow.Tensor_Scalar": _pow,
    "clamp_min": _function("maximum"), "clamp_max": _function("minimum"), "clamp": _clamp, "clamp.Tensor": _clamp,
    "where.self": lambda graph, *operands: graph.where(*operands),
    "relu": lambda graph, x: graph.apply("maximum", x, 0), "threshold_backward": _threshold_backward,
    "sigmoid": _sigmoid, "sigmoid_backward": _sigmoid_backward, "tanh_backward": _tanh_backward,
    "softplus": _softplus, "softplus_backward": _softplus_backward,
    "sum.dim_IntList": _sum, "mean.dim": _mean, "var.correction": _var, "std.correction": _std,
    "isnan": _isnan, "_to_copy": _convert,
}  # fmt: skip
"""From the name of an operation to the function that adds it to a graph and returns its result."""
