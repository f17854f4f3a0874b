"""Whole rollouts of a classic-control environment in one compiled loop: policy, environment, record.

The loop is handed its three parts as functions: the network's forward pass, the family's sampler and the environment's
`advance`. They are the very functions that the step-by-step path calls, with the same shapes, so both paths give the
same numbers to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, types

Array = npt.NDArray[Any]


class Policy(NamedTuple):
    """The policy's network in the parameters `flat` `[R, P]`.

    The head's first `outputs` numbers are the network's, the others are parameters that begin at `free`.
    """

    flat: Array
    offset: int
    sizes: Array
    activation: int
    outputs: int
    free: int


class Copies(NamedTuple):
    """M = R N copies of an environment: states, constants, time, and the start states drawn beforehand.

    `state` `[M, S]`, `constants` `[C]`, `elapsed` `[M]` steps of the episodes under way, `limit` on them, `bounds`
    `[2, K]` on what the environment receives; `starts` `[M, Q, S]` and their observations `[M, Q, O]`, of which each
    copy has used the first `used` `[M]`.
    """

    state: Array
    constants: Array
    elapsed: Array
    limit: int
    bounds: Array
    starts: Array
    start_observations: Array
    used: Array


class Record(NamedTuple):
    """What happened: observation `[T, M, O]`, action `[T, M, K]`, reward, terminated and ended `[T, M]`.

    `truncated_at` holds t M + m of the episodes that the time limit cut, `final_observation` `[C, O]` their final
    observations, `truncations` `[1]` how many there are.
    """

    observation: Array
    action: Array
    reward: Array
    terminated: Array
    ended: Array
    truncated_at: Array
    final_observation: Array
    truncations: Array


def _array(kind: Any, dimensions: int) -> Any:
    return types.Array(kind, dimensions, "C")


def _named(record: type[Any], *kinds: Any) -> Any:
    return types.NamedTuple(kinds, record)  # type: ignore[no-untyped-call]


_F4, _F8, _I8, _B1 = types.float32, types.float64, types.int64, types.boolean
_FORWARD = types.FunctionType(
    types.none(_array(_F4, 2), _I8, _array(_I8, 1), _I8, _array(_F4, 3), _array(_F4, 2), _array(_F4, 3))
)
_SAMPLE = types.FunctionType(types.none(_array(_F4, 2), _array(_F4, 2), _array(_F8, 2)))
_ADVANCE = types.FunctionType(
    types.none(_array(_F8, 2), _array(_F8, 2), _array(_F8, 1), _array(_F4, 2), _array(_F8, 1), _array(_B1, 1))
)
_POLICY = _named(Policy, _array(_F4, 2), _I8, _array(_I8, 1), _I8, _I8, _I8)
_COPIES = _named(
    Copies,
    *(_array(_F8, 2), _array(_F8, 1), _array(_I8, 1), _I8, _array(_F8, 2)),
    *(_array(_F8, 3), _array(_F4, 3), _array(_I8, 1)),
)
_RECORD = _named(
    Record,
    *(_array(_F4, 3), _array(_F8, 3), _array(_F8, 2), _array(_B1, 2), _array(_B1, 2)),
    *(_array(_I8, 1), _array(_F4, 2), _array(_I8, 1)),
)


def _rollout(
    forward: Any,
    sample: Any,
    advance: Any,
    first: int,
    policy: Policy,
    copies: Copies,
    noise: Array,
    now: Array,
    head: Array,
    record: Record,
) -> int:
    """Go on from step `first` of a rollout; return the step reached, before T where a copy's starts are used up.

    `noise` is `[T, M, Z]`, `now` `[R, N, O]` where the policy acts next, before and after, `head` `[M, H]` scratch.
    """
    replicas, each, width = now.shape
    horizon: int = len(noise)
    many, spare = replicas * each, copies.starts.shape[1]
    hidden = np.empty((replicas, each * policy.sizes[1:-1].sum()), np.float32)
    out = np.empty((replicas, each, policy.sizes[-1]), np.float32)
    following = np.empty((many, width), np.float32)
    sent = np.empty((many, record.action.shape[2]))
    for t in range(first, horizon):
        for m in range(many):
            if copies.used[m] == spare:
                return t
        forward(policy.flat, policy.offset, policy.sizes, policy.activation, now, hidden, out)
        for m in range(many):
            r, n = m // each, m % each
            for k in range(policy.outputs):
                head[m, k] = out[r, n, k]
            for k in range(policy.outputs, head.shape[1]):
                head[m, k] = policy.flat[r, policy.free + k - policy.outputs]
            for k in range(width):
                record.observation[t, m, k] = now[r, n, k]
        action = record.action[t]
        sample(head, noise[t], action)
        for m in range(many):
            for k in range(action.shape[1]):
                sent[m, k] = np.minimum(np.maximum(action[m, k], copies.bounds[0, k]), copies.bounds[1, k])
        terminated = record.terminated[t]
        advance(copies.state, sent, copies.constants, following, record.reward[t], terminated)
        for m in range(many):
            r, n = m // each, m % each
            copies.elapsed[m] += 1
            truncated = copies.elapsed[m] >= copies.limit
            record.ended[t, m] = terminated[m] or truncated
            if truncated and not terminated[m]:
                record.truncated_at[record.truncations[0]] = t * many + m
                record.final_observation[record.truncations[0]] = following[m]
                record.truncations[0] += 1
            if record.ended[t, m]:
                copies.elapsed[m] = 0
                copies.state[m] = copies.starts[m, copies.used[m]]
                now[r, n] = copies.start_observations[m, copies.used[m]]
                copies.used[m] += 1
            else:
                now[r, n] = following[m]
    return horizon


@cache
def compiled_rollout() -> Callable[..., int]:
    """Return `_rollout`, compiled; only when it is needed, since loading it takes a third of a second.

    Its signature is given so that functions are arguments like others; without one it would be compiled anew for each.
    """
    arguments = (
        *(_FORWARD, _SAMPLE, _ADVANCE, _I8, _POLICY, _COPIES),
        *(_array(_F4, 3), _array(_F4, 3), _array(_F4, 2), _RECORD),
    )
    compiled: Callable[..., int] = njit(_I8(*arguments), cache=True, nogil=True, error_model="numpy")(_rollout)
    return compiled
