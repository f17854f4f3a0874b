"""Policies that are kept with runs: which is meant, what it takes to load it, and how they are evaluated and judged."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
import pytest

import rlbench
from rlbench import Arm, Claim, Environment, Experiment, registry
from rlbench.analysis.scores.scores import scores
from rlbench.errors import RlbenchError
from rlbench.policies import action_map, chosen, environment_of, evaluate_runs, load, summarised
from rlbench.results import Results, open_results
from rlbench.store import Store, Tables
from rlbench.study.environments import bound
from rlbench.study.plan import make_plan
from rlbench.study.run import execute
from tests.training.test_evaluation import by_hand

TINY: dict[str, Any] = {"horizon": 64, "minibatches": 2, "epochs": 2, "hidden": [8]}
PLUGIN = """
import torch
from rlbench import Algorithm

class Mine(Algorithm):
    name = "mine-here"

    def network(self, observations, outputs):
        return torch.nn.Linear(observations, outputs + 1)

    def surrogate(self, x):
        return x.ratio * x.advantage
"""


def experiment(**changes: Any) -> Experiment:
    asked: dict[str, Any] = {"arms": [Arm("ppo-clip", **TINY), Arm("ppo-clip", "fast", lr=1e-2, **TINY)], "seeds": 5}
    asked |= {"environments": ["CartPole-v1"], "steps": 640, "evaluate_every": 128, "evaluation_episodes": 3}
    return Experiment("kept", **(asked | changes))


def results_of(asked: Experiment, folder: Path, **how: Any) -> Results:
    plan = make_plan(asked)
    execute(plan, folder, workers=0, progress=False, **how)
    return open_results(plan.document(), plan.planned, folder)


@pytest.fixture(scope="module", name="results")
def _results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return results_of(experiment(), tmp_path_factory.mktemp("results"))


# Which is meant


def test_a_run_is_meant_by_its_seed_or_its_rank(results: Results) -> None:
    assert len(chosen(results)) == 10
    assert [run.seed for run in chosen(results, "fast")] == [0, 1, 2, 3, 4]
    of_arm = results.scores[results.scores["arm"] == "fast"]
    ordered = of_arm.sort_values(["eval_final", "seed"], ascending=[False, True])["seed"].tolist()
    for rank, place in (("best", 0), ("median", 2), ("worst", -1)):
        (run,) = chosen(results, "fast", "CartPole-v1", rank)
        assert (run.arm, run.environment, run.seed) == ("fast", "CartPole-v1", ordered[place])
        assert run.cell == of_arm.set_index("seed").loc[run.seed, "cell"]
    (third,) = chosen(results, "fast", seed=3)
    assert chosen(results, "fast", seed=np.int64(3)) == [third]  # type: ignore[arg-type]
    with pytest.raises(RlbenchError, match=r"A seed is a whole number, or best, median, worst, not 3\.5"):
        chosen(results, "fast", seed=3.5)  # type: ignore[arg-type]
    policy = results.policy("fast", seed=3)
    assert policy.settings["lr"] == 1e-2
    data = Store(results.experiment.runs_in or "").policy(third.cell)
    assert data is not None
    observation = np.array([0.1, -0.2, 0.05, 0.3])
    assert policy.value(observation) == rlbench.Policy(data).value(observation)
    assert policy.value(observation) != results.policy("fast", seed=2).value(observation)


def test_without_evaluations_the_rank_is_by_the_end_of_training(tmp_path: Path) -> None:
    plain = results_of(experiment(evaluate_every=0), tmp_path)
    ordered = plain.scores[plain.scores["arm"] == "fast"].sort_values(["final", "seed"], ascending=[False, True])
    assert chosen(plain, "fast", seed="best")[0].seed == ordered["seed"].iloc[0]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"arm": "ppo-clp"}, "There is no arm 'ppo-clp' in these results. Did you mean 'ppo-clip'?"),
        ({"environment": "CartPole"}, "There is no environment 'CartPole' in these results."),
        ({"seed": "bst"}, "A seed is a whole number, or best, median, worst, not 'bst'."),
        ({"arm": "fast", "seed": 9}, "no run of fast on CartPole-v1 with seed 9; there are 0, 1, 2, 3, 4."),
    ],
)
def test_what_is_not_there_is_said(results: Results, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(RlbenchError) as raised:
        chosen(results, **asked)
    assert said in str(raised.value)


def test_an_arm_is_left_out_only_where_there_is_one(results: Results) -> None:
    with pytest.raises(RlbenchError, match=r"Say which arm is meant: ppo-clip, fast\."):
        load(results)
    assert rlbench.load_policy(results, arm="fast").environment.label == "CartPole-v1"


# What is kept


def test_what_is_kept_is_what_was_asked_for(tmp_path: Path) -> None:
    kept = {}
    for how in (None, "all", "best", "none"):
        folder = tmp_path / str(how)
        stored = results_of(experiment(), folder, keep_policies=how)
        kept[how] = {run.cell for run in chosen(stored)} if how != "none" else set()
        assert len(stored.runs[stored.runs["status"] == "finished"]) == 10
        if how == "none":
            with pytest.raises(RlbenchError, match=r"No policy of any arm on any environment is kept in .*--keep-pol"):
                chosen(stored)
        if how == "best":
            episodes = stored.episodes.merge(stored.runs[["cell", "arm"]], on="cell")
            last = episodes.groupby(["arm", "cell"], sort=False)["return"].apply(lambda each: each.tail(100).mean())
            assert kept[how] == {cell for _, cell in last.groupby("arm").idxmax()}
            assert stored.policy("fast", seed="worst").settings["lr"] == 1e-2  # of those that are kept
    assert [len(kept[how]) for how in (None, "all", "best", "none")] == [10, 10, 2, 0]
    assert kept[None] == kept["all"]  # what is kept does not change what a run is


def test_the_best_of_those_that_a_command_trains_leaves_others_alone(tmp_path: Path) -> None:
    before = {run.cell for run in chosen(results_of(experiment(seeds=2), tmp_path))}
    after = {run.cell for run in chosen(results_of(experiment(), tmp_path, keep_policies="best"))}
    assert before < after
    assert len(after) == len(before) + 2  # one of three new ones, of each arm


def test_large_policies_are_kept_only_if_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlbench.study.run.LARGE", 1000)
    plan = make_plan(experiment(seeds=1))
    summary = execute(plan, tmp_path / "usual", workers=0, progress=False)
    assert [one for one in summary.messages if "are not kept, unless --keep-policies all" in one]
    assert not Store(tmp_path / "usual").keeps_policy(plan.cells[0].id)
    assert not execute(plan, tmp_path / "all", workers=0, progress=False, keep_policies="all").messages
    assert Store(tmp_path / "all").keeps_policy(plan.cells[0].id)
    with pytest.raises(
        RlbenchError, match='keep_policies="every" keeps policies at each evaluation, and there is none'
    ):
        execute(make_plan(experiment(evaluate_every=0)), tmp_path, workers=0, progress=False, keep_policies="every")
    with pytest.raises(RlbenchError, match="keep_policies is all, every, best, none, not 'some'"):
        execute(plan, tmp_path, workers=0, progress=False, keep_policies="some")


def test_the_default_network_takes_less_than_100_kib(tmp_path: Path) -> None:
    stored = results_of(Experiment("usual", ["ppo-clip"], ["CartPole-v1"], seeds=1, steps=2048), tmp_path)
    data = Store(tmp_path).policy(stored.runs["cell"].iloc[0])
    assert data is not None
    assert 30_000 < len(data) < 45_000  # docs/policies.md says 41 KB


def test_a_run_that_was_stored_before_has_none(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parent / "data" / "schema-2", tmp_path, dirs_exist_ok=True)
    arm = Arm("ppo-adaptive", horizon=64, minibatches=1, epochs=1, hidden=[4])
    plan = make_plan(Experiment("tiny", [arm], ["CartPole-v1"], seeds=[0], steps=256))
    stored = open_results(plan.document(), plan.planned, tmp_path)
    if (stored.runs["status"] == "missing").all():  # whatever became of the algorithm's source since
        stored.tables.runs["cell"] = next((tmp_path / "store").iterdir()).name
    assert not stored.keeps_policies
    with pytest.raises(RlbenchError, match="or were trained before policies were kept"):
        stored.policy()


def test_evaluations_belong_to_what_a_run_is_and_change_nothing_else() -> None:
    plain, evaluated, more = (make_plan(experiment(evaluate_every=every)) for every in (0, 128, 256))
    ids = [{cell.id for cell in plan.cells} for plan in (plain, evaluated, more)]
    assert len(set.union(*ids)) == sum(map(len, ids))
    assert "evaluation" not in plain.cells[0].identity
    assert evaluated.cells[0].identity["evaluation"] == {"every": 128, "episodes": 3}
    assert {**evaluated.cells[0].identity, "evaluation": None} == {**plain.cells[0].identity, "evaluation": None}
    assert "evaluate_every" not in plain.document()
    assert evaluated.document()["evaluate_every"] == 128


def test_evaluations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(RlbenchError, match="evaluate_every must be a whole number of at least 1, not -1"):
        experiment(evaluate_every=-1)
    with pytest.raises(RlbenchError, match="evaluation_episodes must be a whole number of at least 1, not 0"):
        experiment(evaluation_episodes=0)
    claim = Claim("It is good", ["fast"], "above", "eval_final", bound=1.0)
    assert experiment(claims=[claim]).claims == (claim,)
    with pytest.raises(RlbenchError, match="'eval_final' is known of policies that are evaluated; set evaluate_every"):
        experiment(claims=[claim], evaluate_every=0)


# Networks and environments of users


def test_a_network_of_ones_own_needs_its_algorithm_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    (cls,) = registry.add_file(file)
    settings = {"horizon": 64, "minibatches": 2, "epochs": 1}
    stored = results_of(experiment(arms=[Arm(cls, **settings)], seeds=1), tmp_path / "results")
    policy = stored.policy(seed=0)
    assert policy.network is None
    assert policy(np.zeros(4)) in (0, 1)
    episodes = stored.evaluate(episodes=2)
    assert len(episodes) == 4
    file.write_text(PLUGIN.replace("return x.ratio", "return 2 * x.ratio"))
    registry.add_file(file)
    with pytest.raises(RlbenchError, match="mine-here was edited since it was trained"):
        stored.policy(seed=0)


class Walk(gymnasium.Env[Any, Any]):
    observation_space, action_space = gymnasium.spaces.Box(-9, 9, (1,)), gymnasium.spaces.Discrete(2)

    def __init__(self, length: int = 5) -> None:
        self.length = length

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place, self.time = self.np_random.normal(size=1).astype(np.float32), 0
        return self.place, {}

    def step(self, action: Any) -> Any:
        self.time += 1
        return self.place, float(action), self.time == self.length, False, {}


def test_an_environment_of_ones_own_must_be_registered_as_it_was(tmp_path: Path) -> None:
    gymnasium.register("Paced-v0", entry_point=Walk)
    place = Environment("Paced-v0", {"length": 7})
    stored = results_of(experiment(environments=[place], arms=[Arm("ppo-clip", **TINY)], seeds=2), tmp_path)
    label = "Paced-v0(length=7)"
    assert stored.evaluate(episodes=2, environment=label)["length"].unique().tolist() == [7]
    other = stored.evaluate(episodes=2, on=Environment("Paced-v0", {"length": 3}))
    assert other["length"].unique().tolist() == [3]
    assert other["on"].unique().tolist() == ["Paced-v0(length=3)"]
    with pytest.raises(RlbenchError, match=r"trained in Paced-v0\(length=7\) cannot act in CartPole-v1"):
        stored.evaluate(episodes=2, on="CartPole-v1")
    del gymnasium.registry["Paced-v0"]
    gymnasium.register("Paced-v0", entry_point=Walk, max_episode_steps=4)
    with pytest.raises(RlbenchError, match="is not registered here as it was when its runs were trained"):
        stored.evaluate(episodes=2)
    del gymnasium.registry["Paced-v0"]
    with pytest.raises(RlbenchError, match="is not registered here"):
        environment_of(stored, label)


def test_runs_from_elsewhere_have_no_policies() -> None:
    table = pd.DataFrame(
        {"algorithm": ["a", "b"] * 3, "environment": "E", "seed": [0, 0, 1, 1, 2, 2], "score": range(6)}
    )
    foreign = rlbench.results.read_results(table)
    assert not foreign.keeps_policies
    with pytest.raises(RlbenchError, match="made elsewhere"):
        foreign.policy("a", "E")


HOSTILE = """
import pathlib
import gymnasium

pathlib.Path("ran").write_text("yes")
gymnasium.register("Hostile-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=50)

class Wrapped(gymnasium.Wrapper):
    pass
"""


@pytest.mark.parametrize(
    "place", [Environment("hostile:Hostile-v0"), Environment("CartPole-v1", wrappers=["hostile:Wrapped"])]
)
def test_modules_that_a_folder_of_results_names_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Environment
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hostile.py").write_text(HOSTILE)
    gymnasium.registry.pop("Hostile-v0", None)  # of the case before
    stored = results_of(experiment(environments=[place], arms=[Arm("ppo-clip", **TINY)], seeds=2), tmp_path / "results")
    assert len(stored.evaluate(episodes=1)) == 4  # here it was imported, for the experiment
    Path("ran").unlink(missing_ok=True)

    def rlbench(*words: str) -> subprocess.CompletedProcess[str]:  # of somebody else, who opens the folder
        return subprocess.run([sys.executable, "-m", "rlbench", *words], capture_output=True, text=True, check=False)

    refused = rlbench("evaluate", "kept", "--episodes", "1")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Nothing that was imported here" in refused.stderr
    assert rlbench("report", "kept").returncode == 0
    assert not Path("ran").exists()
    named = rlbench("evaluate", "kept", "--episodes", "1", "--environment", place.label)
    assert named.returncode == 0, named.stderr
    assert Path("ran").exists()


def test_a_wrapper_is_a_wrapper(results: Results) -> None:
    """Of modules that are there anyway a document cannot have any function called."""
    known = Environment("CartPole-v1", wrappers=[("subprocess:Popen", {"args": ["touch", "ran"]})])
    with pytest.raises(RlbenchError, match="is the wrapper subprocess:Popen"):
        bound(known, imports=False)


# Evaluations


def test_what_evaluate_returns_is_what_a_loop_by_hand_returns(results: Results) -> None:
    table = results.evaluate(episodes=4)
    assert len(table) == 10 * 2 * 4
    for run in chosen(results):
        policy = results.policy(run.arm, seed=run.seed)
        for kind in ("deterministic", "sampled"):
            rows = table[(table["arm"] == run.arm) & (table["seed"] == run.seed) & (table["actions"] == kind)]
            expected = by_hand(policy, "CartPole-v1", 4, kind == "deterministic")
            assert list(zip(rows["return"], rows["length"], strict=True)) == expected
    seeds = table.groupby("episode")["reset_seed"].nunique()
    assert (seeds == 1).all()  # the same episodes for all


def test_the_last_evaluation_of_a_training_is_that_of_its_policy(results: Results) -> None:
    table = results.evaluate(episodes=3)
    means = table.groupby(["arm", "seed", "actions"])["return"].mean().unstack()
    stored = results.scores.set_index(["arm", "seed"])
    pd.testing.assert_series_equal(means["deterministic"], stored["eval_final"].sort_index(), check_names=False)
    pd.testing.assert_series_equal(means["sampled"], stored["eval_final_sampled"].sort_index(), check_names=False)


def test_the_run_is_the_unit(results: Results) -> None:
    table = results.evaluate("fast", episodes=20)
    found = {one.actions: one for one in summarised(results, table)}
    means = table[table["actions"] == "sampled"].groupby("seed")["return"].mean()
    sampled = found["sampled"]
    assert (sampled.runs, sampled.episodes, sampled.mean.n) == (5, 20, 5)
    assert sampled.mean.point == pytest.approx(means.mean())
    assert (sampled.best, sampled.claimed) == (means.idxmax(), pytest.approx(means.max()))


def test_the_best_seed_is_judged_by_episodes_that_did_not_choose_it(results: Results) -> None:
    rng, gap = np.random.default_rng(0), []
    for _ in range(200):  # all runs are equally good: what the best one has more is luck
        returns = rng.normal(size=(8, 10))
        rows = [(seed, episode, returns[seed, episode]) for seed in range(8) for episode in range(10)]
        table = pd.DataFrame(rows, columns=["seed", "episode", "return"])
        table = table.assign(arm="a", environment="E", on="E", actions="sampled", length=1)
        (one,) = summarised(results, table)
        gap.append((one.claimed, one.fair))
    claimed, fair = np.mean(gap, axis=0)
    assert claimed == pytest.approx(1.42 / np.sqrt(10), abs=0.05)  # the largest of eight means of ten
    assert fair == pytest.approx(0.0, abs=3 * np.std([each for _, each in gap]) / np.sqrt(200))


@pytest.mark.parametrize("episodes", [2, 3, 5])
def test_the_best_seed_is_never_better_in_other_episodes(results: Results, episodes: int) -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        table = pd.DataFrame(rng.normal(size=(4, episodes))).stack().rename_axis(["seed", "episode"])
        table = (
            table.rename("return").reset_index().assign(arm="a", environment="E", on="E", actions="sampled", length=1)
        )
        (one,) = summarised(results, table)
        assert one.fair <= one.claimed + 1e-12


def test_a_run_with_an_episode_that_did_not_end_has_no_mean(results: Results) -> None:
    table = results.evaluate("fast", episodes=4)
    whole = {one.actions: one for one in summarised(results, table)}["sampled"]
    lost = (table["seed"] == whole.best) & (table["episode"] == 1) & (table["actions"] == "sampled")
    table.loc[lost, ["return", "length"]] = np.nan
    part = {one.actions: one for one in summarised(results, table)}["sampled"]
    assert (whole.played, whole.runs, part.played, part.runs, part.mean.n) == (5, 5, 5, 4, 4)
    means = table[table["actions"] == "sampled"].groupby("seed")["return"].mean().drop(whole.best)
    assert (part.best, part.claimed) == (means.idxmax(), pytest.approx(means.max()))
    assert part.mean.point == pytest.approx(means.mean())
    table["return"] = np.nan
    none = summarised(results, table)[0]
    assert (none.runs, none.best, none.mean.n) == (0, -1, 0)


def test_what_fails_in_an_evaluation_is_said(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RlbenchError, match="at least one episode, not 0"):
        results.evaluate(episodes=0)
    gymnasium.register("Broken-v0", entry_point=Broken)
    with pytest.raises(RlbenchError, match=r"Broken-v0 raised RuntimeError: on fire while ppo-clip was evaluated"):
        results.evaluate("ppo-clip", episodes=1, on="Broken-v0")


class Broken(gymnasium.Env[Any, Any]):
    observation_space, action_space = gymnasium.spaces.Box(-9, 9, (4,)), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(4, np.float32), {}

    def step(self, action: Any) -> Any:
        raise RuntimeError("on fire")


# Scores and claims


def test_scores_of_evaluations_are_as_they_are_defined() -> None:
    runs = pd.DataFrame(
        {"cell": ["a", "b"], "arm": "x", "algorithm": "ppo-clip", "environment": "CartPole-v1", "seed": [0, 1]}
    ).assign(steps=100, status="finished", steps_done=100)
    updates = pd.DataFrame(
        {
            "cell": ["a"] * 4 + ["b"] * 2,
            "step": [10, 20, 60, 100, 50, 100],
            "eval_return": [np.nan, 100.0, 300.0, 200.0, 10.0, 30.0],
            "eval_return_sampled": [np.nan, 50.0, 100.0, 150.0, 10.0, 20.0],
            "eval_length": [np.nan, 1.0, 1.0, 1.0, 1.0, 1.0],
        }
    )
    episodes = pd.DataFrame({"cell": ["a", "b"], "step": [50, 50], "return": [1.0, 2.0], "length": [1, 1]})
    found = scores(Tables(runs, episodes, updates)).set_index("cell")
    assert found.loc["a", "eval_auc"] == (100 * 20 + 300 * 40 + 200 * 40) / 100
    assert found.loc["b", "eval_auc"] == 20.0
    assert found["eval_final"].tolist() == [200.0, 30.0]
    assert found["eval_final_sampled"].tolist() == [150.0, 20.0]
    assert found["eval_best"].tolist() == [300.0, 30.0]
    assert found["eval_gain"].tolist() == [50.0, 10.0]
    assert found.loc["a", "eval_final_normalised"] == pytest.approx((200 - 22.19) / (475 - 22.19))
    assert found.loc["a", "eval_gain_normalised"] == pytest.approx(50 / (475 - 22.19))
    without = scores(
        Tables(runs, episodes, updates.drop(columns=["eval_return", "eval_return_sampled", "eval_length"]))
    )
    assert not [name for name in without if name.startswith("eval_")]


def test_claims_on_evaluations_are_judged(tmp_path: Path) -> None:
    good = Claim("It reaches 8", ["fast"], "above", "eval_final", bound=8.0)
    close = Claim("Sampling costs nothing", ["fast"], "within", "eval_gain_normalised", smallest_effect=2.0, bound=0.0)
    both = Claim("The arms differ", ["fast", "ppo-clip"], "different", "eval_auc")
    stored = results_of(experiment(seeds=8, claims=[good, close, both]), tmp_path)
    verdicts = stored.verdicts
    assert [one.verdict for one in verdicts[:2]] == ["supported", "supported"]
    assert len(verdicts[2].parts) == 1
    means = stored.scores.groupby("arm")[["eval_final", "eval_gain_normalised", "eval_auc"]].mean()
    points = [one.parts[0].effect.point for one in verdicts]
    assert points[0] == pytest.approx(means.loc["fast", "eval_final"])
    assert points[1] == pytest.approx(means.loc["fast", "eval_gain_normalised"])
    assert points[2] == pytest.approx(means.loc["fast", "eval_auc"] - means.loc["ppo-clip", "eval_auc"])
    assert stored.metrics == ("auc", "final", "eval_final")
    assert {one.metric for one in stored.compare(metric="eval_final")} == {"eval_final"}


def test_curves_of_evaluations_are_drawn(results: Results) -> None:
    from matplotlib.figure import Figure

    for kind in ("deterministic", "sampled"):
        ax = results.plot_learning_curves(Figure().subplots(), kind=kind)  # type: ignore[arg-type]
        steps = ax.lines[0].get_xdata()
        assert list(steps) == [128, 256, 384, 512, 640]
        column = "eval_return" if kind == "deterministic" else "eval_return_sampled"
        cells = results.runs[results.runs["arm"] == "ppo-clip"]["cell"]
        rows = results.updates[results.updates["cell"].isin(cells)].groupby("step")[column].mean()
        np.testing.assert_allclose(ax.lines[0].get_ydata(), rows.dropna())  # type: ignore[arg-type]
    with pytest.raises(RlbenchError, match="kind must be training, deterministic or sampled"):
        results.plot_learning_curves(Figure().subplots(), kind="greedy")  # type: ignore[arg-type]


# Maps


def test_a_map_says_what_the_policy_does_there(results: Results) -> None:
    found = results.action_map("CartPole-v1", ["ppo-clip", "fast"])
    assert found.names == ("pole angle", "pole velocity")
    assert (found.action, found.limits) == ("P(action 1)", (0.0, 1.0))
    policy = results.policy("fast")
    rows = found.table[found.table["arm"] == "fast"].iloc[[0, 1000, 3720]]
    chosen_again = action_map(results, "CartPole-v1", ["fast"], ["cart position"])
    assert chosen_again.names == ("cart position",)
    assert (chosen_again.table["y"] == 0).all()
    for row in rows.itertuples():
        # The cart is at the median of what is visited, about the middle: so are the probabilities.
        shares = policy.distribution(np.array([0.0, 0.0, row.x, row.y])).log_probs.exp()  # type: ignore[attr-defined]
        assert float(shares[1]) == pytest.approx(row.action, abs=0.05)
    with pytest.raises(RlbenchError, match=r"The state of CartPole-v1 has no 'pole angel'\. Did you mean"):
        results.action_map("CartPole-v1", ["fast"], ["pole angel"])
    with pytest.raises(RlbenchError, match="one or two variables, not 3"):
        results.action_map("CartPole-v1", ["fast"], ["pole angle", "pole velocity", "cart velocity"])


@pytest.mark.parametrize(
    ("environment", "names", "action"),
    [
        ("Pendulum-v1", ("angle", "velocity"), "mean action"),
        ("MountainCar-v0", ("position", "velocity"), "P(action 2) − P(action 0)"),
        ("Acrobot-v1", ("first angle", "second angle"), "P(action 2) − P(action 0)"),
        ("FrozenLake-v1", ("observation 0", "observation 1"), "P(action 3) − P(action 0)"),
    ],
)
def test_maps_of_other_environments(tmp_path: Path, environment: str, names: tuple[str, ...], action: str) -> None:
    asked = experiment(environments=[environment], arms=[Arm("ppo-clip", **TINY)], seeds=1, evaluate_every=0)
    found = results_of(asked, tmp_path).action_map(environment, ["ppo-clip"])
    assert (found.names, found.action) == (names, action)
    assert np.isfinite(found.table[["x", "y", "action", "value"]].to_numpy()).all()
    low, high = found.limits or (-1, 1)
    assert found.table["action"].between(low, high).all()


def test_the_evolution_of_one_policy_is_a_figure(tmp_path: Path) -> None:
    from rlbench.analysis.draw.figures import draw_all

    stored = results_of(experiment(arms=[Arm("ppo-clip", **TINY)], seeds=1), tmp_path, keep_policies="every")
    assert stored.policy_steps("ppo-clip", "CartPole-v1") == [128, 256, 384, 512, 640]
    piece = rlbench.Showpiece("map", "policy-map", "kept")
    (drawn,) = draw_all([piece], {"kept": stored})
    assert sorted(set(drawn.numbers["line"])) == ["128 steps", "384 steps", "640 steps"]
    assert "in the course of its training" in drawn.caption


def test_figures_without_policies_say_so(tmp_path: Path) -> None:
    from rlbench.analysis.draw.figures import draw_all, usual

    stored = results_of(experiment(seeds=1), tmp_path, keep_policies="none")
    assert not [piece for piece in usual("kept", stored) if piece.kind == "policy-map"]
    with pytest.raises(RlbenchError, match="Figure 'map': No policy of"):
        list(draw_all([rlbench.Showpiece("map", "policy-map", "kept")], {"kept": stored}))


def test_evaluate_runs_takes_the_runs_that_are_chosen(results: Results) -> None:
    runs = chosen(results, "fast", seed="best")
    done: list[tuple[str, int, int]] = []
    table = evaluate_runs(results, runs, episodes=2, kinds=("sampled",), progress=lambda *each: done.append(each))
    assert table[["arm", "seed", "actions"]].drop_duplicates().to_numpy().tolist() == [
        ["fast", runs[0].seed, "sampled"]
    ]
    assert done == [("groups of runs evaluated", 1, 1)]
