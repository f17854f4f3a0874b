"""The state of one replica as named arrays: what a checkpoint holds, and how it gets back to where it was.

Whatever lasts from rollout to rollout has a pair `state(replica)` and `restore(replica, state)`, many of them those of
`Saved`. Names of parts are joined by dots. Numbers keep their bits; what is no array travels as JSON, whose
integers are exact.
"""

import json
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
State = dict[str, Array]


class UnusableError(Exception):
    """A checkpoint does not give back the state that it was made of; the text says why."""


def joined(**parts: State) -> State:
    """Return the states of several parts as one: `{"part.name": array}`."""
    return {f"{part}.{name}": array for part, state in parts.items() for name, array in state.items()}


def part(state: State, name: str) -> State:
    """Return what `joined` took as `name`."""
    start = f"{name}."
    return {key[len(start) :]: array for key, array in state.items() if key.startswith(start)}


def rows(owner: object, names: Iterable[str], replica: int) -> State:
    """Return the row of one replica of some attributes, arrays or tensors `[R, ...]`."""
    return {name: plain(getattr(owner, name)[replica]) for name in names}


def put_rows(owner: object, names: Iterable[str], replica: int, state: State) -> None:
    """Put back what `rows` returned."""
    for name in names:
        put(getattr(owner, name), replica, state[name], name)


def put(target: Any, index: Any, values: Array, name: str) -> None:
    """Set `target[index]`, an array or a tensor, to values of the same shape and kind; UnusableError otherwise."""
    present = plain(target[index])
    if present.shape != values.shape or present.dtype != values.dtype:
        raise UnusableError(f"{name} is {values.dtype} {values.shape}, not {present.dtype} {present.shape}")
    if is_tensor(target):
        import torch  # those who have one have imported it; others, who look at an environment only, need not

        target[index] = torch.from_numpy(values)
    else:
        target[index] = values


def plain(values: Any) -> Array:
    """Return a copy of an array's numbers, or of a tensor's, wherever it lies."""
    return np.array(values.detach().cpu().numpy() if is_tensor(values) else values)


def is_tensor(values: Any) -> bool:
    """Return whether something is a tensor of torch, without importing that."""
    return hasattr(values, "detach")


class Saved:
    """What lasts from rollout to rollout as attributes, named by its class.

    `ROWS` are arrays or tensors `[R, ...]`, `COMMON` numbers that all replicas share, `PARTS` have a state of their own
    or are None.
    """

    ROWS: ClassVar[tuple[str, ...]] = ()
    COMMON: ClassVar[tuple[str, ...]] = ()
    PARTS: ClassVar[tuple[str, ...]] = ()

    def state(self, replica: int) -> State:
        """Return what one replica goes on with; UnusableError if its environment does not tell."""
        parts = {name: owner.state(replica) for name, owner in self._parts()}
        common = {name: np.array(getattr(self, name)) for name in self.COMMON}
        return joined(**parts) | common | rows(self, self.ROWS, replica)

    def restore(self, replica: int, state: State) -> None:
        """Go on from what `state` returned; UnusableError if that leads elsewhere."""
        for name, owner in self._parts():
            owner.restore(replica, part(state, name))
        for name in self.COMMON:
            setattr(self, name, type(getattr(self, name))(state[name]))
        put_rows(self, self.ROWS, replica, state)

    def _parts(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in self.PARTS if getattr(self, name) is not None]


def from_document(document: Any) -> Array:
    """Return a JSON document as bytes in an array; TypeError where it is none."""
    return np.frombuffer(json.dumps(document).encode(), np.uint8)


def to_document(array: Array) -> Any:
    """Return the JSON document in an array of bytes."""
    return json.loads(array.astype(np.uint8).tobytes())


def from_generators(generators: Iterable[np.random.Generator]) -> Array:
    """Return where generators are in their streams."""
    return from_document([generator.bit_generator.state for generator in generators])


def to_generators(array: Array, generators: Iterable[np.random.Generator]) -> None:
    """Put generators, of the same kinds, where `from_generators` found them."""
    for state, generator in zip(to_document(array), generators, strict=True):
        generator.bit_generator.state = state
