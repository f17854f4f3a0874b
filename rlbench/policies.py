"""The policies that are kept with the runs of an experiment: choosing one, loading it, evaluating them.

Which number is which. The scores of a report (`auc`, `final`) are returns of the episodes in which a policy learnt: it
explored, and changed from episode to episode. An evaluation plays fresh episodes with a policy that does not change,
with its most likely actions (deterministic) or with drawn ones (sampled). The run is the unit: the episodes of a run
are averaged first, and intervals are over runs, since more episodes of one run say nothing about the next run.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rlbench import registry
from rlbench.analysis.scores.results import ActionMap, Results
from rlbench.analysis.scores.scores import possible_range
from rlbench.analysis.stats.estimates import Estimate
from rlbench.analysis.stats.intervals import mean_interval
from rlbench.errors import RlbenchError, nearest
from rlbench.records import Environment
from rlbench.store import Store
from rlbench.study.environments import bound, registered, specification_of
from rlbench.study.process import left_as_found
from rlbench.training.envs import make
from rlbench.training.envs.base import ObservationEncoder, action_spec
from rlbench.training.envs.classic import ClassicBatch
from rlbench.training.envs.gymnasium import make_one
from rlbench.training.evaluation import EVALUATION, evaluate, seeds_of
from rlbench.training.policy import Policy

RANKS = ("best", "median", "worst")
"""By which runs of an arm on an environment may be chosen, instead of by their seeds."""
KINDS = ("deterministic", "sampled")
Seed = int | str | None


class Chosen(NamedTuple):
    """A run of which the policy is kept, and the number of runs of its arm on its environment that keep theirs."""

    arm: str
    environment: str
    seed: int
    cell: str
    kept: int


def chosen(results: Results, arm: str | None = None, environment: str | None = None, seed: Seed = None) -> list[Chosen]:
    """Return the runs whose policies are meant; None stands for all.

    `seed` is a seed or one of `RANKS`: by the return of the final policy where policies were evaluated, else by that of
    the last tenth of the training, among the runs whose policies are kept; of an even number the median is the lower
    one. Raises RlbenchError where there is no such arm, environment or run, or none of the policies is kept.
    """
    if arm is not None and arm not in results.arms:
        raise RlbenchError(f"There is no arm {arm!r} in these results.{nearest(arm, results.arms)}")
    results.known_environment(environment)
    if seed is not None and seed not in RANKS:
        try:
            seed = operator.index(seed)  # type: ignore[arg-type]  # whole numbers of any kind
        except TypeError as problem:
            raise RlbenchError(f"A seed is a whole number, or {', '.join(RANKS)}, not {seed!r}.") from problem
    if results.measured:
        raise RlbenchError("Nothing was trained here: these are measurements, and there is no policy.")
    if results.experiment.runs_in is None:
        raise RlbenchError("These runs were made elsewhere, and rlbench has no policies of theirs.")
    store, scores = Store(results.experiment.runs_in), results.scores
    rank = "eval_final" if results.is_evaluated else "final"
    found: list[Chosen] = []
    for place in [environment] if environment else results.environments:
        for name in [arm] if arm else results.arms:
            runs = scores[(scores["arm"] == name) & (scores["environment"] == place)].sort_values("seed")
            if isinstance(seed, int) and seed not in set(runs["seed"]):
                listed = ", ".join(map(str, runs["seed"]))
                raise RlbenchError(f"There is no run of {name} on {place} with seed {seed}; there are {listed}.")
            if isinstance(seed, int):
                runs = runs[runs["seed"] == seed]
            runs = runs[np.array([store.keeps_policy(cell) for cell in runs["cell"]], bool)]
            kept = len(runs) if not isinstance(seed, int) else 1
            if isinstance(seed, str):
                runs = runs.sort_values([rank, "seed"], ascending=[False, True], kind="stable", na_position="last")
                runs = runs.iloc[[{"best": 0, "median": len(runs) // 2, "worst": -1}[seed]]] if len(runs) else runs
            found += [Chosen(name, place, *run, kept) for run in zip(map(int, runs["seed"]), runs["cell"], strict=True)]
    if not found:
        who = f"{arm or 'any arm'} on {environment or 'any environment'}"
        raise RlbenchError(
            f"No policy of {who} is kept in {results.experiment.runs_in}: its runs are not there, did not finish, ran "
            "with --keep-policies none or best, have policies of more than 1 MiB, or were trained before policies were "
            "kept; a stored run gets none any more: train it into another --results, with --keep-policies all."
        )
    return found


def load(results: Results, arm: str | None = None, environment: str | None = None, seed: Seed = "median") -> Policy:
    """Return the policy of one run, see `chosen`; an arm or an environment may be left out where there is only one."""
    for what, name, known in (("arm", arm, results.arms), ("environment", environment, results.environments)):
        if name is None and len(known) > 1:
            raise RlbenchError(f"Say which {what} is meant: {', '.join(known)}.")
    (run,) = chosen(results, arm, environment, "median" if seed is None else seed)
    return read_policy(results, run)


def read_policy(results: Results, run: Chosen) -> Policy:
    """Return the policy of a run; RlbenchError where it cannot be used."""
    runs_in = results.experiment.runs_in
    assert runs_in is not None
    store = Store(runs_in)
    data, manifest = store.policy(run.cell), store.manifest(run.cell)
    if data is None or manifest is None:
        why = " ".join(store.messages) or "It was removed meanwhile."
        raise RlbenchError(f"The policy of {run.arm} on {run.environment}, seed {run.seed}, cannot be read: {why}")

    def find(name: str) -> Any:
        cls = registry.load(name)
        if registry.fingerprint(cls) != manifest["identity"].get("fingerprint"):
            raise RlbenchError(
                f"The policy of {name} has a network of its own, and {name} was edited since it was trained; with its "
                "source of then it can be loaded."
            )
        return cls

    try:
        return Policy(data, find)
    except ValueError as problem:
        raise RlbenchError(f"The policy of run {run.cell} cannot be used: {problem}.") from problem


def environment_of(results: Results, label: str, *, imports: bool = False) -> Environment:
    """Return an environment of an experiment as it is registered now; RlbenchError where it is not what was trained in.

    Those that Gymnasium does not register itself have to be registered in this process before: a folder of results may
    be anybody's, so the modules that it names are imported only with `imports`.
    """
    for document in results.experiment.json.get("environments") or []:
        known = Environment.of(document)
        if known.label == label:
            environment = bound(known, imports=imports)
            if specification_of(environment) != (document.get("specification") or {}):
                raise RlbenchError(
                    f"{label} is not registered here as it was when its runs were trained; import what registers it "
                    "(--plugin FILE), or name the experiment's file."
                )
            return environment
    raise RlbenchError(f"The experiment says nothing of the environment {label!r}.")


def evaluate_runs(
    results: Results,
    runs: Sequence[Chosen],
    *,
    episodes: int = 100,
    kinds: Sequence[str] = KINDS,
    on: Environment | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> pd.DataFrame:
    """Return how the policies of runs fare in fresh episodes, the same for all: a row per run, kind and episode.

    Columns: arm, environment (trained in), seed, on (evaluated in), actions, episode, reset_seed (what the environment
    was reset with), return, length. `on` is another environment with the same spaces. Raises RlbenchError where an
    environment fails or does not fit.
    """
    if episodes < 1:
        raise RlbenchError(f"An evaluation needs at least one episode, not {episodes}.")
    groups: dict[tuple[str, str], list[Chosen]] = {}
    for run in runs:
        groups.setdefault((run.environment, run.arm), []).append(run)
    rows, seeds = [], np.array(seeds_of(episodes))
    with left_as_found():
        places = {place: on or environment_of(results, place) for place, _ in groups}
        for (place, _), group in groups.items():  # all of them, before the first of them plays
            with registered(places[place]):
                _require_fitting(read_policy(results, group[0]), places[place])
    for done, ((place, arm), group) in enumerate(groups.items(), start=1):
        environment = places[place]
        policies = [read_policy(results, run) for run in group]
        with left_as_found(), registered(environment):
            for kind in kinds:
                played = evaluate(policies, environment, episodes, deterministic=kind == KINDS[0])
                for failure in played.failures.values():
                    raise RlbenchError(f"{environment.label} {failure.cause} while {arm} was evaluated.")
                for run, returns, lengths in zip(group, played.returns, played.lengths, strict=True):
                    columns = {"arm": arm, "environment": place, "seed": run.seed, "on": environment.label}
                    columns |= {"actions": kind, "episode": np.arange(episodes), "reset_seed": seeds}
                    rows.append(pd.DataFrame(columns | {"return": returns, "length": lengths}))
        progress("groups of runs evaluated", done, len(groups))
    return pd.concat(rows, ignore_index=True)


def _require_fitting(policy: Policy, environment: Environment) -> None:
    """Raise RlbenchError where a policy cannot act in an environment."""
    env = make_one(environment)
    try:
        seen = ObservationEncoder.of(env.observation_space, environment.id).document()
        action = action_spec(env.action_space, environment.id)
        action = action.squashed(environment.id) if policy.action.kind == "squashed" else action
    finally:
        env.close()
    theirs, ours = (
        (seen, action.kind, action.sizes),
        (policy.observe.document(), policy.action.kind, policy.action.sizes),
    )
    if theirs != ours:
        raise RlbenchError(
            f"A policy trained in {policy.environment.label} cannot act in {environment.label}: its observations or "
            "actions are others. Choose those that are meant by their environment."
        )


class Evaluated(NamedTuple):
    """What evaluations say of an arm: the mean over runs with its interval, of `runs` runs and `episodes` each.

    A run with an episode that did not end has no mean, and is none of `runs`, but of those that were `played`. `best`
    is the seed whose mean is the highest (-1 if there is none) and `claimed` that mean; `fair` is the mean of a best
    seed in other episodes than those that it was chosen by: half of the episodes choose, the other half is averaged,
    both ways round. The difference is what choosing adds to a score; NaN with fewer than two runs or episodes.
    """

    arm: str
    environment: str
    actions: str
    played: int
    runs: int
    episodes: int
    mean: Estimate
    length: float
    best: int
    claimed: float
    fair: float


def summarised(results: Results, episodes: pd.DataFrame) -> list[Evaluated]:
    """Return a summary per environment, arm and kind of actions, in the order of the rows of `evaluate_runs`."""
    found = []
    for (place, arm, kind), group in episodes.groupby(["environment", "arm", "actions"], sort=False):
        wide = group.pivot(index="seed", columns="episode", values="return")
        played, wide = len(wide), wide[wide.notna().all(axis=1)]
        of_runs = wide.mean(axis=1)
        own = group["on"].iloc[0] == place
        possible = possible_range([str(group["on"].iloc[0])], results.references if own else None)
        mean = mean_interval([of_runs.to_numpy()], seed=results.seed, possible=possible)
        fair = np.nan
        if min(wide.shape) > 1:
            halves = [wide.iloc[:, half::2].mean(axis=1).to_numpy() for half in (0, 1)]
            elsewhere = [halves[1][halves[0].argmax()], halves[0][halves[1].argmax()]]
            fair = float(np.average(elsewhere, weights=[wide.shape[1] // 2, -(-wide.shape[1] // 2)]))
        length = float(group["length"].mean())
        seed, claimed = (
            (int(wide.index.to_numpy()[of_runs.to_numpy().argmax()]), float(of_runs.max()))
            if len(wide)
            else (-1, np.nan)
        )
        counts = played, len(of_runs), wide.shape[1]
        found.append(Evaluated(str(arm), str(place), str(kind), *counts, mean, length, seed, claimed, fair))
    return found


_MAP_POINTS = 61  # along each variable
_MAP_COPIES, _MAP_STEPS = 8, 300  # of what is visited, for the range of the map


def action_map(
    results: Results,
    environment: str,
    arms: Sequence[str],
    variables: Sequence[str] = (),
    seed: Seed = "median",
    steps: Sequence[int] = (),
) -> ActionMap:
    """Return what the policies of arms do and expect over the part of the state space that they visit.

    `variables` are one or two names of the state's, by default the usual ones; all others are at the median of what the
    policies visit. In classic control the state is the simulator's (of a pendulum its angle), elsewhere what is
    observed, as "observation 0". With `steps`, moments of the training that were kept, the one arm is shown as it was
    then, as "10,000 steps". Raises RlbenchError where there is no such variable or policy.
    """
    policies = {arm: load(results, arm, environment, "median" if seed is None else seed) for arm in arms}
    if steps:
        policies = {f"{step:,} steps": policy.at(step) for policy in policies.values() for step in steps}
    place = environment_of(results, environment)
    with left_as_found(), registered(place):
        known = _variables(place)
        visited = np.concatenate([_visited(policy, place, known) for policy in policies.values()])
        names = known or tuple(f"observation {at}" for at in range(visited.shape[1]))
        for name in variables:
            if name not in names:
                raise RlbenchError(f"The state of {environment} has no {name!r}.{nearest(name, names)}")
        chosen_names = tuple(variables) or (names[2:4] if names[0] == "cart position" else names[:2])
        if len(chosen_names) > 2:
            raise RlbenchError(f"A map has one or two variables, not {len(chosen_names)}.")
        places = [names.index(name) for name in chosen_names]
        lines = []
        for at in places:
            low, high = np.quantile(visited[:, at], [0.005, 0.995]).tolist()
            lines.append(np.linspace(low, high, _MAP_POINTS))
        grid = np.meshgrid(*lines, indexing="ij")
        states = np.tile(np.median(visited, axis=0), (grid[0].size, 1))
        for at, values in zip(places, grid, strict=True):
            states[:, at] = values.ravel()
        encoded = _observed(place, states) if known else states.astype(np.float32)
    parts = []
    for arm, policy in policies.items():
        head, value = policy.evaluate(encoded)
        columns = {"arm": arm, "x": grid[0].ravel(), "y": grid[1].ravel() if len(grid) > 1 else 0.0}
        parts.append(pd.DataFrame(columns | {"action": _shown(policy, head), "value": value}))
    return ActionMap(pd.concat(parts, ignore_index=True), chosen_names, *_meaning(next(iter(policies.values()))))


def _visited(policy: Policy, environment: Environment, names: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return states that a policy visits with sampled actions, `[states, S]`; angles from -pi to pi, by their names."""
    rng, seen = np.random.default_rng(0), []
    with contextlib.closing(make(environment, 1, _MAP_COPIES)) as batch:
        batch.action, now = policy.action, batch.reset([EVALUATION])
        for _ in range(_MAP_STEPS):
            seen.append(batch.states[0] if isinstance(batch, ClassicBatch) and names else now[0])
            now = batch.step(policy.act(now[0], policy.family.draw_noise(rng, (_MAP_COPIES,)))[None]).observation
    states = np.concatenate(seen).astype(np.float64)
    for at, name in enumerate(names):
        if "angle" in name:
            states[:, at] = (states[:, at] + np.pi) % (2 * np.pi) - np.pi
    return states


def _variables(environment: Environment) -> tuple[str, ...]:
    """Return the names of the state's variables in classic control, of others none."""
    with contextlib.closing(make(environment, 1, 1)) as batch:
        return batch.variables if isinstance(batch, ClassicBatch) else ()


def _observed(environment: Environment, states: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what is observed of states `[n, S]` of classic control, encoded, `[n, O]`."""
    with contextlib.closing(make(environment, 1, len(states))) as batch:
        assert isinstance(batch, ClassicBatch)
        batch.reset([EVALUATION])
        observed: np.ndarray[Any, Any] = batch.place(states[None])[0]
        return observed


def _shown(policy: Policy, head: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the number that stands for the action, `[n]`, of heads `[n, H]`: see `_meaning`."""
    if policy.action.is_real:
        sent = policy.action.to_environment(head[:, : policy.action.sizes[0]])
        return sent.reshape(len(head), -1)[:, 0].astype(head.dtype)
    choices = head[:, : 2 if policy.action.kind == "bernoulli" else policy.action.sizes[0]].astype(np.float64)
    weights = np.exp(choices - choices.max(axis=1, keepdims=True))
    shares: np.ndarray[Any, Any] = weights / weights.sum(axis=1, keepdims=True)
    return shares[:, 1] if shares.shape[1] == 2 else shares[:, -1] - shares[:, 0]


def _meaning(policy: Policy) -> tuple[str, tuple[float, float] | None]:
    """Return what of the action is shown, and its range: of several numbers or choices that of the first."""
    first = int(np.ravel(policy.action.start)[0]) if policy.action.start is not None else 0
    if policy.action.is_real:
        ends = [np.nan if bound is None else float(bound[0]) for bound in (policy.action.low, policy.action.high)]
        return "mean action", (ends[0], ends[1]) if np.isfinite(ends).all() else None
    size = 2 if policy.action.kind == "bernoulli" else policy.action.sizes[0]
    if size == 2:
        return f"P(action {first + 1})", (0.0, 1.0)
    return f"P(action {first + size - 1}) − P(action {first})", (-1.0, 1.0)
