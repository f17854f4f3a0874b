"""From cells to packs of replicas: which runs train together, how many at once, and in which order."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from rlbench.algorithm import pack_key
from rlbench.registry import is_own
from rlbench.study.costs import Costs
from rlbench.study.measuring import MeasuredCell
from rlbench.study.plan import AnyCell, Cell


@dataclass(frozen=True, eq=False)
class Pack:
    """Cells that train together in one program, equal in class, static fields, environment and budget.

    Or cells that one call of a measurement's function gives. `cost` is the expected duration, seconds; its relation to
    that of other packs is what matters.
    """

    cells: tuple[AnyCell, ...]
    cost: float = 1.0

    @property
    def title(self) -> str:
        """What trains here, for people: `ppo-clip on CartPole-v1 x10`."""
        arms = list(dict.fromkeys(cell.arm for cell in self.cells))
        shown = arms[0] if len(arms) == 1 else f"{arms[0]} and {len(arms) - 1} more"
        return f"{shown} on {self.cells[0].environment.label} x{len(self.cells)}"

    @property
    def is_measured(self) -> bool:
        """Whether a measurement's function gives its numbers, and nothing is trained."""
        return isinstance(self.cells[0], MeasuredCell)

    @property
    def runs_user_code(self) -> bool:
        """Whether anything but rlbench and Gymnasium runs in it: an environment, an algorithm, a measurement."""
        first = self.cells[0]
        return isinstance(first, MeasuredCell) or bool(first.specification) or not is_own(type(first.algorithm))


def halves(pack: Pack) -> list[Pack]:
    """Return a pack in two, to be trained apart; none where it cannot be: one cell, or one call of a measurement."""
    cells = pack.cells
    if len(cells) < 2 or isinstance(cells[0], MeasuredCell):
        return []
    middle = (len(cells) + 1) // 2
    return [Pack(part, pack.cost * len(part) / len(cells)) for part in (cells[:middle], cells[middle:])]


def make_packs(
    cells: Sequence[Cell],
    workers: int,
    costs: Costs | None = None,
    room: float = math.inf,
    begun: Mapping[str, int] | None = None,
) -> list[Pack]:
    """Return packs that cover `cells`, costliest first, so that `workers` processes end at about one time.

    A pack holds at most as many replicas as pay by `costs` and as fit into `room`, bytes. Cells that may train together
    start as few packs as that allows; a group is split further only while that shortens the whole. `begun` holds the
    steps, by cell id, after which cells go on that were interrupted.
    """
    costs = costs or Costs()
    groups = [_Group(group, costs, (begun or {}).get(group[0].id, 0)) for group in groups_of(cells, begun)]
    for group in groups:
        group.parts = -(-len(group.cells) // costs.largest(group.cells[0], room))
    _split_further(groups, workers)
    packs = [Pack(tuple(part), group.cost(len(part))) for group in groups for part in _split(group.cells, group.parts)]
    return sorted(packs, key=lambda pack: -pack.cost)


def measured_packs(cells: Sequence[MeasuredCell]) -> list[Pack]:
    """Return a pack for each environment and seed of every measurement."""
    groups: dict[Hashable, list[MeasuredCell]] = {}
    for cell in cells:
        groups.setdefault((cell.name, cell.environment.label, cell.seed), []).append(cell)
    return [Pack(tuple(group)) for group in groups.values()]


def groups_of(cells: Sequence[Cell], begun: Mapping[str, int] | None = None) -> list[list[Cell]]:
    """Return the cells by what may train together, in the order in which they come.

    Those cannot that go on after different numbers of steps, by `begun`.
    """
    groups: dict[Hashable, list[Cell]] = {}
    for cell in cells:
        after = begun.get(cell.id, 0) if begun else 0
        key = (pack_key(cell.algorithm), cell.environment_key, cell.steps, after)
        groups.setdefault(key, []).append(cell)
    return list(groups.values())


class _Group:
    """Cells that may train together, and into how many packs they are split."""

    def __init__(self, cells: Sequence[Cell], costs: Costs, begun: int) -> None:
        self.cells, self.parts = cells, 1
        self._cost, self._steps = costs.of(cells[0]), max(cells[0].steps - begun, 1)

    def cost(self, replicas: int) -> float:
        """Return the expected seconds of a pack."""
        return self._cost.per_step(replicas) * self._steps


def _split_further(groups: list[_Group], workers: int) -> None:
    """Split groups into more packs: greedily, while a further split shortens the whole."""
    length, last = _schedule(groups, workers)
    while True:
        costs = [group.cost(-(-len(group.cells) // group.parts)) for group in groups]
        longest = [group for group, cost in zip(groups, costs, strict=True) if cost > 0.97 * max(costs)]
        # One group that ends last; or all of the longest, since splitting one of several gains nothing.
        for chosen in [*([group] for group in last), longest]:
            before = [group.parts for group in chosen]
            for group in chosen:
                group.parts = min(group.parts + 1, len(group.cells))
            shorter, candidates = _schedule(groups, workers)
            if shorter < 0.97 * length:  # not worth another pack otherwise
                length, last = shorter, candidates
                break
            for group, parts in zip(chosen, before, strict=True):
                group.parts = parts
        else:
            return


def _schedule(groups: list[_Group], workers: int) -> tuple[float, list[_Group]]:
    """Return (duration, groups with a pack on the worker that ends last) of starting the costliest first."""
    costs = []
    for index, group in enumerate(groups):
        size, larger = divmod(len(group.cells), group.parts)
        costs += [(group.cost(size + (part < larger)), index) for part in range(group.parts)]
    busy = [(0.0, worker) for worker in range(workers)]
    held: list[list[int]] = [[] for _ in range(workers)]
    for cost, index in sorted(costs, reverse=True):
        load, worker = heapq.heappop(busy)
        heapq.heappush(busy, (load + cost, worker))
        held[worker].append(index)
    load, worker = max(busy)
    return load, [groups[index] for index in dict.fromkeys(held[worker])]


def _split(group: Sequence[Cell], count: int) -> list[Sequence[Cell]]:
    """Return `group` in `count` parts whose sizes differ by one at most."""
    size, larger = divmod(len(group), count)
    starts = [index * size + min(index, larger) for index in range(count + 1)]
    return [group[start:stop] for start, stop in itertools.pairwise(starts)]
