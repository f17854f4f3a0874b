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
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from rlbench.analysis.scores.scores import WINDOW
from rlbench.errors import RlbenchError, nearest

if TYPE_CHECKING:
    from rlbench.analysis.scores.results import Results


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
_SHARE = re.compile(r"share([<>]=?)(.+)")
_NOT_METRICS = [
    "cell",
    "arm",
    "algorithm",
    "environment",
    "seed",
    "status",
    "used",
    "reason",
    "detail",
    "attempts",
    "commit",
    "fingerprint",
]


def metric_name(metric: str) -> str:
    """Return what a metric is called: `normalised return over training`, `KL divergence (mean of a run)`."""
    column, plain, reduction = _parts(metric)
    known = QUANTITIES.get(plain)
    name = known.name if known else plain.replace("field.", "adapted ").replace("_", " ")
    name = f"normalised {name}" if plain != column else name
    if match := _SHARE.fullmatch(reduction):
        rows = "episodes" if plain in OF_EPISODES else "updates"
        return f"share of {rows} with {name} {comparison_sign(match[1])} {match[2]}"
    return f"{name} ({_reduction(reduction)})" if reduction else name


def metric_definition(metric: str) -> str:
    """Say exactly what a metric is, in one or two sentences."""
    column, plain, reduction = _parts(metric)
    known = QUANTITIES.get(plain)
    unit = f", in {known.unit}" if known and known.unit else ""
    definition = f"{metric}: {(known and known.definition) or f'the recorded number “{plain}”'}{unit}."
    if reduction:
        definition += f" One number per run: {_reduction(reduction)}."
    if plain != column:
        definition += " Normalised: 0 is a random policy, 1 the target of the environment."
    return definition


def full_name(score: str) -> str:
    """Return the name of a quantity with its abbreviation: `return over training (AUC)`."""
    known = QUANTITIES[score]
    return f"{known.name} ({known.short})" if known.short else known.name


def axis_label(metric: str) -> str:
    """Return what a quantity is called on an axis with room: `normalised final return (0 random, 1 target)`."""
    column, plain, reduction = _parts(metric)
    known = QUANTITIES.get(plain)
    if reduction or known is None:
        return metric_name(metric)
    notes = ", ".join(note for note in (known.short, known.unit) if note) if plain == column else "0 random, 1 target"
    return f"{'normalised ' if plain != column else ''}{known.name}{f' ({notes})' if notes else ''}"


def short_name(metric: str) -> str:
    """Return what a metric or a column is called on an axis with little room: `normalised AUC`, `max KL divergence`."""
    column, plain, reduction = _parts(metric)
    known = QUANTITIES.get(plain)
    short = (known.short or known.name) if known else plain.replace("_", " ")
    return " ".join(word for word in (reduction, "normalised" if plain != column else "", short) if word)


def field_name(field: str) -> str:
    """Return what a hyper-parameter is called on an axis."""
    return FIELD_NAMES.get(field, field.replace("_", " "))


def comparison_sign(text: str) -> str:
    """Return a comparison as it is printed: `>= 0.9` becomes `≥ 0.9`."""
    return text.replace(">=", "≥").replace("<=", "≤")


def _parts(metric: str) -> tuple[str, str, str]:
    """Return the column of a metric, the same without `_normalised`, and the reduction."""
    column, _, reduction = metric.partition(":")
    return column, column.removesuffix("_normalised"), reduction


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
    keys = ["arm", "environment", "seed"]
    table = results.scores[["cell", *keys, "used"]].copy()
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
        keys = ["arm", "environment", "seed"]
        known = [one for one in [*scores, *results.runs] if one not in _NOT_METRICS]
        if name not in results.runs or name in _NOT_METRICS:
            hint = nearest(name, known)
            if name in results.updates or name in results.episodes:
                hint = f" It is recorded many times in a run: say which number is meant, as in {name}:mean."
            raise RlbenchError(f"There is no metric {name!r} with one number per run.{hint}")
        scores = scores[keys].merge(results.runs[[*keys, name]], on=keys, how="left", validate="one_to_one")
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
        return _final(results, rows, name)
    found: pd.Series = getattr(values, reduction)()
    return found


def _final(results: Results, rows: pd.DataFrame, name: str) -> pd.Series:
    budget = rows["cell"].map(results.runs.drop_duplicates("cell").set_index("cell")["steps"])
    last = rows["step"] == rows.groupby("cell")["step"].transform("max")
    late = (rows["step"] > (1 - WINDOW) * budget) | last
    found: pd.Series = rows.loc[late, name].astype(np.float64).groupby(rows.loc[late, "cell"]).mean()
    return found
