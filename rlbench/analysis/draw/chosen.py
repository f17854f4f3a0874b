"""What a showpiece is about: its experiments, arms, environments and sweeps, and how they look and are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rlbench.analysis.draw.style import FIXED, ArmStyle, arm_styles
from rlbench.analysis.draw.sweeps import FEWEST, Sweep, find_sweeps
from rlbench.analysis.scores.references import reference
from rlbench.analysis.scores.results import Results
from rlbench.errors import RlbenchError, nearest
from rlbench.suite import Showpiece


@dataclass(frozen=True, eq=False)
class Chosen:
    """A showpiece with the results that it is drawn from, at least one."""

    piece: Showpiece
    results: tuple[Results, ...]

    @property
    def first(self) -> Results:
        """The results of the first of its experiments."""
        return self.results[0]

    @property
    def where(self) -> str:
        """How messages refer to it."""
        return f"Figure {self.piece.name!r}"

    @cached_property
    def arms(self) -> list[str]:
        """The arms of the first experiment, in the order in which they are drawn.

        Raises:
            RlbenchError: there is no such arm.
        """
        return self._listed("arm", self.piece.arms, self.first.arms)

    @cached_property
    def environments(self) -> list[str]:
        """The environments, which all of the experiments have.

        Raises:
            RlbenchError: there is no such environment.
        """
        common = [one for one in self.first.environments if all(one in other.environments for other in self.results)]
        return self._listed("environment", self.piece.environments, common)

    @cached_property
    def averaged(self) -> list[str]:
        """The environments that a mean of normalised scores is taken over: those with a reference."""
        return [one for one in self.environments if reference(one, self.first.references) is not None]

    @cached_property
    def sweeps(self) -> list[tuple[Results, Sweep]]:
        """The sweeps of the fields, with their results; of all fields with enough values, if none is named.

        Raises:
            RlbenchError: nothing is swept.
        """
        wanted, found = self.piece.swept, []
        for results in self.results:
            sweeps = find_sweeps(results.arm_entries.values(), self.piece.arms, wanted)
            found += [(results, one) for one in sweeps if wanted or len(one.values) >= FEWEST]
        if not found:
            what = " or ".join(wanted) or "field"
            raise RlbenchError(f"{self.where}: no arms of {self._names} differ in one {what} alone.")
        return found

    def called(self, name: str) -> str:
        """Return what an arm, a variant or an environment is called in the figure."""
        return self.piece.labels.get(name, name)

    def styles_of_arms(self) -> dict[str, ArmStyle]:
        """Return the looks of the arms; the first of a built-in algorithm looks like that algorithm."""
        algorithms = dict(zip(self.first.runs["arm"], self.first.runs["algorithm"], strict=True))
        return styles_like({arm: str(algorithms.get(arm, arm)) for arm in self.arms})

    def _listed(self, what: str, wanted: Sequence[str], known: Sequence[str]) -> list[str]:
        for name in wanted:
            if name not in known:
                raise RlbenchError(f"{self.where}: {self._names} has no {what} {name!r}.{nearest(name, list(known))}")
        return list(wanted) or list(known)

    @property
    def _names(self) -> str:
        return " and ".join(f"experiment {one.experiment.name!r}" for one in self.results)


def styles_like(algorithms: Mapping[str, str]) -> dict[str, ArmStyle]:
    """Return a look for every label; the first label of a built-in algorithm looks like that algorithm."""
    own: dict[str, str] = {}
    for label, algorithm in algorithms.items():
        known = algorithm in FIXED and algorithm not in algorithms and algorithm not in own.values()
        if known and label not in FIXED:
            own[label] = algorithm
    names = {label: own.get(label, label) for label in algorithms}
    styles = arm_styles(list(names.values()))
    return {label: styles[name] for label, name in names.items()}
