"""Plain records that pass between training, the store and the analysis; no torch here.

The two tables of a run are dictionaries of equally long 1-D arrays, column by column:

`episodes`, one row per finished episode
    step     int64   environment steps of the run, all copies together, when the episode ended
    return   float64 undiscounted sum of the environment's own rewards
    length   int64   environment steps of the episode

`updates`, one row per improvement step
    step, progress, mean_return, kl, kl_max, entropy, outside_band, ratio_max, surrogate, explained_variance,
    clip_fraction, clip_killed, value_loss, grad_norm, lr, gradient_steps; and `field.NAME` for every
    hyper-parameter that `adapt` changes; of a run that is evaluated on its way also eval_return,
    eval_return_sampled and eval_length, NaN after updates without an evaluation. Definitions:
    `rlbench.improve.diagnostics`, `rlbench.training.evaluation`. Of a measurement, what its function returns: `step`
    numbers the rows from 1, and there are no episodes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from rlbench.claims import RETURNS
from rlbench.errors import RlbenchError, shortened

Status = Literal["finished", "diverged", "failed"]
Table = dict[str, npt.NDArray[Any]]
EVALUATED = ("eval_return", "eval_return_sampled", "eval_length")
"""Columns of the updates: means over the episodes of an evaluation, deterministic, sampled, and deterministic."""
RECORDED = (
    *("step", "progress", "mean_return", "kl", "kl_max", "entropy", "outside_band", "ratio_max", "surrogate"),
    *("explained_variance", "clip_fraction", "clip_killed", "value_loss", "grad_norm", "lr", "gradient_steps"),
    *("return", "length"),
    *EVALUATED,
)
"""The columns of the two tables of a run that trained, beside `field.NAME`."""
OF_EVALUATIONS = tuple(name for name in RETURNS if name.startswith("eval_"))
"""Scores of a run that is evaluated on its way, in units of the return."""
_SCORES = (*RETURNS, "drop", "eval_gain")
PER_RUN = (
    *_SCORES,
    *(f"{score}_normalised" for score in _SCORES),
    *("seconds", "gradient_steps", "samples", "episodes", "steps_done", "attempts"),
)
"""What a run that trained has one number of."""
MEASURED = "measurement"
"""What stands in place of an algorithm's name where numbers were measured and nothing was trained."""
IDLE = 0.1  # of the updates of an arm: so many without an ended episode are worth a warning

_REASON, _DETAIL = 1_000, 20_000  # characters that are kept of a sentence and of a traceback
_STEP = re.compile(r"\bstep \d+(?:[.,]\d+)*(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Environment:
    """A Gymnasium environment by id, with the keyword arguments of its constructor, and what it is wrapped in.

    `options` must be JSON values, since they are part of a cell's identity. `wrappers` are applied in their order: each
    a name in `gymnasium.wrappers` or `module:Class`, or a pair of that and the wrapper's arguments, as in
    `Environment("Pendulum-v1", wrappers=[("RescaleAction", {"min_action": -1, "max_action": 1})])`.

    `registered` holds the specifications, by id, with which it is to be made, and what else users had registered then,
    and classes of wrappers by `module:Class`; None: those that Gymnasium knows when it is made. See
    `rlbench.study.environments`.
    """

    id: str
    options: Mapping[str, Any] = field(default_factory=dict)
    registered: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    wrappers: Sequence[str | tuple[str, Mapping[str, Any]]] = ()

    def __post_init__(self) -> None:
        if isinstance(self.wrappers, str):
            raise RlbenchError(f"wrappers must be a list such as [{self.wrappers!r}], not {self.wrappers!r}.")

    @property
    def wraps(self) -> list[tuple[str, dict[str, Any]]]:
        """The wrappers, each with its arguments."""
        return [(each, {}) if isinstance(each, str) else (each[0], dict(each[1])) for each in self.wrappers]

    @property
    def label(self) -> str:
        """The id, the options and the wrappers, where there are any: `Pendulum-v1(g=5.0) + TimeAwareObservation`."""
        return " + ".join(
            f"{name}({', '.join(f'{key}={value}' for key, value in sorted(given.items()))})" if given else name
            for name, given in [(self.id, self.options), *self.wraps]
        )

    def document(self) -> dict[str, Any]:
        """Return the environment as JSON, with its wrappers if there are any."""
        wrappers = {"wrappers": [list(each) for each in self.wraps]} if self.wrappers else {}
        return {"id": self.id, "options": dict(self.options)} | wrappers

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return the environment of a `document`; ValueError or TypeError where its wrappers are no pairs."""
        wrappers = [(name, arguments) for name, arguments in document.get("wrappers", [])]
        return cls(document["id"], document["options"], wrappers=wrappers)


@dataclass(frozen=True)
class Evaluation:
    """That the policy is evaluated during training: `every` so many environment steps, in `episodes` of each kind."""

    every: int
    episodes: int


@dataclass
class RunRecord:
    """What one replica's training left behind.

    `status` is "finished" (the whole budget), "diverged" (a parameter or a loss became NaN or infinite) or
    "failed" (the environment or the plugin raised); `reason` is empty for a finished run and one sentence
    otherwise. The tables of a run that ended early hold what happened until then. `samples` counts each sample as
    often as a gradient was computed from it; `seconds` is the run's share of its pack's wall time, and `peak_bytes`
    the most memory that its pack's process held beyond what it had imported (0: not known).
    `attempts` is how often the run was started, this time included. `again` says of a failed run that it may end
    otherwise when it is tried again: a time limit or memory ended it. `machine` is what a manifest says of the machine
    that trained the run, None for the one that stores it. `policy` is the policy at the end of a finished run, as
    `rlbench.training.policy` keeps it, None where there is none.
    """

    status: Status
    reason: str
    steps: int
    episodes: Table
    updates: Table
    gradient_steps: int = 0
    samples: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    detail: str = ""
    attempts: int = 1
    again: bool = False
    machine: Mapping[str, Any] | None = None
    policy: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # What code of users raises may quote megabytes.
        self.reason, self.detail = shortened(self.reason, _REASON), shortened(self.detail, _DETAIL)


@dataclass(frozen=True)
class Progress:
    """One sign of life of a pack: environment steps done by each replica, of `total`, and the latest mean return.

    It went on after `begun` steps, which an earlier start of it did.
    """

    step: int
    total: int
    replicas: int
    mean_return: float
    begun: int = 0


def cause(reason: str) -> str:
    """Return a reason without the step at which a run ended, by which runs that ended alike differ."""
    return _STEP.sub("some step", reason)


def idle(where: str, few: int, many: int) -> str:
    """Return the warning that `few` of `many` updates had nothing to learn from."""
    return (
        f"{where}: {few} of {many} updates left the policy as it was, since no episode had ended in their rollout; "
        "use a horizon that is longer than its episodes."
    )


def idle_updates(updates: Mapping[str, Any], episodes: Mapping[str, Any]) -> int:
    """Return how many updates left the policy exactly as it was and had no episode that ended in their rollout.

    What learns from whole episodes alone, as REINFORCE does, then had nothing to learn from. The tables are those of
    one run; where no gradient was ever computed, nothing was to be learnt.
    """
    if not {"kl_max", "ratio_max", "gradient_steps"} <= {*updates} or not np.any(updates["gradient_steps"]):
        return 0
    edges = np.concatenate([[0], updates["step"]])
    ended = np.diff(np.searchsorted(np.sort(episodes["step"]), edges, side="right"))
    still = (np.asarray(updates["kl_max"]) == 0) & (np.asarray(updates["ratio_max"]) == 1)
    return int((still & (ended == 0)).sum())


def empty_episodes() -> Table:
    """Return an `episodes` table without rows."""
    return {"step": np.empty(0, np.int64), "return": np.empty(0), "length": np.empty(0, np.int64)}


def clock(seconds: float | None) -> str:
    """Return a duration as `4:05` or `1:04:05`, and `-` where it is not known."""
    if seconds is None:
        return "-"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
