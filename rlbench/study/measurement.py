"""An experiment whose numbers a function computes, where nothing has to be trained for them.

    def measure(environment: Environment, seed: int) -> dict[str, dict[str, float | list[float]]]:
        return {f"lambda={value:g}": {"variance": variance(value, seed)} for value in (0, 1)}


    EXPERIMENT = Measurement(
        name="gae-variance",
        question="Does the variance of the advantage grow with lambda?",
        measure=measure,
        arms=["lambda=0", "lambda=1"],
        environments=["CartPole-v1"],
        seeds=20,
        claims=[Claim("It grows", ["lambda=1", "lambda=0"], "greater", "variance:mean")],
    )

Its numbers go the way of runs: through the store, the tables and the claims. The unit is the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import FunctionType
from typing import Any

from rlbench.claims import Claim
from rlbench.errors import RlbenchError, brief
from rlbench.records import MEASURED, Environment
from rlbench.shapes import is_label
from rlbench.study.spec import as_claims, as_environments, as_list, as_name, as_seeds, as_text, check_claims, repeats

Measure = Callable[[Environment, int], Mapping[str, Mapping[str, float | Sequence[float]]]]
"""Returns the columns of every arm: a number each, or a sequence of them; NaN where there is none."""


@dataclass(frozen=True, init=False)
class Measurement:
    """Arms x environments x seeds, as an `Experiment` has them, with numbers that a function computes.

    measure       gets an environment and a seed, and returns for every arm its columns by name. It runs in a worker
                  process and must depend on nothing but its arguments and its source: the same call gives the same
                  numbers. A plain function: what a closure holds would be no part of what identifies the numbers
    arms          labels; all arms of an environment and a seed are measured in one call
    name, environments, seeds, claims, question, design  as in `Experiment`

    A sequence becomes as many rows of the table `updates`, numbered from 1 by `step`; the metric `variance:mean` is the
    mean over them.
    """

    name: str
    measure: Measure
    arms: tuple[str, ...]
    environments: tuple[Environment, ...]
    seeds: tuple[int, ...]
    claims: tuple[Claim, ...]
    question: str
    design: str

    def __init__(
        self,
        name: str,
        measure: Measure,
        arms: Sequence[str],
        environments: Sequence[Environment | str],
        seeds: int | Sequence[int] = 10,
        claims: Sequence[Claim] = (),
        question: str = "",
        design: str = "",
    ) -> None:
        where = f"Measurement {as_name(name)!r}"
        checked: dict[str, Any] = {
            "name": name,
            "measure": _function(where, measure),
            "arms": _labels(where, as_list(where, "arms", arms)),
            "environments": as_environments(where, as_list(where, "environments", environments)),
            "seeds": as_seeds(where, seeds),
            "claims": as_claims(where, claims),
            "question": as_text(where, "question", question),
            "design": as_text(where, "design", design),
        }
        check_claims(where, checked["claims"], checked["arms"], checked["environments"])
        for claim in checked["claims"]:
            if ":" not in claim.metric and claim.metric != "seconds":
                raise RlbenchError(
                    f"{where}, {claim.where}: nothing is trained here, so there is no {brief(claim.metric)}; "
                    "name a column with a reduction, such as variance:mean."
                )
        for key, value in checked.items():
            object.__setattr__(self, key, value)

    @property
    def where(self) -> str:
        """How messages refer to the measurement."""
        return f"Measurement {brief(self.name)}"

    def with_seeds(self, seeds: int | Sequence[int]) -> Measurement:
        """Return the same measurement with other seeds."""
        changed = {one.name: getattr(self, one.name) for one in fields(self)} | {"seeds": seeds}
        return Measurement(**changed)

    def document(self) -> dict[str, Any]:
        """Return the measurement as JSON, in the form that `Experiment.document` has."""
        return {
            "name": self.name,
            "question": self.question,
            "measure": self.measure.__qualname__,
            "arms": [{"label": label, "algorithm": MEASURED, "settings": {}, "fields": {}} for label in self.arms],
            "environments": [{"id": one.id, "options": dict(one.options)} for one in self.environments],
            "seeds": list(self.seeds),
            "steps": {one.label: 1 for one in self.environments},
            "baseline": "",
            "claims": [claim.document() for claim in self.claims],
            "design": self.design,
        }


def _function(where: str, measure: Any) -> Any:
    if not isinstance(measure, FunctionType):
        raise RlbenchError(f"{where}: measure must be a function, not {brief(measure)}.")
    if measure.__closure__:
        held = ", ".join(measure.__code__.co_freevars)
        raise RlbenchError(
            f"{where}: measure must be a function of a module and hold no variables of a function around it ({held})."
        )
    return measure


def _labels(where: str, arms: list[Any]) -> tuple[str, ...]:
    for one in arms:
        if not is_label(one):
            raise RlbenchError(f"{where}: arms must be labels, and {brief(one)} is not one.")
    if repeated := repeats(arms):
        raise RlbenchError(f"{where}: two arms are called {brief(repeated[0])}.")
    return tuple(arms)
