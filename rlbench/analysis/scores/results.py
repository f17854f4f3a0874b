"""What an experiment asked, read from its JSON once; and what else a report must know of its runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlbench.analysis.scores import scores as scoring
from rlbench.analysis.scores.scores import REFERENCES, Reference, traces
from rlbench.claims import Claim, Published, from_document
from rlbench.errors import RlbenchError, brief, nearest
from rlbench.records import MEASURED, Environment
from rlbench.store import Tables

COSTS = {"steps": "environment steps", "gradient_steps": "gradient steps", "seconds": "seconds"}
"""What a learning curve may stand against, and what it is called."""
JSON = Mapping[str, Any]


@dataclass(frozen=True)
class ArmEntry:
    """An arm: its `settings` are those that were given, its `fields` all that it has."""

    label: str
    algorithm: str = ""
    settings: JSON = field(default_factory=dict)
    fields: JSON = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """An experiment as it was asked.

    `environments` are labels; `unlike_registered` those that have no more than an id in common with Gymnasium's.
    `json` is the document as it is stored. Beside what was asked: the `register` of the claims, oldest entry first;
    the record of the interim analyses (`sequential`) where seeds were added in stages; of runs made elsewhere the name
    of their file (`source`), its `digest`, `notes` on what could not be used, and where they were `compared`; of others
    the results folder that their runs are stored in (`runs_in`).
    """

    name: str = ""
    question: str = ""
    design: str = ""
    arms: tuple[ArmEntry, ...] = ()
    environments: tuple[str, ...] = ()
    unlike_registered: frozenset[str] = frozenset()
    baseline: str | None = None
    claims: tuple[Claim, ...] = ()
    published: Published | None = None
    json: JSON = field(default_factory=dict)
    register: Sequence[JSON] = ()
    sequential: JSON | None = None
    source: str = ""
    digest: str = ""
    notes: Sequence[str] = ()
    compared: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    runs_in: Path | None = None

    @staticmethod
    def read(json: JSON, **known: Any) -> Document:
        """Return the document of an experiment's JSON; `known` are the fields beside what was asked."""
        arms = [
            ArmEntry(
                str(arm.get("label") or arm.get("algorithm")),
                str(arm.get("algorithm")),
                arm.get("settings") or {},
                arm.get("fields") or {},
            )
            for arm in json.get("arms") or []
        ]
        labels = {}
        for place in json.get("environments") or []:
            named = isinstance(place, str)
            given = {} if named else {key: place.get(key) or () for key in ("options", "wrappers")}
            label = (
                place if named else Environment(place["id"], dict(given["options"]), wrappers=given["wrappers"]).label
            )
            labels[label] = not named and "specification" in place
        return Document(
            name=str(json.get("name") or ""),
            question=str(json.get("question") or ""),
            design=str(json.get("design") or ""),
            arms=tuple(arms),
            environments=tuple(labels),
            unlike_registered=frozenset(label for label, unlike in labels.items() if unlike),
            baseline=json.get("baseline"),
            claims=tuple(from_document(claim) for claim in json.get("claims") or []),
            published=Published.read(json["published"]) if json.get("published") else None,
            json=json,
            **known,
        )


class View(NamedTuple):
    """What is shown of other results (`whole`): the `labels` that their arms have here, and unusual `colors`."""

    whole: Results
    labels: Mapping[str, str]
    colors: Mapping[str, str]


class ActionMap(NamedTuple):
    """What policies do over two variables of the state, or one.

    `table` has the columns arm (or a moment of its training), x, y (0 where there is one variable), action and value;
    `names` are those of the variables, `action` says what of the action is shown, and `limits` between which ends; None
    where there are none.
    """

    table: pd.DataFrame
    names: tuple[str, ...]
    action: str
    limits: tuple[float, float] | None


class Results:
    """The runs of an experiment, as tidy DataFrames; nothing is compared here.

    `experiment` is the document of the experiment (or its JSON); `references` are all that scores are normalised by, if
    none are given those of `rlbench.analysis.scores.scores.REFERENCES`, but for environments that only have an id
    in common with Gymnasium's; all resampling comes from `seed`. `metrics` are the scores that a report shows, columns
    of `scores`, the primary one first; if None, "auc", "final" and, where policies were evaluated, "eval_final".
    `scores` and `curves` are computed from `tables` unless they are given.
    """

    def __init__(
        self,
        experiment: Document | Mapping[str, Any],
        tables: Tables,
        *,
        references: Mapping[str, Reference] | None = None,
        seed: int = 0,
        metrics: tuple[str, ...] | None = None,
        scores: pd.DataFrame | None = None,
        curves: pd.DataFrame | None = None,
    ) -> None:
        self.experiment = experiment if isinstance(experiment, Document) else Document.read(experiment)
        self.tables = tables
        if references is None:
            unlike = self.experiment.unlike_registered
            references = {name: scale for name, scale in REFERENCES.items() if name not in unlike}
        self.references = references
        self.seed = seed
        if metrics is None:
            metrics = ("auc", "final", *(["eval_final"] if self.is_evaluated else []))
        self.metrics = metrics
        self._scores, self._curves = scores, curves
        self.view: View | None = None

    @classmethod
    def of(cls, results: Results) -> Self:
        """Return these results as this class, which may know more questions to them."""
        made = cls.__new__(cls)
        made.__dict__.update(results.__dict__)
        return made

    def showing(
        self,
        arms: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        colors: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the same runs, only those of `arms` in this order, with other `labels` and `colors` by arm.

        Nothing is compared anew, and claims, which name arms, are left out.

        Raises:
            RlbenchError: there is no such arm, none is asked for, or two would have the same label.
        """
        asked = (("labels", labels, Mapping), ("colors", colors, Mapping), ("arms", arms, list | tuple))
        for what, given, kind in asked:
            if given is not None and not isinstance(given, kind):
                example = f"{{{self.arms[0]!r}: ...}}" if kind is Mapping else f"[{self.arms[0]!r}]"
                raise RlbenchError(f"{what} must be given as {example}, not {brief(given)}.")
        labels, colors, chosen = labels or {}, colors or {}, self.arms if arms is None else list(arms)
        for arm in (*chosen, *labels, *colors):
            if arm not in self.arms:
                raise RlbenchError(f"There is no arm {arm!r} in these results.{nearest(arm, self.arms)}")
        if not chosen:
            raise RlbenchError("There is nothing to show without an arm.")
        called = {arm: labels.get(arm, arm) for arm in self.arms}
        if len(set(called.values())) < len(called):
            raise RlbenchError(f"Two arms cannot have the same label: {', '.join(called.values())}.")
        names = {arm: called[arm] for arm in chosen}

        def renamed(frame: pd.DataFrame) -> pd.DataFrame:
            return frame[frame["arm"].isin(list(names))].assign(arm=lambda kept: kept["arm"].map(names))

        entries = tuple(replace(self.arm_entries[arm], label=name) for arm, name in names.items())
        made, base = self._with(renamed), self.experiment.baseline
        made.experiment = replace(self.experiment, arms=entries, baseline=called.get(base or "", base), claims=())
        made.view = View(self, names, colors)
        return made

    def of_seeds(self, seeds: Collection[int]) -> Self:
        """Return the runs of these seeds only."""
        return self._with(lambda frame: frame[frame["seed"].isin(list(seeds))])

    def _with(self, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Self:
        """Return results with a change of all tables that have a row per run."""
        return type(self)(
            self.experiment,
            self.tables._replace(runs=change(self.runs)),
            references=self.references,
            seed=self.seed,
            metrics=self.metrics,
            scores=change(self.scores),
            curves=change(self.curves),
        )

    def frames(self) -> list[pd.DataFrame]:
        """Return the tables that everything else is computed from."""
        return [*self.tables, *(frame for frame in (self._scores, self._curves) if frame is not None)]

    def failures_as_worst(self, metric: str) -> Self:
        """Return the same results with failed and diverged runs used, with the worst possible score."""
        worst = copy(self)
        worst.__dict__.pop("scores", None)
        worst._scores = scoring.failures_as_worst(self.scores, [metric], self.references)
        return worst

    @property
    def runs(self) -> pd.DataFrame:
        """One row per planned run: arm, environment, seed, status, reason, steps done, seconds, commit ..."""
        return self.tables.runs

    @property
    def episodes(self) -> pd.DataFrame:
        """One row per ended episode: cell (of `runs`), step, return, length."""
        return self.tables.episodes

    @property
    def updates(self) -> pd.DataFrame:
        """One row per improvement step: cell (of `runs`), step, and the diagnostics."""
        return self.tables.updates

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Learning curves on a common grid: arm, environment, seed, step, return ..."""
        return scoring.curves(self.tables) if self._curves is None else self._curves

    @property
    def is_evaluated(self) -> bool:
        """Whether policies were evaluated on their way."""
        return scoring.is_evaluated(self.tables)

    def evaluations(self, kind: str) -> pd.DataFrame:
        """Return the evaluations of a `kind`, "deterministic" or "sampled", in the columns of `curves`."""
        column = "eval_return" if kind == "deterministic" else "eval_return_sampled"
        return scoring.evaluation_curves(self.tables, self.scores, column)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per planned run: auc, final, last100 ..., each also normalised, and whether the run is used."""
        return scoring.scores(self.tables, self.references) if self._scores is None else self._scores

    @cached_property
    def traces(self) -> pd.Series:
        """What runs that are the same to the bit share, by cell (`rlbench.analysis.scores.scores`)."""
        return traces(self.tables)

    @cached_property
    def arms(self) -> list[str]:
        """The labels of the arms, in the order of the experiment."""
        return self._order([arm.label for arm in self.experiment.arms], "arm")

    @cached_property
    def arm_entries(self) -> dict[str, ArmEntry]:
        """The arms with their settings, by label; no more than the label of those that the document does not list."""
        return {arm.label: arm for arm in self.experiment.arms} or {label: ArmEntry(label) for label in self.arms}

    @cached_property
    def environments(self) -> list[str]:
        """The labels of the environments, in the order of the experiment."""
        return self._order(self.experiment.environments, "environment")

    @property
    def baseline(self) -> str | None:
        """The arm that the others are compared with, if the experiment names one that was planned."""
        return self.experiment.baseline if self.experiment.baseline in self.arms else None

    @property
    def measured(self) -> bool:
        """Whether they are numbers that a function computed, without training, curves or scores."""
        return bool((self.runs["algorithm"] == MEASURED).all())

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims that the experiment makes."""
        return self.experiment.claims

    @property
    def searched(self) -> Results | None:
        """The results of the search for the settings of these arms, where there was one that is known here."""
        return None

    @property
    def keeps_policies(self) -> bool:
        """Whether policies may be kept with these runs."""
        return False

    def policy_steps(self, arm: str, environment: str) -> list[int]:
        """Return the steps after which the policy of an arm's median run is kept; the last are those of its end."""
        return []

    def action_map(
        self,
        environment: str,
        arms: Sequence[str],
        variables: Sequence[str] = (),
        seed: int | str = "median",
        steps: Sequence[int] = (),
    ) -> ActionMap:
        """Return what policies do, and what they expect, over one or two variables of the state that they visit.

        In classic control the variables are the simulator's, such as "pole angle", elsewhere "observation 0" and so on;
        all others are at the median of what is visited. With `steps`, one arm is shown at kept moments of its training.

        Raises:
            RlbenchError: the policies are not kept, or there is no such variable.
        """
        raise RlbenchError("The policies of these runs are not kept here.")

    def rate(self, cost: str, environment: str, arm: str) -> float:
        """Return how many "gradient_steps" or "seconds" an environment step took the runs of an arm, by their median.

        Of "steps" it is 1.

        Raises:
            RlbenchError: they are not known, as of runs that were made elsewhere.
        """
        if cost not in COSTS:
            hint = nearest(cost, list(COSTS))
            raise RlbenchError(f"Curves can be drawn against {', '.join(COSTS)}, not {cost!r}.{hint}")
        if cost == "steps":
            return 1.0
        runs = self.runs[(self.runs["environment"] == environment) & (self.runs["arm"] == arm)]
        taken = (runs[cost] / runs["steps_done"])[runs["steps_done"] > 0]
        if not taken.median() > 0:
            raise RlbenchError(f"The {COSTS[cost]} of {arm} on {environment} are not known.")
        return float(taken.median())

    def known_environment(self, environment: str | None) -> str | None:
        """Return the name of an environment, or None; RlbenchError for one that the results do not have."""
        if environment is not None and environment not in self.environments:
            raise RlbenchError(
                f"There is no environment {environment!r} in these results.{nearest(environment, self.environments)}"
            )
        return environment

    def __repr__(self) -> str:
        counts = self.runs["status"].value_counts()
        outcome = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        return (
            f"<Results of {self.experiment.name or 'an experiment'!r}: {len(self.arms)} arms x "
            f"{len(self.environments)} environments, {len(self.runs)} runs ({outcome})>"
        )

    def _order(self, named: Sequence[str], column: str) -> list[str]:
        """Return what was planned: first as the experiment orders it, then what it does not name."""
        planned = list(dict.fromkeys(self.runs[column]))
        return [name for name in named if name in planned] + [name for name in planned if name not in named]
