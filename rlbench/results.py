"""The results of an experiment as users hold them, with their figures and report, and how stored ones are opened."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import pandas as pd

from rlbench.analysis.judge.verdicts import JudgedResults
from rlbench.analysis.scores.results import ActionMap, Document
from rlbench.errors import RlbenchError
from rlbench.files import COUNT, LABEL, NAME, TEXT, Each, check, read_json
from rlbench.records import Environment
from rlbench.store import Planned, Store, load_table
from rlbench.store.folders import FILE, MEMBERS, home, read_register, read_specification

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rlbench.analysis.draw.frame import Look
    from rlbench.analysis.draw.style import ArmStyle
    from rlbench.analysis.report.entries import Progress
    from rlbench.analysis.report.figures import Picture
    from rlbench.training.policy import Policy

STAGES = "stages.json"
_DECISION = {
    "arm": LABEL,
    "baseline": LABEL,
    "environments": [LABEL],
    "outcome": TEXT,
    "look": COUNT,
    "n_arm": COUNT,
    "n_baseline": COUNT,
}
_RECORD = {
    "looks": [COUNT],
    "metric": TEXT,
    "arms": [LABEL],
    "looked": COUNT,
    "decisions": [_DECISION],
    "cells": [NAME],
    "earlier": COUNT,
    "claims?": NAME,
    "settled?": Each(COUNT),
}


class Results(JudgedResults):
    """What an experiment gave. Tables are tidy DataFrames; every `plot_*` takes `ax=None` and returns the Axes.

    Each also takes `arms`, `labels`, `colors`, `title`, `legend` and `note` (`rlbench.analysis.draw.frame.Look`).
    """

    # Matplotlib takes half a second to import, and who only reads numbers does not need it: hence the late imports.

    @cached_property
    def styles(self) -> dict[str, ArmStyle]:
        """Colour, marker and line of every arm, the same in all figures."""
        from rlbench.analysis import draw

        return draw.styles_of(self)

    def plot_learning_curves(
        self,
        ax: Axes | None = None,
        environment: str | None = None,
        *,
        line: Literal["mean", "iqm"] = "mean",
        simultaneous: bool = False,
        kind: Literal["training", "deterministic", "sampled"] = "training",
        **look: Unpack[Look],
    ) -> Axes:
        """Draw the learning curve of every arm; of all environments, normalised, unless one is named.

        `line` "iqm" draws the interquartile mean of the runs instead of their mean; the band holds each point by
        itself, or the whole mean curve at once if `simultaneous`. `kind` "deterministic" or "sampled" draws the
        evaluations instead of the training's own episodes.
        """
        from rlbench.analysis import draw

        how = {"line": line, "simultaneous": simultaneous, "kind": kind}
        return draw.plot_learning_curves(self, environment, ax=ax, **how, **look)

    def plot_reached(
        self, ax: Axes | None = None, environment: str | None = None, threshold: float = 0.5, **look: Unpack[Look]
    ) -> Axes:
        """Draw the share of runs that had reached a normalised return; of the first environment unless one is named."""
        from rlbench.analysis import draw

        return draw.plot_reached(self, environment, threshold, ax=ax, **look)

    def plot_scores(
        self, ax: Axes | None = None, environment: str | None = None, metric: str | None = None, **look: Unpack[Look]
    ) -> Axes:
        """Draw the score of every run as a dot; of all environments, normalised, unless one is named."""
        from rlbench.analysis import draw

        return draw.plot_scores(self, environment, metric, ax=ax, **look)

    def plot_aggregate(self, ax: Axes | None = None, metric: str | None = None, **look: Unpack[Look]) -> Axes:
        """Draw interquartile mean and mean of the normalised scores of all environments."""
        from rlbench.analysis import draw

        return draw.plot_aggregate(self, metric, ax=ax, **look)

    def plot_profile(self, ax: Axes | None = None, metric: str | None = None, **look: Unpack[Look]) -> Axes:
        """Draw the share of runs that score more than each normalised score."""
        from rlbench.analysis import draw

        return draw.plot_profile(self, metric, ax=ax, **look)

    def plot_improvement(
        self, ax: Axes | None = None, environment: str | None = None, metric: str | None = None, **look: Unpack[Look]
    ) -> Axes:
        """Draw the probability that a run of each arm scores higher than one of the baseline."""
        from rlbench.analysis import draw

        return draw.plot_improvement(self, environment, metric, ax=ax, **look)

    def plot_difference(
        self, ax: Axes | None = None, environment: str | None = None, metric: str | None = None, **look: Unpack[Look]
    ) -> Axes:
        """Draw by how much the mean score of each arm exceeds the baseline's."""
        from rlbench.analysis import draw

        return draw.plot_difference(self, environment, metric, ax=ax, **look)

    def plot_diagnostics(
        self, ax: Axes | None = None, environment: str | None = None, quantity: str = "kl", **look: Unpack[Look]
    ) -> Axes:
        """Draw a column of `updates` over training; of the first environment unless one is named."""
        from rlbench.analysis import draw

        return draw.plot_diagnostics(self, environment, quantity, ax=ax, **look)

    def policy(self, arm: str | None = None, environment: str | None = None, seed: int | str = "median") -> Policy:
        """Return the policy that a run has learnt; `arm` and `environment` may be left out where there is only one.

        `seed` is a seed, or "best", "median" or "worst": by the evaluated return of the final policy, or else by the
        return of the last tenth of the training. Of the best of many seeds expect less than its score.
        """
        from rlbench.policies import load

        return load(self, arm, environment, seed)

    def evaluate(
        self,
        arm: str | None = None,
        environment: str | None = None,
        seed: int | str | None = None,
        *,
        episodes: int = 100,
        on: Environment | str | None = None,
    ) -> pd.DataFrame:
        """Play fresh episodes with the kept policies; return a row per run, kind of actions and episode.

        None stands for all arms, environments and seeds. All policies play the same episodes, with their most likely
        actions and with sampled ones (column `actions`); `on` is another environment than the one of training. Average
        the episodes of a run first: the run is the unit.
        """
        from rlbench.policies import chosen, evaluate_runs
        from rlbench.study.environments import bound

        place = None if on is None else bound(Environment(on) if isinstance(on, str) else on)
        return evaluate_runs(self, chosen(self, arm, environment, seed), episodes=episodes, on=place)

    @cached_property
    def searched(self) -> Results | None:  # noqa: D102  # as in the base class
        name, folder = self.experiment.json.get("search"), self.experiment.runs_in
        if not name or folder is None or not (home(folder, name) / FILE).is_file():
            return None
        return load_results(name, folder)

    @property
    def keeps_policies(self) -> bool:
        """Whether the policies of any of these runs are kept."""
        if self.experiment.runs_in is None or self.measured:
            return False
        store = Store(self.experiment.runs_in)
        return any(store.keeps_policy(cell) for cell in self.runs["cell"])

    def policy_steps(self, arm: str, environment: str) -> list[int]:  # noqa: D102  # as in the base class
        return self.policy(arm, environment).steps

    def action_map(  # noqa: D102  # as in the base class
        self,
        environment: str,
        arms: Sequence[str],
        variables: Sequence[str] = (),
        seed: int | str = "median",
        steps: Sequence[int] = (),
    ) -> ActionMap:
        from rlbench.policies import action_map

        return action_map(self, environment, arms, variables, seed, steps)

    def plot_action_map(
        self,
        ax: Axes | None = None,
        environment: str | None = None,
        arm: str | None = None,
        *,
        variables: Sequence[str] = (),
        quantity: Literal["action", "value"] = "action",
        seed: int | str = "median",
        step: int | None = None,
    ) -> Axes:
        """Draw what the policy of an arm does over the states that it visits, or what it expects (`quantity` "value").

        Of the first arm and the first environment unless others are named.
        """
        from rlbench.analysis import draw

        place, shown = environment or self.environments[0], arm or self.arms[0]
        found = self.action_map(place, [shown], variables, seed, [] if step is None else [step])
        return draw.plot_action_map(found, found.table["arm"].iloc[0], quantity, ax=ax)

    def report(self, out_dir: str | Path, kinds: Collection[str] = (), progress: Progress = lambda *_: None) -> Path:
        """Write the report, its figures and tables under `out_dir` and return the path of the page.

        Figures are SVG, and files of `kinds`, "pdf" and "png". `progress` gets what is done and how much of it. A
        report that is there, of the same runs, is left as it is.
        """
        from rlbench.analysis.report.table import PAGE, is_current

        if isinstance(kinds, str) or not {*kinds} <= {"pdf", "png"}:
            raise RlbenchError(f'kinds must be some of ["pdf", "png"], not {kinds!r}.')
        if is_current(self, kinds, Path(out_dir)):
            return Path(out_dir) / PAGE
        from rlbench.analysis.report.experiment_page import write_report

        shown: Sequence[Picture] = ()
        if self.keeps_policies:  # else nothing that needs torch is imported
            from rlbench.films import strips

            shown = strips(self, progress)
        return write_report(self, out_dir, kinds, progress, shown)

    def _repr_html_(self) -> str:
        from rlbench.analysis.report.tables import numbers_table, summary_table

        table = numbers_table(self) if self.measured else summary_table(self)
        return f"<p>{html.escape(repr(self))}</p>{table.shown.to_html(index=False)}"


def load_results(name: str, results_dir: str | Path = "results", *, suite: str = "") -> Results:
    """Return what is stored of an experiment that was run, by its name; as a part of `suite` if one is named.

    Raises:
        RlbenchError: no experiment of that name was run in `results_dir`.
    """
    if not isinstance(name, str):
        raise RlbenchError(f"load_results takes the name of an experiment, not {name!r}.")
    folder = Path(results_dir) / suite / MEMBERS if suite else results_dir
    return open_results(*read_specification(folder, name), results_dir, suite=suite)


def load_policy(
    results: Results | str,
    *,
    arm: str | None = None,
    environment: str | None = None,
    seed: int | str = "median",
    results_dir: str | Path = "results",
) -> Policy:
    """Return the policy of a run of an experiment, given by its results or its name; see `Results.policy`."""
    known = results if isinstance(results, Results) else load_results(results, results_dir)
    return known.policy(arm, environment, seed)


def read_results(source: str | Path | Sequence[str | Path] | pd.DataFrame, **options: Any) -> Results:
    """Return the results of runs made elsewhere, with the options of `rlbench.analysis.scores.external`."""
    from rlbench.analysis.scores.external import external_results

    return Results.of(external_results(source, **options))


def open_results(
    document: Mapping[str, Any],
    cells: Sequence[Planned],
    results_dir: str | Path,
    *,
    suite: str = "",
    staged: bool = True,
) -> Results:
    """Return the stored results of an experiment's planned runs, as a part of `suite` if it is one.

    Where the experiment was run in stages they are those that a stage asked for, unless `staged` is false: the arms of
    the others were decided, so that they are not missing. If all runs are stored nevertheless, the experiment was run
    as a whole.
    """
    folder = home(results_dir, str(document["name"]), suite)
    record = read_stages(folder) if staged else {}
    asked = set(record.get("cells") or [])
    sequential = bool(asked) and asked <= {run.cell for run in cells}
    if sequential and len(asked) < len(cells):
        store = Store(results_dir)
        sequential = not all(store.manifest(run.cell) for run in cells)
    if sequential:
        cells = [run for run in cells if run.cell in asked]
    known = Document.read(
        document,
        register=read_register(folder),
        sequential=record if sequential else None,
        runs_in=Path(results_dir),
    )
    return Results(known, load_table(results_dir, cells))


def read_stages(folder: Path) -> dict[str, Any]:
    """Return the record of the stages of an experiment (`rlbench.stages`); an empty one where there were none."""
    try:
        record: dict[str, Any] = read_json(folder / STAGES)
        check(record, _RECORD, "it")
        return record
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as problem:
        raise RlbenchError(f"{folder / STAGES} cannot be read ({problem}); move it away to begin anew.") from problem
