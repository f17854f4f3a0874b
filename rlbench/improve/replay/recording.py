"""One run of a surrogate and its derivative under observation, as a graph of what torch did.

Two observers watch. One sees every elementary operation, those of autograd's backward pass too, and translates it by
the table. The other sees what the author's code asks of a tensor, and refuses where it gets anything but tensors and
what they look like: a number read out of a tensor goes on in Python, where nobody sees what becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from rlbench.improve.replay.graph import Constant, Graph, Node, Operand, Refused, constant
from rlbench.improve.replay.operations import CREATED, TABLE

_LOOKS = (torch.Tensor, torch.Size, torch.dtype, torch.device, torch.layout)
_MEASURES = frozenset({
    torch.Tensor.dim, torch.Tensor.ndimension, torch.Tensor.size, torch.Tensor.stride, torch.Tensor.numel,
    torch.Tensor.nelement, torch.Tensor.__len__, torch.Tensor.is_contiguous, torch.Tensor.is_floating_point,
    torch.Tensor.ndim.__get__, torch.Tensor.requires_grad.__get__,  # type: ignore[attr-defined]
})  # fmt: skip
"""What may be asked of a tensor although the answer is a plain value: none of them depends on its numbers."""


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's hooks for subclasses have no types
    """Translates each operation as it happens; `[R, B]` with R neither 1 nor B, so that shapes tell the axes apart."""

    def __init__(self, replicas: int, size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = Graph(size)
        self.refusal: str | None = None
        self._replicas, self._size = replicas, size
        self._held: dict[tuple[Any, ...], Operand] = {}  # what the numbers at a place in memory are
        self._storages: dict[int, set[tuple[Any, ...]]] = {}  # the places that share a memory
        self._inputs: set[int] = set()  # memory that must not be written to
        self._alive: list[torch.Tensor] = []  # so that no place is used for another tensor

    def name(self, tensor: torch.Tensor, name: str, *, fixed: bool = False) -> None:
        """Make a tensor `[R, B]` or `[R, 1]` known as an input; `fixed` for a hyper-parameter."""
        self._hold(tensor, self.graph.input(name, full=tensor.shape[1] == self._size, fixed=fixed))
        self._inputs.add(_storage(tensor))

    def operand(self, tensor: torch.Tensor) -> Operand:
        """Return what a tensor is in the graph; Refused if it came from elsewhere."""
        held = self._held.get(_place(tensor))
        if held is None:
            raise Refused(f"a tensor {tuple(tensor.shape)} that is neither an input nor computed from inputs")
        return held

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
                self._note(func, args, kwargs or {}, result)
            except Refused as refused:
                self.refuse(f"{func}: {refused}")
        return result

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        name = func.name().removeprefix("aten::")
        if in_place := func._schema.is_mutable:
            packet, *overload = name.split(".")
            name = ".".join([packet.removesuffix("_"), *overload])
            self._may_write(result, args[0])
        if not isinstance(result, torch.Tensor) or name not in TABLE.keys() | CREATED:
            raise Refused("no operation that can be replayed")
        tensors = [one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor)]
        if name == "lift_fresh":
            # What Python has just made into a tensor, unless it is known already.
            if (value := self._held.get(_place(result))) is None:
                if result.numel() != 1:
                    raise Refused("a tensor of numbers that are written into the code")
                value = _uniform(result)
        elif name in CREATED or all(isinstance(self.operand(one), Constant) for one in tensors):
            value = _uniform(result)
        else:
            value = self._translate(name, args, kwargs, result)
        self._hold(result, value, again=in_place)

    def _translate(self, name: str, args: Iterable[Any], kwargs: Mapping[str, Any], result: torch.Tensor) -> Operand:
        read = {key: self._read(value) for key, value in kwargs.items() if value is not None}
        try:
            value = TABLE[name](self.graph, *map(self._read, args), **read)
        except TypeError as error:  # an option that the table does not know
            raise Refused(str(error)) from None
        if not isinstance(value, Node):
            return value if isinstance(value, Constant) else constant(value)
        full = self._is_full(result)
        if result.dtype != (torch.bool if value.boolean else torch.float32) or (value.full and not full):
            raise Refused(f"a result of type {result.dtype} and shape {tuple(result.shape)}")
        return self.graph.spread(value) if full else value

    def _is_full(self, tensor: torch.Tensor) -> bool:
        """Return whether a tensor is `[R, B]`; if not, it must be `[R, 1]` or `[R]`, which holds the same numbers.

        Operands that meet element by element have the replicas on the same axis, or the result has another shape: R is
        neither 1 nor B.
        """
        shape = tuple(tensor.shape)
        if shape not in ((self._replicas, self._size), (self._replicas, 1), (self._replicas,)):
            raise Refused(f"a result of shape {shape} instead of [R, B] or [R, 1]")
        return shape == (self._replicas, self._size)

    def _read(self, argument: Any) -> Any:
        return self.operand(argument) if isinstance(argument, torch.Tensor) else argument

    def _may_write(self, result: Any, target: Any) -> None:
        """Refuse a change in place of an input, or of numbers that are also seen in another way."""
        if result is not target or _storage(target) in self._inputs:
            raise Refused("a change in place")
        if self._storages.get(_storage(target)) != {_place(target)}:
            raise Refused("a change in place of a view")

    def _hold(self, tensor: torch.Tensor, value: Operand, *, again: bool = False) -> None:
        place = _place(tensor)
        if again or place not in self._held:
            self._held[place] = value
        elif self._held[place] != value:
            raise Refused("a result in the memory of an operand")
        self._storages.setdefault(_storage(tensor), set()).add(place)
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
        tensors = isinstance(result, tuple | list) and all(isinstance(one, torch.Tensor) for one in result)
        if not (tensors or isinstance(result, _LOOKS) or func in _MEASURES):
            self._recorder.refuse(f"{getattr(func, '__name__', func)} gives Python a {type(result).__name__}")
        return result


def _uniform(tensor: torch.Tensor) -> Constant:
    """Return the one number that a tensor of constants holds everywhere."""
    numbers = tensor.detach().reshape(-1)
    if not (len(numbers) and bool((numbers == numbers[0]).all() | numbers.isnan().all())):
        raise Refused("a tensor of unequal constants")
    return constant(numbers[0].item())


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    return (_storage(tensor), tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
