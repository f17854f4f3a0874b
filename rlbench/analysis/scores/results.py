"""What is known of an experiment's runs: its tables, learning curves and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, Self

import pandas as pd

from rlbench.analysis.scores import scores as scoring
from rlbench.analysis.scores.document import ArmEntry, Document
from rlbench.analysis.scores.identity import traces
from rlbench.analysis.scores.references import REFERENCES, Reference
from rlbench.claims import Claim
from rlbench.errors import RlbenchError, nearest
from rlbench.store import Tables


class Results:
    """The runs of an experiment, as tidy DataFrames; nothing is compared here.

    `experiment` is the document of the experiment (or its JSON); `references` are all that scores are normalised by, if
    none are given those of `rlbench.analysis.scores.references.REFERENCES`, but for environments that only have an id
    in common with Gymnasium's; all resampling comes from `seed`. `metrics` are the scores that a report shows, columns
    of `scores`, the primary one first. `scores` and `curves` are computed from `tables` unless they are given.
    """

    def __init__(
        self,
        experiment: Document | Mapping[str, Any],
        tables: Tables,
        *,
        references: Mapping[str, Reference] | None = None,
        seed: int = 0,
        metrics: tuple[str, ...] = ("auc", "final"),
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
        self.metrics = metrics
        self._scores, self._curves = scores, curves

    @classmethod
    def of(cls, results: Results) -> Self:
        """Return these results as this class, which may know more questions to them."""
        made = cls.__new__(cls)
        made.__dict__.update(results.__dict__)
        return made

    def with_scores(self, scores: pd.DataFrame) -> Self:
        """Return the same results with another table of scores."""
        made = copy(self)
        made.__dict__.pop("scores", None)
        made._scores = scores
        return made

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

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per planned run: auc, final, last100, each also normalised, and whether the run is used."""
        return scoring.scores(self.tables, self.references) if self._scores is None else self._scores

    @cached_property
    def traces(self) -> pd.Series:
        """What runs that are the same to the bit share, by cell (`rlbench.analysis.scores.identity`)."""
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
    def claims(self) -> tuple[Claim, ...]:
        """The claims that the experiment makes."""
        return self.experiment.claims

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
