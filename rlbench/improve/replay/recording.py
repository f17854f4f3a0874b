"""What a surrogate and its derivative do, recorded: a graph, the operations it may hold, and the two observers.

`Recorder` sees every elementary operation of torch ("aten"), those of autograd's backward pass too, and translates it
by `OPERATIONS`. `Watch` sees what the author's code asks of a tensor, and refuses where it gets anything but tensors
and what they look like: a number read out of a tensor goes on in Python, where nobody sees what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class Refused(Exception):
    """A surrogate that cannot be replayed; the message says why."""


@dataclass(frozen=True)
class Constant:
    """One number, the same for every sample and replica: a float or a bool."""

    number: float

    def __str__(self) -> str:
        # A name in Python. Unlike ==, it tells 0.0 from -0.0, and one NaN is another.
        return "c_" + repr(self.number).translate(str.maketrans("-+.", "mqp"))


@dataclass(frozen=True, eq=False)
class Node:
    """One array per replica: an input with a name, or the result of a step, which is a numpy function or an own step.

    `full`: `[R, B]` rather than `[R, 1]`. `boolean`: bool rather than float32. `fixed`: made of hyper-parameters alone.
    """

    index: int
    step: str
    operands: tuple[Operand, ...]
    full: bool
    boolean: bool = False
    fixed: bool = False
    name: str = ""

    def __str__(self) -> str:
        return f"v{self.index}"


Operand: TypeAlias = Node | Constant
Number: TypeAlias = Operand | float

OWN_STEPS = {"input", "number", "spread", "total", "where"}
"""The steps that are no numpy functions."""
_BOOLEAN_STEPS = {
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
    *("logical_and", "logical_or", "logical_xor", "logical_not"),
}


class Graph:
    """Nodes over B = `size` samples per replica, in an order in which they can be computed; equal nodes are one.

    The steps work element by element or along the last axis, so none of them can mix replicas.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.nodes: list[Node] = []
        self._known: dict[tuple[str, ...], Node] = {}

    def input(self, name: str, *, full: bool, fixed: bool) -> Node:
        """Return a new input; `fixed` for a hyper-parameter."""
        self.nodes.append(Node(len(self.nodes), "input", (), full, fixed=fixed, name=name))
        return self.nodes[-1]

    def apply(self, function: str, *operands: Number) -> Node:
        """Return the numpy function of this name of the operands, element by element."""
        aligned = self._align(operands)
        if not function.startswith("logical"):
            aligned = [self.number(operand) for operand in aligned]
        elif not all(map(_is_boolean, aligned)):
            raise Refused(f"{function} of numbers")
        return self._node(function, *aligned, boolean=function in _BOOLEAN_STEPS)

    def where(self, condition: Number, chosen: Number, other: Number) -> Operand:
        """Return `chosen` where the condition holds, else `other`."""
        test, *choices = self._align((condition, chosen, other))
        if not _is_boolean(test):
            raise Refused("a choice by a number")
        boolean = all(map(_is_boolean, choices))
        if not boolean:
            choices = [self.number(choice) for choice in choices]
        if isinstance(test, Constant):
            return choices[0] if test.number else choices[1]
        return self._node("where", test, *choices, boolean=boolean)

    def total(self, x: Operand) -> Node:
        """Return the sum over the last axis, a column."""
        if isinstance(x, Constant) or x.boolean or not x.full:
            raise Refused("a sum of something other than one float32 number per sample")
        return self._node("total", x, full=False)

    def spread(self, x: Operand) -> Operand:
        """Return a column repeated for every sample, `[R, B]`."""
        if isinstance(x, Constant) or x.full:
            return x
        return self._node("spread", x, full=True, boolean=x.boolean)

    def number(self, x: Operand) -> Operand:
        """Return 1.0 for true and 0.0 for false; numbers as they are."""
        if isinstance(x, Constant):
            return Constant(float(x.number))
        return self._node("number", x) if x.boolean else x

    def _align(self, operands: Sequence[Number]) -> list[Operand]:
        """Return operands of the same shape, constants aside."""
        aligned = [x if isinstance(x, Node | Constant) else constant(x) for x in operands]
        full = any(isinstance(x, Node) and x.full for x in aligned)
        return [self.spread(x) for x in aligned] if full else aligned

    def _node(self, step: str, *operands: Operand, full: bool | None = None, boolean: bool = False) -> Node:
        key = (step, *map(str, operands))
        if key not in self._known:
            nodes = [x for x in operands if isinstance(x, Node)]
            if not nodes:
                raise Refused(f"{step} of constants alone")
            full = any(x.full for x in nodes) if full is None else full
            fixed = all(x.fixed for x in nodes)
            self.nodes.append(Node(len(self.nodes), step, operands, full, boolean, fixed))
            self._known[key] = self.nodes[-1]
        return self._known[key]


def constant(number: Any) -> Constant:
    """Return a Python number as a constant; Refused for anything else."""
    if not isinstance(number, bool | int | float):
        raise Refused(f"an operand that is no real number: {number!r}")
    return Constant(number if isinstance(number, bool) else float(number))


def _is_boolean(x: Operand) -> bool:
    return x.boolean if isinstance(x, Node) else isinstance(x.number, bool)


def _value(x: Number) -> float:
    if isinstance(x, Node):
        raise Refused("a tensor where the operation takes a number")
    return x.number if isinstance(x, Constant) else constant(x).number


# The operations: each takes the graph and what torch's takes, and returns the same in numpy's functions, NaN and
# infinities included. Those of the backward pass are among them, since autograd's derivative is recorded like the rest.
# Where torch and numpy compute a function (exp, log, tanh) or a sum differently, the last places of a number may
# differ, and so may the sign of a zero where a minimum or maximum has two of them.


def _function(name: str) -> Callable[..., Node]:
    return lambda g, *operands: g.apply(name, *operands)


def _scaled(g: Graph, x: Number, factor: Number) -> Number:
    return x if _value(factor) == 1 else _mul(g, x, factor)


def _add(g: Graph, a: Number, b: Number, *, alpha: float = 1) -> Number:
    return g.apply("add", a, _scaled(g, b, alpha))


def _sub(g: Graph, a: Number, b: Number, *, alpha: float = 1) -> Number:
    return g.apply("subtract", a, _scaled(g, b, alpha))


def _mul(g: Graph, a: Number, b: Number) -> Number:
    if isinstance(a, Node) and isinstance(b, Node) and a.boolean and b.boolean:
        return g.apply("logical_and", a, b)  # torch keeps the product of two truth values a truth value
    for x, factor in ((a, b), (b, a)):
        if isinstance(x, Node) and not isinstance(factor, Node) and _value(factor) == 1:
            return g.number(x)
    return g.apply("multiply", a, b)


def _square(g: Graph, x: Number) -> Node:
    return g.apply("multiply", x, x)


def _cube(g: Graph, x: Number) -> Node:
    return g.apply("multiply", _square(g, x), x)


def _power_1_5(g: Graph, x: Number) -> Node:
    return g.apply("multiply", x, g.apply("sqrt", x))


_POWERS: dict[float, Callable[..., Number]] = {
    0: lambda g, x: Constant(1.0),
    0.5: _function("sqrt"),
    1: lambda g, x: x,
    1.5: _power_1_5,
    2: _square,
    3: _cube,
    4: lambda g, x: _square(g, _square(g, x)),
}


def _pow(g: Graph, x: Number, exponent: Number) -> Number:
    """The powers that multiplication, division and roots give."""
    value = _value(exponent)
    if abs(value) not in _POWERS or value < -3:
        raise Refused(f"the power {value:g}")
    power = _POWERS[abs(value)](g, x)
    return g.apply("reciprocal", power) if value < 0 else power


def _clamp(g: Graph, x: Number, low: Number | None = None, high: Number | None = None) -> Number:
    above = x if low is None else g.apply("maximum", x, low)
    return above if high is None else g.apply("minimum", above, high)


def _sign(g: Graph, x: Number) -> Node:
    """-1, 0 or 1, and 0 for NaN, as in torch."""
    return g.apply("subtract", g.apply("greater", x, 0), g.apply("less", x, 0))


def _sigmoid(g: Graph, x: Number) -> Node:
    return g.apply("reciprocal", g.apply("add", g.apply("exp", g.apply("negative", x)), 1))


def _sigmoid_backward(g: Graph, grad: Number, y: Number) -> Node:
    return g.apply("multiply", g.apply("multiply", grad, g.apply("subtract", 1, y)), y)


def _tanh_backward(g: Graph, grad: Number, y: Number) -> Node:
    return g.apply("multiply", grad, g.apply("subtract", 1, _square(g, y)))


def _softplus(g: Graph, x: Number, beta: Number = 1, threshold: Number = 20) -> Number:
    scaled = _scaled(g, x, beta)
    soft = g.apply("divide", g.apply("log1p", g.apply("exp", scaled)), beta)
    return g.where(g.apply("greater", scaled, threshold), x, soft)


def _softplus_backward(g: Graph, grad: Number, x: Number, beta: Number, threshold: Number) -> Number:
    scaled = _scaled(g, x, beta)
    z = g.apply("exp", scaled)
    soft = g.apply("divide", g.apply("multiply", grad, z), g.apply("add", z, 1))
    return g.where(g.apply("greater", scaled, threshold), grad, soft)


def _sum(g: Graph, x: Operand, dims: Sequence[int] | None, keepdim: bool = False) -> Node:
    """Over the last axis of `[R, B]` only; whether it is kept shows in the shape of the result."""
    if dims is None or list(dims) not in ([-1], [1]):
        raise Refused("a reduction over another axis than the last one of [R, B]")
    return g.total(x)


def _mean(g: Graph, x: Operand, dims: Sequence[int] | None, keepdim: bool = False) -> Node:
    return g.apply("divide", _sum(g, x, dims), g.size)


def _var(g: Graph, x: Operand, dims: Sequence[int] | None, *, correction: Number = 1, keepdim: bool = False) -> Node:
    centred = g.apply("subtract", x, _mean(g, x, dims))
    return g.apply("divide", g.total(_square(g, centred)), max(g.size - _value(correction), 0.0))


def _to_copy(g: Graph, x: Operand, *, dtype: torch.dtype | None = None, **_: Any) -> Number:
    """Numbers for truth values and the reverse; other types are refused by what the recorder sees of them."""
    if dtype == torch.bool:
        return x if isinstance(x, Node) and x.boolean else g.apply("not_equal", x, 0)
    return x if dtype is None else g.number(x)


_SAME_NAME = "exp log log1p expm1 sqrt tanh reciprocal minimum maximum logical_and logical_or logical_xor logical_not"
_TWO_KINDS: dict[str, Callable[..., Number]] = {
    "add": _add, "sub": _sub, "mul": _mul, "div": _function("divide"),
    "rsub": lambda g, a, b, alpha=1: _sub(g, b, a, alpha=alpha),
    "clamp_min": _function("maximum"), "clamp_max": _function("minimum"),
    "eq": _function("equal"), "ne": _function("not_equal"), "lt": _function("less"), "le": _function("less_equal"),
    "gt": _function("greater"), "ge": _function("greater_equal"),
    "masked_fill": lambda g, x, mask, value: g.where(mask, value, x),
    "bitwise_and": _function("logical_and"), "bitwise_or": _function("logical_or"),
    "bitwise_xor": _function("logical_xor"),
}  # fmt: skip
_SAME_NUMBERS = (  # the recorder sees from the result's shape how they are laid out
    "detach", "alias", "clone", "view", "_unsafe_view", "expand", "unsqueeze", "squeeze", "squeeze.dim", "squeeze.dims",
)  # fmt: skip
_CREATED = {  # they read no tensor, so what comes of them may be a constant
    "scalar_tensor", "zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones",
    "new_full", "lift_fresh",
}  # fmt: skip
OPERATIONS: dict[str, Callable[..., Number]] = {
    **{name: _function(name) for name in _SAME_NAME.split()},
    **{f"{name}.{kind}": operation for name, operation in _TWO_KINDS.items() for kind in ("Tensor", "Scalar")},
    **dict.fromkeys(_SAME_NUMBERS, lambda g, x, *_, **__: x),
    "neg": _function("negative"), "abs": _function("absolute"), "bitwise_not": _function("logical_not"),
    "sign": _sign, "sgn": _sign, "square": _square, "pow.Tensor_Scalar": _pow,
    "rsqrt": lambda g, x: g.apply("reciprocal", g.apply("sqrt", x)),
    "isnan": lambda g, x: g.apply("not_equal", x, x),
    "clamp": _clamp, "clamp.Tensor": _clamp, "clamp_min": _function("maximum"), "clamp_max": _function("minimum"),
    "where.self": lambda g, *operands: g.where(*operands),
    "relu": lambda g, x: g.apply("maximum", x, 0),
    "threshold_backward": lambda g, grad, x, threshold: g.where(g.apply("less_equal", x, threshold), 0.0, grad),
    "sigmoid": _sigmoid, "sigmoid_backward": _sigmoid_backward, "tanh_backward": _tanh_backward,
    "softplus": _softplus, "softplus_backward": _softplus_backward,
    "sum.dim_IntList": _sum, "mean.dim": _mean, "var.correction": _var,
    "std.correction": lambda g, *args, **options: g.apply("sqrt", _var(g, *args, **options)),
    "_to_copy": _to_copy,
}  # fmt: skip
"""From the name of an operation to the function that adds it to a graph and returns its result."""


_LOOKS = (torch.Tensor, torch.Size, torch.dtype, torch.device, torch.layout)
_MEASURES = {  # the answer is a plain value, but depends on no number of the tensor
    torch.Tensor.dim, torch.Tensor.ndimension, torch.Tensor.size, torch.Tensor.stride, torch.Tensor.numel,
    torch.Tensor.nelement, torch.Tensor.__len__, torch.Tensor.is_contiguous, torch.Tensor.is_floating_point,
    torch.Tensor.ndim.__get__, torch.Tensor.requires_grad.__get__,  # type: ignore[attr-defined]
}  # fmt: skip


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's hooks for subclasses have no types
    """Translates each operation as it happens; `[R, B]` with R neither 1 nor B, so that shapes tell the axes apart.

    Numbers are known by their place in memory, not by their tensor: the backward pass gets the forward pass's results
    as other tensors.
    """

    def __init__(self, replicas: int, size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = Graph(size)
        self.refusal: str | None = None
        self._replicas, self._size = replicas, size
        self._held: dict[tuple[Any, ...], Operand] = {}  # what the numbers at a place are
        self._inputs: set[int] = set()  # memory that must not be written to
        self._alive: list[torch.Tensor] = []  # so that no place is used for another tensor

    def name(self, tensor: torch.Tensor, name: str, *, fixed: bool = False) -> None:
        """Make a tensor `[R, B]` or `[R, 1]` known as an input; `fixed` for a hyper-parameter."""
        self._hold(tensor, self.graph.input(name, full=tensor.shape[1] == self._size, fixed=fixed))
        self._inputs.add(_place(tensor)[0])

    def operand(self, tensor: torch.Tensor) -> Operand:
        """Return what a tensor is in the graph; Refused if it came from elsewhere."""
        if (operand := self._held.get(_place(tensor))) is None:
            raise Refused(f"a tensor {tuple(tensor.shape)} that is neither an input nor computed from inputs")
        return operand

    def refuse(self, reason: str) -> None:
        """Note why the surrogate cannot be replayed; the first reason stays."""
        self.refusal = self.refusal or reason

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Or torch imports its compiler, which takes a second, only to exempt the next method from compilation.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # The author's code goes on whatever happens here, and may not notice that it is watched.
        if self.refusal is None:
            try:
                self._record(func, args, kwargs or {}, result)
            except Refused as refused:
                self.refuse(f"{func}: {refused}")
        return result

    def _record(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        name = func.name().removeprefix("aten::")
        if in_place := func._schema.is_mutable:
            packet, *overload = name.split(".")
            name = ".".join([packet.removesuffix("_"), *overload])
            self._check_in_place(result, args[0])
        if not isinstance(result, torch.Tensor) or name not in OPERATIONS.keys() | _CREATED:
            raise Refused("no operation that can be replayed")
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor)]
        if name == "lift_fresh" and _place(result) in self._held:
            return  # a tensor that is known, which Python has made into a tensor once more
        if name == "lift_fresh" and result.numel() != 1:
            raise Refused("a tensor of numbers that are written into the code")
        if name in _CREATED or all(isinstance(self.operand(x), Constant) for x in tensors):
            self._hold(result, _uniform(result), again=in_place)
        else:
            self._hold(result, self._translate(name, args, kwargs, result), again=in_place)

    def _translate(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: torch.Tensor) -> Operand:
        known = [self.operand(x) if isinstance(x, torch.Tensor) else x for x in args]
        try:
            value = OPERATIONS[name](self.graph, *known, **{key: x for key, x in kwargs.items() if x is not None})
        except TypeError as error:  # an option that the operation here does not know
            raise Refused(str(error)) from None
        if not isinstance(value, Node):
            return value if isinstance(value, Constant) else constant(value)
        # `[R]` holds the same numbers as `[R, 1]`. Operands that meet element by element have the replicas on the same
        # axis, or the result has another shape: R is neither 1 nor B.
        shape, whole = tuple(result.shape), (self._replicas, self._size)
        if shape not in (whole, (self._replicas, 1), (self._replicas,)):
            raise Refused(f"a result of shape {shape} instead of [R, B] or [R, 1]")
        if result.dtype != (torch.bool if value.boolean else torch.float32) or (value.full and shape != whole):
            raise Refused(f"a result of type {result.dtype} and shape {shape}")
        return self.graph.spread(value) if shape == whole else value

    def _check_in_place(self, result: Any, target: torch.Tensor) -> None:
        """Refuse a change in place of an input, or of numbers that are also seen in another way."""
        memory = _place(target)[0]
        if result is not target or memory in self._inputs:
            raise Refused("a change in place")
        if [place for place in self._held if place[0] == memory] != [_place(target)]:
            raise Refused("a change in place of a view")

    def _hold(self, tensor: torch.Tensor, value: Operand, *, again: bool = False) -> None:
        if not again and self._held.get(_place(tensor), value) != value:
            raise Refused("a result in the memory of an operand")
        self._held[_place(tensor)] = value
        self._alive.append(tensor)


class Watch(TorchFunctionMode):
    """Refuses what reads numbers out of tensors: float, bool, item, numpy, tolist and their like."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = isinstance(result, tuple | list) and all(isinstance(x, torch.Tensor) for x in result)
        if not (tensors or isinstance(result, _LOOKS) or func in _MEASURES):
            self._recorder.refuse(f"{getattr(func, '__name__', func)} gives Python a {type(result).__name__}")
        return result


def _uniform(tensor: torch.Tensor) -> Constant:
    """Return the one number that a tensor of constants holds everywhere."""
    numbers = tensor.detach().reshape(-1)
    if not (len(numbers) and bool((numbers == numbers[0]).all() | numbers.isnan().all())):
        raise Refused("a tensor of unequal constants")
    return constant(numbers[0].item())


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Return where a tensor's numbers are; first the memory, which other places may share."""
    memory = tensor.untyped_storage().data_ptr()
    return (memory, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
