"""The object that `rlbench.run` returns: the tables of an experiment, its scores, comparisons and figures."""

from __future__ import annotations

import html
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from rlbench.analysis.judge import compare as comparing
from rlbench.analysis.judge.compare import Comparison, decided
from rlbench.analysis.scores import scores as scoring
from rlbench.analysis.scores.identity import traces
from rlbench.analysis.scores.references import REFERENCES, Reference
from rlbench.claims import Claim, from_document
from rlbench.errors import RlbenchError, nearest
from rlbench.records import Environment
from rlbench.store import Tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rlbench.analysis.draw.style import ArmStyle
    from rlbench.analysis.judge.sensitivity import Sensitivity
    from rlbench.analysis.judge.verdicts import Verdict


class Results:
    """What an experiment gave. Tables are tidy DataFrames; every `plot_*` takes `ax=None` and returns the Axes.

    `experiment` is the JSON document of the experiment (name, question, arms, environments, seeds, steps,
    baseline); `references` are all that scores are normalised by, if none are given those of
    `rlbench.analysis.scores.references.REFERENCES`, but for environments that only have an id in common with
    Gymnasium's; all resampling comes from `seed`.
    `metrics` are the scores that a report shows, columns of `scores`, the primary one first.
    """

    metrics: tuple[str, ...] = ("auc", "final")

    def __init__(
        self,
        experiment: Mapping[str, Any],
        tables: Tables,
        *,
        references: Mapping[str, Reference] | None = None,
        seed: int = 0,
    ) -> None:
        self.experiment = dict(experiment)
        self.tables = tables
        if references is None:
            listed = [one for one in self.experiment.get("environments") or [] if isinstance(one, Mapping)]
            others = {
                Environment(one["id"], one.get("options") or {}).label for one in listed if "specification" in one
            }
            references = {name: scale for name, scale in REFERENCES.items() if name not in others}
        self.references = references
        self.seed = seed

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
        return scoring.curves(self.tables)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per planned run: auc, final, last100, each also normalised, and whether the run is used."""
        return scoring.scores(self.tables, self.references)

    @cached_property
    def traces(self) -> pd.Series:
        """What runs that are the same to the bit share, by cell (`rlbench.analysis.scores.identity`)."""
        return traces(self.tables)

    @cached_property
    def arms(self) -> list[str]:
        """The labels of the arms, in the order of the experiment."""
        return self._order([str(arm.get("label") or arm.get("algorithm")) for arm in self._list("arms")], "arm")

    @cached_property
    def environments(self) -> list[str]:
        """The labels of the environments, in the order of the experiment."""
        named = [
            one if isinstance(one, str) else Environment(one["id"], one.get("options") or {}).label
            for one in self._list("environments")
        ]
        return self._order(named, "environment")

    @property
    def baseline(self) -> str | None:
        """The arm that the others are compared with, if the experiment names one that was planned."""
        named = self.experiment.get("baseline")
        return named if named in self.arms else None

    @cached_property
    def styles(self) -> dict[str, ArmStyle]:
        """Colour, marker and line of every arm, the same in all figures."""
        from rlbench.analysis.draw.style import arm_styles

        return arm_styles(self.arms)

    def compare(
        self, arm: str | None = None, baseline: str | None = None, metric: str | None = None
    ) -> list[Comparison]:
        """Compare one arm, or all of them, with `baseline`, by default the experiment's; no baseline: nothing.

        Per environment and over all of them; see `rlbench.analysis.judge.compare`. `metric` is the primary one if None.
        Of runs that were made in stages until they decided something, only what was decided then has a verdict
        (`rlbench.analysis.judge.compare`).
        """
        baseline, metric = baseline or self.baseline, metric or self.metrics[0]
        if arm is not None and baseline is not None:
            made = comparing.compare(self.scores, arm, baseline, metric, self.seed, self.references, self.traces)
            return decided(made, self.experiment)
        if arm is not None:
            raise RlbenchError("The experiment names no baseline: say with which arm to compare.")
        if baseline is None:
            return []
        return decided(self._compare_all(baseline, metric), self.experiment)

    def _compare_all(self, baseline: str, metric: str) -> list[Comparison]:
        """Compare as if the number of runs had been fixed, in the order of the experiment."""
        pairs = [(one, baseline) for one in self.arms if one != baseline]
        if not pairs:
            return []
        return comparing.compare_all(
            self.scores,
            pairs=pairs,
            metric=metric,
            seed=self.seed,
            references=self.references,
            traces=self.traces,
        )

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every arm against the baseline in the primary score."""
        return self.compare()

    @cached_property
    def claims(self) -> list[Claim]:
        """The claims that the experiment makes."""
        return [from_document(one) for one in self._list("claims")]

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """What the runs say of every claim: supported, refuted, inconclusive or undecidable."""
        from rlbench.analysis.judge.verdicts import judge_all

        return judge_all(self.claims, self, seed=self.seed)

    def judge(self, claim: Claim) -> Verdict:
        """Return what the runs say of a claim, also of one that the experiment does not make."""
        from rlbench.analysis.judge.verdicts import judge

        return judge(claim, self, seed=self.seed)

    @cached_property
    def sensitivity(self) -> list[Sensitivity]:
        """The comparisons beside the same ones with failed runs as the worst score; empty if no run failed."""
        from rlbench.analysis.judge.sensitivity import sensitivity

        # Both as if the number of runs had been fixed, also where it was not: the two must differ in one thing only.
        made = self.comparisons
        if "sequential" in self.experiment and self.baseline:
            made = self._compare_all(self.baseline, self.metrics[0])
        return sensitivity(self.scores, made, seed=self.seed, references=self.references, traces=self.traces)

    def plot_learning_curves(
        self,
        ax: Axes | None = None,
        environment: str | None = None,
        *,
        line: Literal["mean", "iqm"] = "mean",
        simultaneous: bool = False,
    ) -> Axes:
        """Draw the learning curve of every arm; of all environments, normalised, unless one is named.

        `line` "iqm" draws the interquartile mean of the runs instead of their mean; the band holds each point by
        itself, or the whole mean curve at once if `simultaneous`.
        """
        from rlbench.analysis import draw

        return draw.plot_learning_curves(
            self.curves,
            self.scores,
            self._known(environment),
            arms=self.arms,
            styles=self.styles,
            references=self.references,
            line=line,
            simultaneous=simultaneous,
            seed=self.seed,
            ax=ax,
        )

    def plot_reached(self, ax: Axes | None = None, environment: str | None = None, threshold: float = 0.5) -> Axes:
        """Draw the share of runs that had reached a normalised return; of the first environment unless one is named."""
        from rlbench.analysis import draw

        return draw.plot_reached(
            self.curves,
            self.scores,
            self._known(environment) or self.environments[0],
            threshold,
            arms=self.arms,
            styles=self.styles,
            references=self.references,
            ax=ax,
        )

    def plot_scores(self, ax: Axes | None = None, environment: str | None = None, metric: str | None = None) -> Axes:
        """Draw the score of every run as a dot; of all environments, normalised, unless one is named."""
        from rlbench.analysis import draw

        return draw.plot_scores(
            self.scores,
            metric or self.metrics[0],
            self._known(environment),
            arms=self.arms,
            styles=self.styles,
            references=self.references,
            seed=self.seed,
            ax=ax,
        )

    def plot_aggregate(self, ax: Axes | None = None, metric: str | None = None) -> Axes:
        """Draw interquartile mean and mean of the normalised scores of all environments."""
        from rlbench.analysis import draw

        return draw.plot_aggregate(
            self.scores,
            metric or self.metrics[0],
            arms=self.arms,
            styles=self.styles,
            references=self.references,
            seed=self.seed,
            ax=ax,
        )

    def plot_profile(self, ax: Axes | None = None, metric: str | None = None) -> Axes:
        """Draw the share of runs that score more than each normalised score."""
        from rlbench.analysis import draw

        return draw.plot_profile(self.scores, metric or self.metrics[0], arms=self.arms, styles=self.styles, ax=ax)

    def plot_improvement(
        self, ax: Axes | None = None, environment: str | None = None, metric: str | None = None
    ) -> Axes:
        """Draw the probability that a run of each arm scores higher than one of the baseline."""
        from rlbench.analysis import draw

        comparisons = self.comparisons if metric in (None, self.metrics[0]) else self.compare(metric=metric)
        return draw.plot_improvement(comparisons, self.scores, self._known(environment), styles=self.styles, ax=ax)

    def plot_difference(
        self, ax: Axes | None = None, environment: str | None = None, metric: str | None = None
    ) -> Axes:
        """Draw by how much the mean score of each arm exceeds the baseline's."""
        from rlbench.analysis import draw

        comparisons = self.comparisons if metric in (None, self.metrics[0]) else self.compare(metric=metric)
        return draw.plot_difference(comparisons, self.scores, self._known(environment), styles=self.styles, ax=ax)

    def plot_diagnostics(
        self,
        ax: Axes | None = None,
        environment: str | None = None,
        quantity: str = "kl",
        *,
        legend: bool = True,
    ) -> Axes:
        """Draw a column of `updates` over training; of the first environment unless one is named."""
        from rlbench.analysis import draw

        return draw.plot_diagnostics(
            self.updates,
            self.scores,
            quantity,
            self._known(environment) or self.environments[0],
            arms=self.arms,
            styles=self.styles,
            legend=legend,
            ax=ax,
        )

    def report(self, out_dir: str | Path) -> Path:
        """Write the report, its figures and tables under `out_dir` and return the path of the page."""
        from rlbench.analysis.report.experiment_page import write_report

        return write_report(self, None, out_dir, seed=self.seed)

    def __repr__(self) -> str:
        counts = self.runs["status"].value_counts()
        outcome = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        return (
            f"<Results of {self.experiment.get('name', 'an experiment')!r}: {len(self.arms)} arms x "
            f"{len(self.environments)} environments, {len(self.runs)} runs ({outcome})>"
        )

    def _repr_html_(self) -> str:
        from rlbench.analysis.report.measured import is_measured, numbers_table
        from rlbench.analysis.report.tables import summary_table

        table = numbers_table(self) if is_measured(self) else summary_table(self)
        return f"<p>{html.escape(repr(self))}</p>{table.shown.to_html(index=False)}"

    def _list(self, key: str) -> list[Any]:
        return list(self.experiment.get(key) or [])

    def _order(self, named: list[str], column: str) -> list[str]:
        """Return what was planned: first as the experiment orders it, then what it does not name."""
        planned = list(dict.fromkeys(self.runs[column]))
        return [name for name in named if name in planned] + [name for name in planned if name not in named]

    def _known(self, environment: str | None) -> str | None:
        if environment is not None and environment not in self.environments:
            raise RlbenchError(
                f"There is no environment {environment!r} in these results.{nearest(environment, self.environments)}"
            )
        return environment
