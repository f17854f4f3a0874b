"""How each replica of a pack ends: finished, diverged (numbers not finite) or failed (the environment raised)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rlbench.functional.optimizers import AdamState
from rlbench.records import Status
from rlbench.training.state import State, from_document, put, to_document

if TYPE_CHECKING:
    from rlbench.improve.diagnostics import Meter
    from rlbench.improve.tensor_meter import TensorMeter
    from rlbench.training.envs import Failure
    from rlbench.training.rollout import Experience

Array = npt.NDArray[Any]


@dataclass
class Outcome:
    """One replica's end; `step` is the environment step at which it stopped."""

    status: Status = "finished"
    reason: str = ""
    detail: str = ""
    step: int = 0
    again: bool = False


class Outcomes:
    """The outcome of every replica so far, and `alive` `[R]`: those that still train."""

    def __init__(self, replicas: int) -> None:
        self._all = [Outcome() for _ in range(replicas)]
        self.alive = np.ones(replicas, bool)

    def __getitem__(self, replica: int) -> Outcome:
        return self._all[replica]

    def check_experience(self, failures: dict[int, Failure], experience: Experience, step: int) -> None:
        """Note replicas whose policy acted NaN, whose environment failed, or returned numbers that are not finite."""
        wild: Array = np.zeros(len(self.alive), bool)
        if np.issubdtype(experience.action.dtype, np.floating):
            # First, since an environment that is given NaN raises or returns NaN, and is not to blame.
            sane = np.isfinite(experience.observation).all(axis=-1)
            wrong = np.asarray(~np.isfinite(experience.action).all(axis=-1) & sane)  # [T, R, N]
            wild = np.asarray(wrong.any(axis=(0, 2)))
        sums = experience.reward.sum(axis=(0, 2), dtype=np.float64) + experience.observation.sum(
            axis=(0, 2, 3), dtype=np.float64
        )
        # Also what is only bootstrapped from: the state after the rollout, and final observations.
        sums += experience.last_observation.sum(axis=(1, 2), dtype=np.float64)
        for cut, (_, _, finals) in experience.cuts.items():
            sums[cut] += finals.sum(dtype=np.float64)
        self.note_experience(failures, wild, ~np.isfinite(sums), step)

    def note_experience(self, failures: dict[int, Failure], wild: Array, broken: Array, step: int) -> None:
        """Note replicas whose policy acted NaN (`wild` `[R]`), whose environment failed or returned NaN (`broken`)."""
        for replica in np.flatnonzero(wild):
            self._end(int(replica), "diverged", f"the policy's actions became NaN before step {step}", step)
        for failed, failure in failures.items():
            self._end(failed, "failed", f"the environment {failure.cause}", step, failure.trace, again=failure.again)
        for replica in np.flatnonzero(broken):
            self._end(int(replica), "failed", f"the environment returned NaN or infinity before step {step}", step)

    def check_divergence(self, params: Array, optimizer: AdamState, step: int) -> None:
        """Note replicas whose parameters are no longer finite and set them to zero, which is harmless to step on."""
        broken = np.asarray(~np.isfinite(params).all(axis=1))
        self.note_divergence(broken, step)
        if broken.any():
            params[broken] = 0
            optimizer.first[broken] = 0
            optimizer.second[broken] = 0

    def note_divergence(self, broken: Array, step: int) -> None:
        """Note replicas whose parameters are no longer finite, `broken` `[R]`."""
        for replica in np.flatnonzero(broken):
            reason = f"parameters became NaN or infinite in the update at step {step}"
            self._end(int(replica), "diverged", reason, step)

    def check_overflow(self, meter: Meter | TensorMeter, step: int) -> None:
        """Note replicas of which an update measured a gradient or a value loss that is not finite.

        Its parameters may be: a trust region that finds no step leaves them as they were.
        """
        for replica in np.flatnonzero(~np.isfinite(meter.total("grad_norm") + meter.total("value_loss"))):
            reason = f"the gradient or the value loss became NaN or infinite in the update at step {step}"
            self._end(int(replica), "diverged", reason, step)

    def state(self, replica: int) -> State:
        """Return how one replica ended, if it did."""
        return {"alive": self.alive[[replica]], "outcome": from_document(asdict(self._all[replica]))}

    def restore(self, replica: int, state: State) -> None:
        """Go on from the outcome in `state`."""
        put(self.alive, [replica], state["alive"], "alive")
        self._all[replica] = Outcome(**to_document(state["outcome"]))

    def _end(
        self, replica: int, status: Status, reason: str, step: int, detail: str = "", *, again: bool = False
    ) -> None:
        if self.alive[replica]:
            self._all[replica] = Outcome(status, reason, detail, step, again)
            self.alive[replica] = False
