"""From episodes to one curve and a few scores per training run, and the references that normalise them.

Definitions, all in environment steps of the run (its parallel copies together) and undiscounted episode returns:

value at step s
    Mean return of the episodes that ended in the window (s - W, s], with W a tenth of the budget. An empty window takes
    the return of the latest step before it at which episodes ended. Before the first episode ended nothing is known;
    the value is then that of the first ended episodes, carried back, and `observed` is False.
curve
    The value at the `points` steps budget * k / points, k = 1 ... points. The curve of a run that failed or diverged is
    NaN after the step where it stopped; that of a run without a single ended episode is NaN throughout.
auc
    Mean of the curve over its grid: the area under the learning curve over its width. The primary score.
final
    The value at the end: mean return over the last tenth of the budget.
last100
    Mean return of the last 100 episodes (a few more where several ended on the same step; all, if there are fewer).
drop
    How far the curve ends below its highest point: what was learnt and lost again. 0 if the end is the highest.
eval_auc, eval_final, eval_final_sampled, eval_best
    Only of runs whose policy was evaluated on its way (`rlbench.training.evaluation`): the mean of its evaluations,
    each of which counts for the steps since the one before; the last of them; the last one with sampled actions; and
    the highest. The first, second and fourth are of the most likely actions. `eval_best` is a maximum of noisy numbers:
    more evaluations, or fewer episodes in each, make it higher, and no policy that is kept need be that good.
eval_gain
    eval_final less eval_final_sampled: what exploration costs the final policy.

An episode belongs to the step at which it ended, and one still running at the end of training is not counted. `used`
marks the runs that enter statistics: finished ones with at least one ended episode and no return that is NaN or beyond
`LARGEST`, and finished measurements, which have no episodes. A failed or diverged run keeps its row, with scores of
what it did until it stopped (to be shown, not to be averaged: it had fewer steps); a missing one has a row with NaN.

Scores are normalised by fixed references (a random policy scores 0, a stated target 1), and never by the smallest and
largest score of what is compared, since then adding an arm would change the scores of all others. A score above 1 or
below 0 is possible.

Identical runs. Runs of one seed start alike, and stay the same to the bit until what distinguishes two arms takes
effect. Where it never does no statistics are needed: the difference is exactly 0. That two arms have the same scores
does not show it, since both may have reached a ceiling, or never a goal; so whole runs are compared (`traces`), and
only where no two seeds gave the same are they told apart at all. Of runs of which no more than a score is known, the
scores of at least `FEWEST` seeds have to agree.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlbench.analysis.stats.estimates import ANYTHING, Array, Estimate, Range
from rlbench.errors import RlbenchError
from rlbench.records import EVALUATED, MEASURED, OF_EVALUATIONS
from rlbench.store import Tables

POINTS = 100  # grid points of a curve
WINDOW = 0.1  # width of the averaging window, as a share of the budget
LAST = 100  # episodes in `last100`
LARGEST = 1e100  # of a return or score; the squares of more would not be finite
ALL = "all environments"
METRICS = ("auc", "final", "last100", "score", *OF_EVALUATIONS)  # "score": of runs made elsewhere, see `external`
_ROUNDING = 16 * np.finfo(np.float64).eps  # of the largest score: by so much sums in another order differ
STOPPED = ("failed", "diverged")  # statuses of runs that had less than their budget
_OF_CURVES = METRICS[:3]
_COPIED = ("cell", "arm", "algorithm", "environment", "seed", "steps", "status")  # from runs to scores


@dataclass(frozen=True)
class Reference:
    """The two fixed points of one environment's scale, in units of its undiscounted episode return.

    `random` is the mean return of uniformly random actions over `episodes` episodes, with `standard_error`;
    `target` is a return that counts as solved, for the reason in `source`. No return is below `low` or above `high`,
    which are infinite where that is not known; `low` is the worst possible score.

    Raises:
        RlbenchError: `target` equals `random`, one of them is not finite, or they are not between `low` and `high`.
    """

    random: float
    target: float
    source: str = "given by the user"
    episodes: int = 0
    standard_error: float = float("nan")
    low: float = float("-inf")
    high: float = float("inf")

    def __post_init__(self) -> None:
        if not np.isfinite([self.random, self.target]).all() or self.random == self.target:
            raise RlbenchError(
                f"A reference needs two different finite returns, not random={self.random} and target={self.target}."
            )
        if not self.low <= min(self.random, self.target) <= max(self.random, self.target) <= self.high:
            raise RlbenchError(f"The references of a score lie outside its range of {self.low} to {self.high}.")


# Random returns were measured with Gymnasium 1.4.0, as tests/analysis/test_references.py does it again; a target is the
# threshold of the specification where there is one.
_SPEC = "reward_threshold of the Gymnasium specification"

REFERENCES: Mapping[str, Reference] = {
    # The ranges follow from the rewards and the longest episode: 1 a step for 500 steps, -1 for 500 or 200.
    "CartPole-v1": Reference(22.19, 475.0, _SPEC, episodes=20_000, standard_error=0.08, low=1.0, high=500.0),
    "Acrobot-v1": Reference(-498.8, -100.0, _SPEC, episodes=2_000, standard_error=0.26, low=-500.0, high=0.0),
    "MountainCar-v0": Reference(-200.0, -110.0, _SPEC, episodes=2_000, standard_error=0.0, low=-200.0, high=-1.0),
    "MountainCarContinuous-v0": Reference(  # at most 0.1 a step is lost to the action, and 100 won at the goal
        -33.33, 90.0, _SPEC, episodes=1_000, standard_error=0.03, low=-99.9, high=100.0
    ),
    "Pendulum-v1": Reference(
        -1228.5,
        -150.0,
        "the specification has none: what swinging up by energy and balancing by hand-set gains reach "
        "(-147, standard error 3, 1000 episodes), rounded",
        episodes=4_000,
        standard_error=4.6,
        low=-3254.8,  # 200 steps at angle pi, speed 8 and torque 2 cost pi^2 + 6.4 + 0.004 each
        high=0.0,
    ),
    "LunarLander-v3": Reference(-182.1, 200.0, _SPEC, episodes=2_000, standard_error=2.5),
    "HalfCheetah-v5": Reference(-281.1, 4800.0, _SPEC, episodes=500, standard_error=3.3),
    "Hopper-v5": Reference(17.38, 3800.0, _SPEC, episodes=4_000, standard_error=0.28),
    "InvertedDoublePendulum-v5": Reference(48.19, 9100.0, _SPEC, episodes=4_000, standard_error=0.29),
    "InvertedPendulum-v5": Reference(5.11, 950.0, _SPEC, episodes=4_000, standard_error=0.06, low=0.0, high=1000.0),
    "Reacher-v5": Reference(-42.87, -3.75, _SPEC, episodes=4_000, standard_error=0.06, high=0.0),
    "Swimmer-v5": Reference(0.37, 360.0, _SPEC, episodes=500, standard_error=0.47),
    "Walker2d-v5": Reference(
        1.43,
        3500.0,
        "the specification has none: PPO after a million steps in figure 3 of Schulman et al. 2017, rounded",
        episodes=4_000,
        standard_error=0.09,
    ),
}


def reference(environment: str, references: Mapping[str, Reference] | None = None) -> Reference | None:
    """Return the reference of an environment label, None if there is none.

    `references` are all that there are; `REFERENCES` if None is given. The label holds the id and the options, and an
    environment with options has other returns than the plain one: it does not borrow its reference.
    """
    return (REFERENCES if references is None else references).get(environment)


def normalise(scores: npt.ArrayLike, environment: str, references: Mapping[str, Reference] | None = None) -> Array:
    """Return the scores on the scale random policy = 0, target = 1; NaN for an unknown environment."""
    values = np.asarray(scores, np.float64)
    scale = reference(environment, references)
    if scale is None:
        return np.full(values.shape, np.nan)
    return (values - scale.random) / (scale.target - scale.random)


def possible_range(
    environments: Sequence[str], references: Mapping[str, Reference] | None = None, *, normalised: bool = False
) -> Range:
    """Return the range that the scores on an environment can be in, infinite where it is not known.

    Of several environments it is that of the mean over them, for which their scores must be `normalised`.
    """
    ends = []
    for environment in environments:
        scale = reference(environment, references)
        if scale is None:
            return ANYTHING
        own = np.array([scale.low, scale.high])
        ends.append(np.sort(normalise(own, environment, references)) if normalised else own)
    low, high = np.mean(ends, axis=0) if ends else ANYTHING
    return float(low), float(high)


class _History:
    """The ended episodes of one run, in an order from which the value at any step is a mean of neighbours."""

    def __init__(self, step: npt.NDArray[Any], returns: Array) -> None:
        # Sorting by return within a step makes the means independent of the order of the table's rows, bit for
        # bit.
        order = np.lexsort((returns, step))
        self.step, self.returns = step[order], returns[order]
        self.returns[~(np.abs(self.returns) <= LARGEST)] = np.nan

    def value(self, at: Array, width: float) -> Array:
        """Value at the steps `at`, `[points]`, as the module defines it; NaN if no episode ended at all."""
        if self.step.size == 0:
            return np.full(at.shape, np.nan)
        high = np.searchsorted(self.step, at, side="right")
        high = np.where(high == 0, np.searchsorted(self.step, self.step[0], side="right"), high)
        low = np.searchsorted(self.step, at - width, side="right")
        latest = np.searchsorted(self.step, self.step[high - 1], side="left")
        low = np.minimum(low, latest)
        return self._means(low, high)

    def last(self, count: int) -> float:
        """Mean return of the last `count` episodes and of those that ended with the first of them."""
        if self.step.size == 0:
            return float("nan")
        first = self.step[max(self.step.size - count, 0)]
        low = np.searchsorted(self.step, first, side="left")
        return float(self._means(np.array([low]), np.array([self.step.size]))[0])

    def _means(self, low: npt.NDArray[np.intp], high: npt.NDArray[np.intp]) -> Array:
        """Return the means of the returns from `low` to before `high`, `[windows]`, each summed up by itself.

        A difference of two sums from the beginning on would round as the largest return of the whole run does.
        """
        edges = np.column_stack([low, high]).ravel()
        return np.asarray(np.add.reduceat(np.append(self.returns, 0.0), edges)[::2] / (high - low))


def curves(tables: Tables, points: int = POINTS) -> pd.DataFrame:
    """Return the learning curves: one row per planned run and grid point.

    Columns: arm, environment, seed, step, return (see the module), observed (an episode had ended by then),
    and status and used of the run. Missing runs have no curve and no rows.
    """
    parts: list[Curve] = []
    for run, history in _histories(tables):
        if run["status"] != "missing":
            grid, value, _ = _curve(run, history, points)
            first = history.step[0] if history.step.size else np.inf
            parts.append((run, grid, value, np.isfinite(value) & (grid >= first), _used(run, history)))
    return curve_table(parts)


Curve = tuple[Mapping[Any, Any], Array, Array, npt.NDArray[np.bool_], bool]
"""A run with its steps, returns and whether they were observed, `[points]` each, and whether the run is used."""


def curve_table(parts: Sequence[Curve]) -> pd.DataFrame:
    """Return the table of `curves`."""
    lengths = [len(grid) for _, grid, *_ in parts]

    def of_runs(values: list[Any]) -> npt.NDArray[Any]:
        return np.repeat(np.array(values), np.array(lengths, np.intp))

    data = {name: of_runs([run[name] for run, *_ in parts]) for name in ("arm", "environment", "seed")}
    for place, name in enumerate(("step", "return", "observed"), start=1):
        data[name] = np.concatenate([part[place] for part in parts] or [np.empty(0, bool if place == 3 else float)])
    data["status"] = of_runs([run["status"] for run, *_ in parts])
    data["used"] = of_runs([used for *_, used in parts]).astype(bool)
    return pd.DataFrame(data)


def scores(tables: Tables, references: Mapping[str, Reference] | None = None, points: int = POINTS) -> pd.DataFrame:
    """Return the scores: one row per planned run, sorted by environment, arm and seed.

    Columns: cell, arm, algorithm, environment, seed, steps, status, used, episodes (number that ended),
    carried (share of the curve before the first episode ended), auc, final, last100, drop, where policies were
    evaluated also eval_auc and so on, and all of these with the suffix `_normalised` (see `REFERENCES`; NaN where the
    environment has no reference).
    """
    rows = []
    for run, history in _histories(tables):
        _, value, end = _curve(run, history, points)
        known = value[np.isfinite(value)]
        first = history.step[0] if history.step.size else np.inf
        rows.append(
            {
                **{name: run[name] for name in _COPIED},
                "used": _used(run, history),
                "episodes": history.step.size,
                "carried": min(float(first) / run["steps"], 1.0),
                "auc": known.mean() if known.size else np.nan,
                "final": history.value(np.array([end]), WINDOW * run["steps"])[0],
                "last100": history.last(LAST),
                "drop": known.max() - known[-1] if known.size else np.nan,
            }
        )
    table = pd.DataFrame(rows, columns=[*_COPIED, "used", "episodes", "carried", *_OF_CURVES, "drop"])
    evaluated: Sequence[str] = ()
    if is_evaluated(tables):
        table, evaluated = table.join(_evaluated(tables.updates), on="cell"), OF_EVALUATIONS
    table = with_normalised(table, [*_OF_CURVES, *evaluated], references)
    # Differences of two returns: what a random policy scores cancels.
    if evaluated:
        table["eval_gain"] = table["eval_final"] - table["eval_final_sampled"]
    scales = [reference(environment, references) for environment in table["environment"]]
    unit = [np.nan if scale is None else abs(scale.target - scale.random) for scale in scales]
    return table.assign(**{f"{name}_normalised": table[name] / unit for name in ("drop", "eval_gain") if name in table})


def is_evaluated(tables: Tables) -> bool:
    """Return whether policies were evaluated on their way."""
    return "eval_return" in tables.updates


def _evaluated(updates: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of evaluations, a row per cell that has some."""
    rows = updates[["cell", "step", *EVALUATED]].dropna(subset=["eval_return"]).sort_values(["cell", "step"])
    by_cell = rows.groupby("cell")
    width = rows["step"] - by_cell["step"].shift(fill_value=0)
    area = (rows["eval_return"] * width).groupby(rows["cell"]).sum() / by_cell["step"].last()
    columns = (area, by_cell["eval_return"].last(), by_cell["eval_return_sampled"].last(), by_cell["eval_return"].max())
    return pd.DataFrame(dict(zip(OF_EVALUATIONS, columns, strict=True)))


def evaluation_curves(tables: Tables, scores: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the evaluations of every run as learning curves, with the columns of `curves`; `column` of the updates."""
    rows = tables.updates[["cell", "step", column]].dropna(subset=[column]).rename(columns={column: "return"})
    keys = ["cell", "arm", "environment", "seed", "status", "used"]
    return scores[keys].merge(rows, on="cell").assign(observed=True).drop(columns="cell")


def with_normalised(
    table: pd.DataFrame, metrics: Sequence[str], references: Mapping[str, Reference] | None
) -> pd.DataFrame:
    """Return a table of scores in order, with a column `METRIC_normalised` for each of the metrics.

    Scores of an environment that differ by nothing but rounding are made equal, so that no test sees a difference.
    """
    table = table.copy()
    for metric in metrics:
        table[f"{metric}_normalised"] = np.nan
        for environment, group in table.groupby("environment"):
            values = _rounded(group[metric].to_numpy(np.float64))
            table.loc[group.index, metric] = values
            table.loc[group.index, f"{metric}_normalised"] = normalise(values, str(environment), references)
    return table.sort_values(["environment", "arm", "seed"], ignore_index=True)


def failures_as_worst(
    table: pd.DataFrame, metrics: Sequence[str], references: Mapping[str, Reference] | None = None
) -> pd.DataFrame:
    """Return a table of scores in which failed and diverged runs are used, with the worst possible score.

    That is the lowest return that the environment allows, or, where that is not known (`references`), the lowest score
    of any run on it. Where neither is known, failed runs stay unused. Missing runs are no failures and stay out.
    """
    table = table.copy()
    for environment, rows in table[table["status"].isin(STOPPED)].groupby("environment"):
        scale = reference(str(environment), references)
        for metric in metrics:
            seen = table.loc[table["environment"] == environment, metric].min()
            worst = scale.low if scale is not None and np.isfinite(scale.low) else seen
            table.loc[rows.index, metric] = worst
            table.loc[rows.index, f"{metric}_normalised"] = float(normalise(worst, str(environment), references))
        known = table.loc[rows.index, list(metrics)].notna().all(axis=1)
        table.loc[rows.index[known], "used"] = True
    return table


def _rounded(values: Array) -> Array:
    """Return values, `[runs]`, of which those that lie as close as rounding puts them are the lowest of them."""
    ordered = np.unique(values[np.isfinite(values)])
    if not ordered.size:
        return values
    new = np.diff(ordered, prepend=-np.inf) > _ROUNDING * np.abs(ordered[[0, -1]]).max()
    lowest = ordered[new][np.cumsum(new) - 1]
    return np.where(np.isfinite(values), lowest[np.searchsorted(ordered, values).clip(max=ordered.size - 1)], values)


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """Count the runs of a table of scores.

    Columns: arm, environment, planned, finished, diverged, failed, missing, used.
    """
    status = {name: table["status"] == name for name in ("finished", "diverged", "failed", "missing")}
    flags = table[["arm", "environment"]].assign(planned=1, **status, used=table["used"])
    return flags.groupby(["arm", "environment"], as_index=False, sort=True).sum()


def _histories(tables: Tables) -> Iterator[tuple[dict[str, Any], _History]]:
    """Yield every planned run with its episodes; two arms may share the runs of one cell."""
    episodes = tables.episodes
    codes, cells = pd.factorize(episodes["cell"])
    order = np.argsort(codes, kind="stable")
    step = episodes["step"].to_numpy()[order]
    returns = episodes["return"].to_numpy(np.float64)[order]
    edges = np.searchsorted(codes[order], np.arange(len(cells) + 1))
    position = {cell: code for code, cell in enumerate(cells)}
    for run in tables.runs.to_dict("records"):
        code = position.get(run["cell"])
        rows = slice(0, 0) if code is None else slice(edges[code], edges[code + 1])
        yield {str(key): value for key, value in run.items()}, _History(step[rows], returns[rows])


def _curve(run: Mapping[str, Any], history: _History, points: int) -> tuple[Array, Array, float]:
    """Return the grid, the curve on it and the step where the run ended."""
    grid = run["steps"] * np.arange(1, points + 1) / points
    end = float(run["steps"] if run["status"] == "finished" else run["steps_done"])
    value = history.value(grid, WINDOW * run["steps"])
    return grid, np.where(grid <= end, value, np.nan), end


def _used(run: Mapping[str, Any], history: _History) -> bool:
    if run["status"] != "finished":
        return False
    return run["algorithm"] == MEASURED or bool(history.step.size > 0 and np.isfinite(history.returns).all())


FEWEST = 3
IDENTICAL = "identical runs: exactly 0"
_SEEN = ("step", "return", "length")  # of an episode
_DONE = ("step", "kl", "entropy")  # of an update: what it did to the policy, whatever the algorithm calls its numbers


def traces(tables: Tables) -> pd.Series:
    """Return a text per cell that two runs share if their episodes and their updates of the policy are the same.

    Cells of which no more than one row is known have none.
    """
    rows = []
    for table, columns in ((tables.episodes, _SEEN), (tables.updates, _DONE)):
        known = [name for name in columns if name in table]
        if len(known) > 1:
            kept = table.dropna(subset=known[1:], how="all")
            hashes = pd.util.hash_pandas_object(kept[known].astype(np.float64), index=False)
            rows.append(pd.DataFrame({"cell": kept["cell"].to_numpy(), "hash": hashes.to_numpy()}))
    if not rows:
        return pd.Series(dtype=object)
    grouped = pd.concat(rows).groupby("cell")["hash"]
    # Sums that wrap, so that the order of the rows does not matter.
    return grouped.sum()[grouped.size() > 1].astype(str)


def identical(runs: pd.DataFrame, arms: Sequence[str]) -> bool:
    """Return whether the used runs of arms on one environment are the same, seed by seed, and those of a seed its own.

    `runs` holds arm, seed, used, value (of the metric) and trace (NaN where there is none).
    """
    groups = [runs[(runs["arm"] == arm) & runs["used"].astype(bool)].sort_values("seed") for arm in arms]
    first = groups[0]
    traced = all(group["trace"].notna().all() for group in groups)
    if len(first) < (2 if traced else FEWEST) or first["trace" if traced else "value"].duplicated().any():
        return False
    columns = ["seed", "value", *(["trace"] if traced else [])]
    return all(
        len(other) == len(first) and all((other[name].to_numpy() == first[name].to_numpy()).all() for name in columns)
        for other in groups[1:]
    )


def exactly(estimate: Estimate) -> Estimate:
    """Return the estimate of a difference of identical runs: exactly 0, and no interval is needed."""
    return replace(estimate, point=0.0, low=0.0, high=0.0, method=IDENTICAL)
