"""The quantities of a run, an update and an episode: what they are called, what they are, and one number per run.

`QUANTITIES` is the one place that names and defines them. A metric is a column of the scores or runs (`auc`,
`final_normalised`, `seconds`), or `COLUMN:REDUCTION` of a column of the updates or episodes, over all rows of the run
unless said otherwise:

    mean, std, min, max    of the column; std with n - 1
    final                  mean over the last tenth of the budget, where nothing was recorded there the last row
    last                   the last row
    q0.9                   a quantile, linearly interpolated
    share>0.2              the share of rows beyond a number; also <, >=, <=

Rows without a value (NaN, as the clip fraction of an algorithm that does not clip) are left out.

Two facts are read off the learning curve of a run, in normalised return, on environments that have a reference:

steps to a threshold
    The first grid point at which the curve is at the threshold or above. While the curve's window, the last tenth of
    the budget, is not yet full, its value rests on the few episodes that ended first, which are the best ones where
    every step costs: such a point counts only if the curve stays there until the window is full. A run that never gets
    there is censored at its budget; so is one that failed or diverged before, since more steps would not have helped
    it. See `survival`.
collapse
    For at least a tenth of the training, the curve is more than half below the highest that it had reached since its
    window was full, and that was at least a quarter of the way from the random policy to the target. A run that failed
    or diverged counts as collapsed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlbench.analysis.scores.results import Results
from rlbench.analysis.scores.scores import STOPPED, WINDOW, Reference, normalise, reference
from rlbench.analysis.stats.estimates import LEVEL, NO_RUN, Array, Estimate, wilson
from rlbench.errors import RlbenchError, nearest


class Quantity(NamedTuple):
    """What a column is called, and what it is; `short` is the field's abbreviation, if there is one."""

    name: str
    definition: str = ""
    unit: str = ""
    short: str = ""


OF_RUNS: Mapping[str, Quantity] = {
    "auc": Quantity("return over training", "the area under a run's learning curve over its width", short="AUC"),
    "final": Quantity("final return", "the mean return of the episodes that ended in the last tenth of the budget"),
    "last100": Quantity("return of the last 100 episodes", "the mean return of the last 100 episodes of a run"),
    "eval_auc": Quantity("evaluated return over training", "the mean return of a run's evaluations over its training"),
    "eval_final": Quantity(
        "return of the final policy", "the mean return of the last evaluation, with the most likely actions"
    ),
    "eval_final_sampled": Quantity(
        "return of the final policy, sampled", "the mean return of the last evaluation, with sampled actions"
    ),
    "eval_best": Quantity(
        "best evaluated return", "the highest mean return of an evaluation, which chance makes too high"
    ),
    "eval_gain": Quantity(
        "gain without exploration", "the final policy's return with its most likely actions less that with sampled ones"
    ),
    "score": Quantity("score"),
    "drop": Quantity("drop", "by how much the end of a run's learning curve lies below its highest point"),
    "seconds": Quantity("seconds per run", "a run's share of the time that its batch of runs took"),
    "gradient_steps": Quantity("gradient steps", "gradients of policy or value that a run computed"),
    "samples": Quantity("samples", "samples that gradients were computed from, each as often as it was used"),
}
OF_UPDATES: Mapping[str, Quantity] = {
    "kl": Quantity("KL divergence", "KL(old || new) of an update, mean over the visited states", "nats"),
    "kl_max": Quantity("largest KL divergence", "the largest KL(old || new) of an update over visited states", "nats"),
    "entropy": Quantity("entropy", "mean entropy of the policy after an update", "nats"),
    "outside_band": Quantity(
        "share outside the clip range", "share of samples with a ratio beyond 1 ± ε after an update"
    ),
    "ratio_max": Quantity("largest ratio", "the largest probability ratio of new to old policy after an update"),
    "clip_fraction": Quantity(
        "clip fraction", "share of a minibatch with a ratio beyond 1 ± ε, mean over gradient steps"
    ),
    "explained_variance": Quantity("explained variance", "share of the targets' variance that the value explains"),
    "clip_killed": Quantity("clipped share", "share of a minibatch whose gradient the clip switches off"),
    "value_loss": Quantity("value loss", "half the mean squared error of the value, mean over gradient steps"),
    "grad_norm": Quantity("gradient norm", "norm of the policy's gradient before clipping, mean over gradient steps"),
    "eval_return": Quantity(
        "evaluated return", "mean return of the episodes of an evaluation, with the most likely actions"
    ),
    "eval_return_sampled": Quantity(
        "evaluated return, sampled", "mean return of the episodes of an evaluation, with sampled actions"
    ),
    "eval_length": Quantity("evaluated episode length", "mean length of the episodes of an evaluation"),
}
OF_EPISODES: Mapping[str, Quantity] = {
    "return": Quantity("episode return", "undiscounted sum of the rewards of an episode"),
    "length": Quantity("episode length", "environment steps of an episode"),
}
QUANTITIES: Mapping[str, Quantity] = {**OF_RUNS, **OF_UPDATES, **OF_EPISODES}

FIELD_NAMES: Mapping[str, str] = {
    "lr": "learning rate",
    "gamma": "discount γ",
    "gae_lambda": "GAE λ",
    "clip": "clip range ε",
    "epochs": "epochs K per rollout",
    "entropy_coef": "entropy coefficient",
    "value_coef": "value coefficient",
    "max_grad_norm": "bound on the gradient norm",
    "horizon": "steps per rollout",
    "minibatches": "minibatches per rollout",
    "delta": "KL bound δ",
    "beta": "penalty β",
    "kl_target": "KL target",
}

_REDUCED = {
    "mean": "mean of a run",
    "final": "mean of the last tenth of a run",
    "min": "smallest of a run",
    "max": "largest of a run",
    "std": "standard deviation within a run",
    "last": "last of a run",
}

COMPARE: dict[str, Callable[..., pd.Series]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_COUNTED = ("gradient_steps", "samples")  # also columns of the updates
_SHARE = re.compile(r"share([<>]=?)(.+)")
_KEYS = ["arm", "environment", "seed"]
_NOT_METRICS = {*_KEYS, "cell", "algorithm", "status", "used", "reason", "detail", "attempts", "commit", "fingerprint"}


def metric_name(metric: str) -> str:
    """Return what a metric is called: `normalised return over training`, `KL divergence (mean of a run)`."""
    plain, known, normalised, reduction = _parts(metric)
    name = normalised + (known.name if known else plain.replace("field.", "adapted ").replace("_", " "))
    if match := _SHARE.fullmatch(reduction):
        rows = "episodes" if plain in OF_EPISODES else "updates"
        return f"share of {rows} with {name} {comparison_sign(match[1])} {match[2]}"
    return f"{name} ({_reduction(reduction)})" if reduction else name


def metric_definition(metric: str) -> str:
    """Say exactly what a metric is, in one or two sentences."""
    plain, known, normalised, reduction = _parts(metric)
    unit = f", in {known.unit}" if known and known.unit else ""
    definition = f"{metric}: {(known and known.definition) or f'the recorded number “{plain}”'}{unit}."
    if reduction:
        definition += f" One number per run: {_reduction(reduction)}."
    if normalised:
        definition += " Normalised: 0 is a random policy, 1 the target of the environment."
    return definition


def axis_label(metric: str) -> str:
    """Return what a quantity is called where there is room: `return over training (AUC)`."""
    _, known, normalised, reduction = _parts(metric)
    if reduction or known is None:
        return metric_name(metric)
    notes = "0 random, 1 target" if normalised else ", ".join(note for note in (known.short, known.unit) if note)
    return f"{normalised}{known.name}{f' ({notes})' if notes else ''}"


def short_name(metric: str) -> str:
    """Return what a metric or a column is called on an axis with little room: `normalised AUC`, `max KL divergence`."""
    plain, known, normalised, reduction = _parts(metric)
    short = (known.short or known.name) if known else plain.replace("_", " ")
    return f"{reduction} {normalised}{short}".strip()


def field_name(field: str) -> str:
    """Return what a hyper-parameter is called on an axis."""
    return FIELD_NAMES.get(field, field.replace("_", " "))


def comparison_sign(text: str) -> str:
    """Return a comparison as it is printed: `>= 0.9` becomes `≥ 0.9`."""
    return text.replace(">=", "≥").replace("<=", "≤")


def _parts(metric: str) -> tuple[str, Quantity | None, str, str]:
    """Return the column of a metric without `_normalised`, its quantity, "normalised " or "", and the reduction."""
    column, _, reduction = metric.partition(":")
    plain = column.removesuffix("_normalised")
    own = reduction and plain in OF_RUNS and plain not in _COUNTED  # by a measurement: all that is known is its name
    known = None if own else QUANTITIES.get(plain)
    return plain, known, "normalised " if plain != column else "", reduction


def _reduction(reduction: str) -> str:
    if match := _SHARE.fullmatch(reduction):
        return f"the share of values {comparison_sign(match[1])} {match[2]}"
    return _REDUCED.get(reduction) or f"{100 * float(reduction[1:]):g} % quantile of a run"


def measure(results: Results, metric: str) -> pd.DataFrame:
    """Return one row per planned run, in the order of the scores: arm, environment, seed, used and value.

    `used` as in the scores; value is NaN where the run recorded none.

    Raises:
        RlbenchError: there is no such column, or it holds no numbers.
    """
    name, _, reduction = metric.partition(":")
    table = results.scores[["cell", *_KEYS, "used"]].copy()
    if metric in results.scores:  # an archive has metrics that were reduced before
        table["value"] = _column(results, metric)
    elif reduction:
        table["value"] = table["cell"].map(_reduced(results, name, reduction)).astype(np.float64)
    else:
        table["value"] = _column(results, name)
    return table.drop(columns="cell")


def _column(results: Results, name: str) -> pd.Series:
    """Return a column of the scores, or of the runs in their order."""
    scores = results.scores
    if name not in scores:
        known = [column for column in [*scores, *results.runs] if column not in _NOT_METRICS]
        if name not in results.runs or name in _NOT_METRICS:
            hint = nearest(name, known)
            if name in results.updates or name in results.episodes:
                hint = f" It is recorded many times in a run: say which number is meant, as in {name}:mean."
            raise RlbenchError(f"There is no metric {name!r} with one number per run.{hint}")
        scores = scores[_KEYS].merge(results.runs[[*_KEYS, name]], on=_KEYS, how="left", validate="one_to_one")
    values = scores[name].to_numpy()
    if name in _NOT_METRICS or not (np.issubdtype(values.dtype, np.number) or values.dtype == bool):
        raise RlbenchError(f"The column {name!r} holds no numbers and cannot be a metric.")
    return pd.Series(values.astype(np.float64), index=results.scores.index)


def _reduced(results: Results, name: str, reduction: str) -> pd.Series:
    """Return the number of each cell, indexed by cell."""
    for table in (results.updates, results.episodes):
        if name in table and name != "cell":
            rows = table[["cell", "step", name]].dropna(subset=[name]) if name != "step" else table[["cell", "step"]]
            break
    else:
        known = sorted({*results.updates, *results.episodes} - {"cell"})
        raise RlbenchError(f"No column {name!r} is recorded over training.{nearest(name, known)}")
    # Ordered by what is in the rows, so that their order in the table does not show in the last bits.
    rows = rows.sort_values(["cell", "step", name] if name != "step" else ["cell", "step"], kind="stable")
    values = rows[name].astype(np.float64).groupby(rows["cell"])
    if match := _SHARE.fullmatch(reduction):
        return COMPARE[match[1]](rows[name], float(match[2])).groupby(rows["cell"]).mean()
    if reduction.startswith("q"):
        return values.quantile(float(reduction[1:]))
    if reduction == "final":
        budget = rows["cell"].map(results.runs.drop_duplicates("cell").set_index("cell")["steps"])
        last = rows["step"] == rows.groupby("cell")["step"].transform("max")
        late = rows[(rows["step"] > (1 - WINDOW) * budget) | last]
        values, reduction = late[name].astype(np.float64).groupby(late["cell"]), "mean"
    found: pd.Series = getattr(values, reduction)()
    return found


DROP = 0.5  # share of the highest so far that must be lost
DURATION = 0.1  # share of the training for which it must be lost
HEIGHT = 0.25  # normalised return that must have been reached


def steps_to_threshold(
    curves: pd.DataFrame, threshold: float, references: Mapping[str, Reference] | None = None
) -> pd.DataFrame:
    """Return one row per run: arm, environment, seed, steps (to the threshold, or the budget) and reached.

    `curves` is the table of `scores.curves`, and `threshold` a normalised return. Runs that did not take place, or on
    environments without a reference, have no row.
    """

    def reached(run: _Run) -> tuple[float, bool]:
        above, full = run.known & (run.value >= threshold), run.full
        above[:full] = np.logical_and.accumulate(above[full::-1])[:0:-1]
        there = np.flatnonzero(above)
        return float(run.step[there[0] if there.size else -1]), there.size > 0

    return _per_run(curves, references, ["steps", "reached"], reached)


def collapses(curves: pd.DataFrame, references: Mapping[str, Reference] | None = None) -> pd.DataFrame:
    """Return one row per run: arm, environment, seed and collapsed; otherwise as `steps_to_threshold`."""

    def lost(run: _Run) -> tuple[bool]:
        late = np.concatenate([np.full(run.full, -np.inf), run.value[run.full :]])
        return (run.status in STOPPED or bool(collapsed(late)),)

    return _per_run(curves, references, ["collapsed"], lost)


class _Run(NamedTuple):
    """A run's steps, normalised values and whether known, `[points]`; `full`: the first point with a full window."""

    step: Array
    value: Array
    known: npt.NDArray[np.bool_]
    full: int
    status: str


def _per_run(
    curves: pd.DataFrame,
    references: Mapping[str, Reference] | None,
    columns: list[str],
    fact: Callable[[_Run], tuple[Any, ...]],
) -> pd.DataFrame:
    """Return a fact of every run that has a curve, on environments that have a reference, in order."""
    keys = ["environment", "arm", "seed"]
    ordered = curves.sort_values([*keys, "step"])
    step, value = ordered["step"].to_numpy(np.float64), ordered["return"].to_numpy(np.float64)
    starts = np.flatnonzero(~ordered.duplicated(keys).to_numpy())
    named = ordered.iloc[starts][[*_KEYS, "status"]].itertuples(index=False)
    rows = []
    for (start, end), (arm, environment, seed, status) in zip(pairwise([*starts, len(ordered)]), named, strict=True):
        if reference(environment, references) is None:
            continue
        steps, score = step[start:end], normalise(value[start:end], environment, references)
        if status == "finished" and not np.isfinite(score).all():
            continue  # no episode ended, so there is no curve
        full = int(np.searchsorted(steps, WINDOW * steps[-1] * (1 - 1e-9)))
        known = ordered["observed"].to_numpy(bool)[start:end]
        rows.append((arm, environment, seed, *fact(_Run(steps, score, known, full, status))))
    return pd.DataFrame(rows, columns=[*_KEYS, *columns])


def collapsed(curves: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return whether normalised curves `[..., points]` collapse, `[...]`, as the module defines it.

    Points that do not count yet are minus infinity.

    Raises:
        RlbenchError: a curve holds NaN, as those of runs that stopped early do.
    """
    value = np.asarray(curves, np.float64)
    if np.isnan(value).any():
        raise RlbenchError("Whether a curve collapses was asked of one with NaN; a run that stopped early did.")
    highest = np.maximum.accumulate(value, axis=-1)
    low = (value < (1 - DROP) * highest) & (highest >= HEIGHT)
    return np.asarray(low.mean(-1) >= DURATION)


def collapse_estimate(collapsed: int, runs: int, level: float = LEVEL) -> Estimate:
    """Return the share of `runs` that collapsed with Wilson's interval."""
    if not runs:
        return Estimate(np.nan, np.nan, np.nan, level, 0, NO_RUN, 0, "collapse probability")
    low, high = wilson(collapsed / runs, runs, level)
    return Estimate(collapsed / runs, float(low), float(high), level, runs, "Wilson", runs, "collapse probability")


def collapse_test(first: pd.Series[bool], second: pd.Series[bool]) -> float:
    """Return the two-sided p-value of equal probabilities of collapse, NaN without runs of both.

    R. D. Boschloo, Statistica Neerlandica 24, 1970: exact, and uniformly more powerful than Fisher's test.
    """
    if first.empty or second.empty:
        return float("nan")
    from scipy import stats

    table = [[int(first.sum()), int(second.sum())], [int((~first).sum()), int((~second).sum())]]
    if 0 in (sum(table[0]), sum(table[1])):
        return 1.0
    return float(stats.boschloo_exact(table).pvalue)
