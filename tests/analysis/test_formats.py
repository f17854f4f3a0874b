"""Files as other programs write them, named and laid out as in public repositories, with content made anew."""

from __future__ import annotations

import csv
import gzip
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from rlbench.analysis.scores.formats import COLUMNS, FORMATS, LARGEST_FILE
from rlbench.analysis.scores.sources import PATTERNS, read_sources
from rlbench.cli import main
from rlbench.errors import RlbenchError
from rlbench.results import read_results

MONITOR = '#{"t_start": %s, "env_id": "%s"}\nr,l,t\n'
EVENT = "events.out.tfevents.1668658340.host.1.0"


def rows(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def table(path: Path, columns: dict[str, object], **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, index=False, **options)


def curve(seed: int, points: int = 12, every: int = 100) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return every * np.arange(1, points + 1), np.cumsum(rng.normal(1.0, 0.5, points)).round(6)


def episodes(seed: int, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(20, 90, count), rng.normal(50.0, 5.0, count).round(6)


def events(path: Path, tags: dict[str, tuple[np.ndarray, np.ndarray]], *, tensors: bool = False) -> None:
    """Write an event file as TensorFlow frames it: length, checksum, record, checksum."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for tag, (steps, values) in tags.items():
            for step, value in zip(steps, values, strict=True):
                if tensors:
                    one = Summary.Value(tag=tag, tensor=TensorProto(dtype=1, float_val=[value]))
                else:
                    one = Summary.Value(tag=tag, simple_value=value)
                record = Event(step=int(step), summary=Summary(value=[one])).SerializeToString()
                file.write(struct.pack("<QI", len(record), 0) + record + struct.pack("<I", 0))


def read(*paths: Path, **options: str) -> dict[tuple[str, str, str], tuple[list[float], list[float]]]:
    """Return the steps and scores of every run, by its names, in the order in which they were read."""
    sources, _ = read_sources(paths, **options)
    found = {}
    for source in sources:
        for names, run in source.table.groupby(["algorithm", "environment", "seed"]):
            points = run.dropna(subset=["score"])
            steps = points["step"].tolist() if "step" in run else []
            found[tuple(map(str, names))] = (steps, points["score"].tolist())
    return found


def near(run: tuple[list[float], list[float]], steps: np.ndarray, values: np.ndarray, rel: float = 1e-12) -> bool:
    return run == (pytest.approx(steps.tolist(), rel=rel), pytest.approx(values.tolist(), rel=rel))


def test_monitors_of_rl_zoo_with_copies_of_an_environment(tmp_path):
    """The reference is what `ts2xy(load_results(folder), "timesteps")` of Stable-Baselines3 2.7 does."""
    folder = tmp_path / "logs/ppo/Acrobot-v1_2"
    ends = []
    for copy, start in ((0, 100.5), (1, 90.25), (10, 95.0)):
        lengths, returns = episodes(copy)
        times = np.cumsum(lengths) / 40
        text = MONITOR % (start, "Acrobot-v1")
        text += "".join(f"{r},{length},{t:.6f}\n" for r, length, t in zip(returns, lengths, times, strict=True))
        rows(folder / f"{copy}.monitor.csv", text)
        ends += [(start + round(t, 6), length, r) for r, length, t in zip(returns, lengths, times, strict=True)]
    np.savez(folder / "evaluations.npz", timesteps=[1], results=[[1.0]], ep_lengths=[[1]])
    rows(folder / "Acrobot-v1/config.yml", "!!python/object:x {}\n")
    ends.sort()
    (name, run), *others = read(tmp_path / "logs").items()
    assert (name, others) == (("ppo", "Acrobot-v1", "2"), [])
    assert near(run, np.cumsum([length for _, length, _ in ends]), np.array([r for *_, r in ends]))


@pytest.mark.parametrize(
    "header", ['# {"t_start": 1.5, "env_id": "Hopper-v2"} \n', '#{"env_id": "Hopper-v2", "x": null}\n']
)
def test_a_monitor_of_baselines_whose_last_line_is_cut_off(tmp_path, header):
    rows(tmp_path / "a2c/run-3/0.monitor.csv", f"{header}r,l,t\n1.5,10,0.1\n2.5,7,0.2\n3.")
    assert read(tmp_path) == {("a2c", "Hopper-v2", "3"): ([10, 17], [1.5, 2.5])}


def test_monitors_that_name_no_environment_and_have_more_columns(tmp_path):
    for seed in (1, 2):
        rows(
            tmp_path / f"scripts/monitor_seed{seed}.csv",
            MONITOR.replace("r,l,t", "r,l,t,is_success") % (1, "None") + "1,5,1,0\n2,5,2,1\n",
        )
    found = read(tmp_path, name="{algorithm}/monitor_seed{seed}", environment="grid-v0")
    assert found == {("scripts", "grid-v0", str(seed)): ([5, 10], [1, 2]) for seed in (1, 2)}


def test_evaluations_are_means_over_their_episodes(tmp_path):
    rng = np.random.default_rng(0)
    for seed in (1, 2):
        folder = tmp_path / f"logs/sac/PandaReach-v2_{seed}"
        folder.mkdir(parents=True)
        rows(folder / "monitor.csv", MONITOR % (1.0, "PandaReach-v2"))  # of which nothing was written
        results = rng.normal(size=(4, 5))
        np.savez(
            folder / "evaluations.npz", timesteps=np.int32([10, 20, 30, 40]), results=results, successes=results > 0
        )
        assert near(
            read(tmp_path / "logs")[("sac", "PandaReach-v2", str(seed))], np.array([10, 20, 30, 40]), results.mean(1)
        )


@pytest.mark.parametrize("tensors", [False, True])
def test_event_files_of_cleanrl(tmp_path, tensors):
    for seed in (1, 2):
        steps, values = curve(seed)
        tags = {
            "charts/SPS": (steps, 0 * values),
            "charts/episodic_return": (steps, values),
            "losses/value": (steps, values),
        }
        events(tmp_path / f"runs/CartPole-v1__dqn__{seed}__1668658340" / EVENT, tags, tensors=tensors)
    found = read(tmp_path / "runs")
    assert list(found) == [("dqn", "CartPole-v1", "1"), ("dqn", "CartPole-v1", "2")]
    assert near(found["dqn", "CartPole-v1", "2"], *curve(2), rel=1e-6)  # they hold single precision


def test_event_files_of_stable_baselines3_and_a_tag_of_ones_own(tmp_path):
    steps, values = curve(0)
    events(tmp_path / "PPO_1" / EVENT, {"rollout/ep_rew_mean": (steps, values), "eval/mine": (steps, 2 * values)})
    assert near(read(tmp_path, environment="X-v0")["PPO", "X-v0", "1"], steps, values, rel=1e-6)
    mine = read(tmp_path, environment="X-v0", columns={"score": "eval/mine"})
    assert near(mine["PPO", "X-v0", "1"], steps, 2 * values, rel=1e-6)


def test_event_files_that_say_nothing_that_can_be_a_score(tmp_path):
    steps, values = curve(0)
    events(tmp_path / "PPO_1" / EVENT, {"losses/policy": (steps, values)})
    with pytest.raises(
        RlbenchError, match="has the tags losses/policy; say which is the score, as in --columns score="
    ):
        read(tmp_path / "PPO_1" / EVENT)
    (tmp_path / "PPO_2").mkdir()
    (tmp_path / "PPO_2" / EVENT).write_bytes(b"")
    with pytest.raises(RlbenchError, match="has no scalars"):
        read(tmp_path / "PPO_2" / EVENT)
    (tmp_path / "PPO_2" / EVENT).write_bytes(struct.pack("<QI", 4, 0) + b"\xff\xff\xff\xff" + b"0000")
    with pytest.raises(RlbenchError, match="is no event file of TensorBoard"):
        read(tmp_path / "PPO_2" / EVENT)


def test_a_log_that_was_continued_is_one_run_and_one_that_begins_anew_is_two(tmp_path):
    steps, values = curve(0)
    folder = tmp_path / "PPO_1"
    for part in (0, 1):
        half = slice(6 * part, 6 * part + 6)
        events(folder / f"events.out.tfevents.{part}.host", {"rollout/ep_rew_mean": (steps[half], values[half])})
    assert near(read(tmp_path, environment="X-v0")["PPO", "X-v0", "1"], steps, values, rel=1e-6)
    events(folder / "events.out.tfevents.2.host", {"rollout/ep_rew_mean": (steps, values)})
    with pytest.raises(RlbenchError, match="3 event files that begin anew, which are several runs"):
        read(tmp_path, environment="X-v0")


def test_an_export_of_weights_and_biases_with_a_column_for_each_run(tmp_path):
    steps, values = curve(1)
    columns: dict[str, object] = {"Step": [*steps, steps[-1] + 50]}
    for name, scale in (("ppo_1", 1.0), ("ppo_2", 2.0), ("sac_1", 3.0)):
        columns[f"{name} - eval/return"] = [*(scale * values), None if scale < 3 else 7.0]
        columns[f"{name} - eval/return__MIN"] = columns[f"{name} - eval/return__MAX"] = 0.0
    columns["ppo_1 - _step"] = 1
    table(tmp_path / "wandb_export_2026-01-23T06_46_45.csv", columns, quoting=csv.QUOTE_ALL)
    found = read(tmp_path, environment="Reacher-v5", columns={"score": "eval/return"})
    assert list(found) == [("ppo", "Reacher-v5", "1"), ("ppo", "Reacher-v5", "2"), ("sac", "Reacher-v5", "1")]
    assert near(found["ppo", "Reacher-v5", "2"], steps, 2 * values)
    assert found["sac", "Reacher-v5", "1"][1][-1] == 7.0


def test_a_history_of_weights_and_biases_with_a_sparse_column(tmp_path):
    steps, values = curve(2)
    for seed in (0, 1):
        table(
            tmp_path / f"mappo/{seed}/wandb_export.csv",
            {
                "train/x": 0,
                "eval/reward/mean": [*values, *[None] * 12],
                "_step": np.arange(24),
                "total frames": [*steps, *steps],
            },
        )
    options = {"score": "eval/reward/mean", "step": "total frames"}
    found = read(tmp_path, environment="air", columns=options)
    assert near(found["mappo", "air", "1"], steps, values)


def test_csv_downloads_of_tensorboard(tmp_path):
    for seed in (306655929, 7):
        steps, values = curve(seed)
        table(
            tmp_path / f"data/run-ppo_{seed}-tag-rollout_ep_rew_mean.csv",
            {"Wall time": 1.6e9 + steps, "Step": steps, "Value": values},
        )
    found = read(tmp_path, environment="CartPole-v0")
    assert near(found["ppo", "CartPole-v0", "306655929"], *curve(306655929))
    assert len(found) == 2


def test_logs_of_rllib_old_and_new(tmp_path):
    steps, values = curve(3)
    old = tmp_path / "old/APEX_BreakoutNoFrameskip-v4_0_env=BreakoutNoFrameskip-v4_2018-09-29_02-01-283JRTi3"
    cells = {
        "config": '{"a": [1, 2], "b": "x, y"}',
        "episode_reward_mean": [None, *values],
        "timesteps_total": [0, *steps],
    }
    table(old / "progress.csv", cells)
    rows(old / "params.json", json.dumps({"env": "BreakoutNoFrameskip-v4", "seed": None}))
    new = tmp_path / "new/PPO_CartPole-v1_29c52_00003_3_lr=0.1_2026-01-01"
    lines = [
        {
            "config": {"env": "CartPole-v1", "seed": 5, "hist": [1, 2]},
            "env_runners": {"episode_return_mean": float(value)},
            "num_env_steps_sampled_lifetime": int(step),
        }
        for step, value in zip(steps, values, strict=True)
    ]
    rows(new / "result.json", "\n".join(map(json.dumps, lines)) + '\n{"config": {"en')  # it was killed
    rows(new / "progress.csv", "")
    found = read(tmp_path / "old", tmp_path / "new")
    assert list(found) == [("APEX", "BreakoutNoFrameskip-v4", "0"), ("PPO", "CartPole-v1", "5")]
    assert all(near(run, steps, values) for run in found.values())


def test_progress_of_stable_baselines3_has_empty_cells_and_of_baselines_other_names(tmp_path):
    steps, values = curve(4)
    sb3 = {"train/loss": None, "time/total_timesteps": steps, "eval/mean_reward": None, "rollout/ep_rew_mean": values}
    table(tmp_path / "Pendulum-v1_ppo/ppo_308007989/progress.csv", sb3)
    table(tmp_path / "Pendulum-v1_trpo/trpo_12/progress.csv", {"EpRewMean": values, "TimestepsSoFar": steps})
    found = read(tmp_path)
    assert list(found) == [("ppo", "Pendulum-v1", "308007989"), ("trpo", "Pendulum-v1", "12")]
    assert all(near(run, steps, values) for run in found.values())


def test_progress_of_spinning_up_is_described_by_its_config(tmp_path):
    steps, values = curve(5)
    for seed in (0, 10):
        folder = tmp_path / f"data/cheetah-run/cheetah-run_s{seed}"
        table(folder / "progress.txt", {"Epoch": 1, "AverageEpRet": values, "TotalEnvInteracts": steps}, sep="\t")
        rows(
            folder / "config.json",
            json.dumps({"env": "HalfCheetah-v4", "exp_name": "cheetah-run", "seed": seed, "algo": "ddpg"}),
        )
    found = read(tmp_path)
    assert list(found) == [("ddpg", "HalfCheetah-v4", "0"), ("ddpg", "HalfCheetah-v4", "10")]
    assert near(found["ddpg", "HalfCheetah-v4", "10"], steps, values)


@pytest.mark.parametrize("written", ["csv", "lines", "npz"])
def test_episodes_as_gymnasium_records_them(tmp_path, written):
    """Of `info["episode"]` of RecordEpisodeStatistics: return r, length l, time t."""
    lengths, returns = episodes(6)
    if written == "csv":
        table(tmp_path / "q_1.csv", {"r": returns, "l": lengths, "t": 0.5})
    elif written == "lines":
        pairs = zip(returns.tolist(), lengths.tolist(), strict=True)
        rows(
            tmp_path / "q_1.jsonl",
            "\n".join(json.dumps({"episode": {"r": r, "l": length, "t": 0.5}}) for r, length in pairs),
        )
    else:
        np.savez(tmp_path / "q_1.npz", r=returns, l=lengths)
    assert near(read(tmp_path, environment="Taxi-v3")["q", "Taxi-v3", "1"], np.cumsum(lengths), returns)


SCORES = {"DQN": [[1.0, 20.0], [2.0, 30.0], [3.0, 40.0]], "IQN": [[5.0, 60.0], [6.0, 70.0], [7.0, 80.0]]}


@pytest.mark.parametrize("written", ["npz", "npy", "json", "old npy"])
def test_dictionaries_of_rliable(tmp_path, written):
    path = tmp_path / f"scores.{written[-4:].strip()}"
    arrays = {name: np.array(scores) for name, scores in SCORES.items()}
    if written == "npz":
        np.savez(path, **arrays)
    elif written == "json":
        path.write_text(json.dumps(SCORES))
    else:
        np.save(path, arrays, allow_pickle=True)
        if written == "old npy":  # numpy 1 called its module otherwise; the frame around it is a byte shorter
            data = path.read_bytes()
            frame = data.index(b"\x80\x04\x95") + 3
            (length,) = struct.unpack_from("<Q", data, frame)
            shorter = data[:frame] + struct.pack("<Q", length - 1) + data[frame + 8 :]
            path.write_bytes(shorter.replace(b"\x16numpy._core.multiarray", b"\x15numpy.core.multiarray"))
    found = read(path)
    assert found["IQN", "task 2", "1"] == ([], [70.0])
    assert len(found) == 12
    results = read_results(path)
    own = results.scores[results.scores["arm"] == "IQN"].groupby("environment")["score"].mean()
    assert own.tolist() == [6.0, 70.0]


def test_curves_of_rliable_have_a_point_for_each_frame(tmp_path):
    array = np.random.default_rng(0).normal(size=(3, 11, 4))
    np.savez(tmp_path / "ale.npz", DQN=array)
    assert near(read(tmp_path / "ale.npz")["DQN", "task 11", "2"], np.arange(1, 5), array[2, 10])


def test_scores_by_game_of_an_algorithm_that_the_file_is_called_after(tmp_path):
    rows(tmp_path / "data/DrQ(eps).json", json.dumps({"Alien": [765.0, 866.5], "Pong": [-20.0]}))
    rows(
        tmp_path / "data/CURL.json",
        json.dumps([{"game": "Alien", "seed": 1.0, "HNS": 0.5}, {"game": "Pong", "seed": 2.0, "HNS": 1.5}]),
    )
    found = read(tmp_path / "data/DrQ(eps).json")
    assert found == {
        ("DrQ(eps)", "Alien", "0"): ([], [765.0]),
        ("DrQ(eps)", "Alien", "1"): ([], [866.5]),
        ("DrQ(eps)", "Pong", "0"): ([], [-20.0]),
    }
    assert read(tmp_path / "data/CURL.json", columns={"score": "HNS"})["CURL", "Pong", "2.0"] == ([], [1.5])


def test_packed_records_whose_cells_are_curves(tmp_path):
    records = [
        {"task": "atari_alien", "method": "dreamerv3", "seed": s, "xs": [4112, 6692], "ys": [s, 9.5]} for s in (0, 1)
    ]
    (tmp_path / "atari100k-dreamerv3.json.gz").write_bytes(gzip.compress(json.dumps(records).encode()))
    assert read(tmp_path)["dreamerv3", "atari_alien", "1"] == ([4112, 6692], [1, 9.5])


def test_evaluations_of_marl_eval(tmp_path):
    runs = {
        seed: {
            "STEP_1": {"step_count": 10006, "return": [1, 2, 3, base], "win_rate": [0.8]},
            "STEP_2": {"step_count": 20008, "return": [base, base], "win_rate": [0.5]},
            "absolute_metrics": {"return": [5, 8], "win_rate": [0.2]},
        }
        for seed, base in (("43289", 4), ("42", 6))
    }
    rows(tmp_path / "data.json", json.dumps({"env_1": {"task_1": {"algo_1": runs}}}))
    assert read(tmp_path)["algo_1", "env_1/task_1", "42"] == ([10006, 20008], [3.0, 6.0])


def test_curves_in_npy_files_called_after_their_runs(tmp_path):
    (tmp_path / "Ant").mkdir()
    for seed in (0, 1):
        np.save(tmp_path / f"Ant/TD3_Ant-v1_{seed}.npy", curve(seed)[1])
    assert near(read(tmp_path)["TD3", "Ant-v1", "1"], np.arange(1, 13), curve(1)[1])


def test_tidy_tables_with_names_of_their_own(tmp_path):
    steps, values = curve(7)
    drq = {
        "": range(12),
        "agent": "DrQ-v2",
        "Agent": 1,
        "task": "acrobot_swingup",
        "seed": 1,
        "frame": steps,
        "episode_reward": values,
    }
    table(tmp_path / "dmc_acrobot_swingup.csv", drq)
    assert near(read(tmp_path)["DrQ-v2", "acrobot_swingup", "1"], steps, values)
    results = read_results(tmp_path / "dmc_acrobot_swingup.csv")
    assert results.experiment.notes[0] == (
        "1 file (table): algorithm is 'agent', environment is 'task', step is 'frame', score is 'episode_reward'."
    )


def test_semicolons_and_decimal_commas(tmp_path):
    steps, values = curve(8)
    table(
        tmp_path / "runs.csv",
        {"algo": "a", "env": "E", "seed": 3, "step": steps, "reward": values},
        sep=";",
        decimal=",",
    )
    assert near(read(tmp_path)["a", "E", "3"], steps, values)


def test_a_log_that_was_continued_may_repeat_its_header(tmp_path):
    text = "algo,env,seed,step,reward\na,E,1,1,5\nalgo,env,seed,step,reward\na,E,1,2,6\n"
    rows(tmp_path / "runs.csv", text)
    assert read(tmp_path)["a", "E", "1"] == ([1, 2], [5, 6])


# Names


@pytest.mark.parametrize(
    ("path", "pattern", "names"),
    [
        ("x/ppo/Hopper-v5_3/log.csv", "", ("ppo", "Hopper-v5", "3")),
        ("x/ppo/Hopper-v5/seed_3.csv", "", ("ppo", "Hopper-v5", "3")),
        ("x/Hopper-v5/ppo/s3/log.csv", "", ("ppo", "Hopper-v5", "3")),
        ("x/my_ppo_Hopper-v5_3.csv", "", ("my_ppo", "Hopper-v5", "3")),
        ("x/Hopper-v5_ppo_3.csv", "", ("ppo", "Hopper-v5", "3")),
        ("x/My_Walk__ppo__3__16/log.csv", "", ("ppo", "My_Walk", "3")),
        ("x/ppo-lr3/walk/run-b/log.csv", "{algorithm}-*/{environment}/run-{seed}", ("ppo", "walk", "b")),
        ("x/ppo/walk_far_7/deep/log.csv", "{algorithm}/{environment}_{seed}/*", ("ppo", "walk_far", "7")),
    ],
)
def test_names_come_from_paths(tmp_path, path, pattern, names):
    table(tmp_path / path, {"step": [1, 2], "score": [3, 4]})
    assert list(read(tmp_path, name=pattern)) == [names]


def test_a_pattern_that_is_given_counts_more_than_what_a_file_says(tmp_path):
    table(tmp_path / "b_7.csv", {"algorithm": "a", "environment": "E", "seed": 1, "score": [1.0]})
    assert list(read(tmp_path, name="{algorithm}_{seed}")) == [("b", "E", "7")]


def test_folders_are_algorithms_where_nothing_else_says_them(tmp_path):
    for name in ("ppo", "a2c"):
        for run in ("x", "y"):
            rows(tmp_path / name / run / "monitor.csv", MONITOR % (1, "Walk-v0") + f"{len(name + run)},5,1\n1,5,2\n")
    found = read(tmp_path / "ppo", tmp_path / "a2c")
    assert sorted({name[0] for name in found}) == ["a2c", "ppo"]
    assert len(found) == 4
    with pytest.raises(RlbenchError, match=r"does not say the algorithm of its runs\. Say which column does"):
        read(tmp_path)


def test_an_environment_is_no_algorithm(tmp_path):
    for name in ("hopper-0", "hopper-1"):
        rows(tmp_path / "hopper" / name / "monitor.csv", MONITOR % (1, "Hopper-v2") + "1,5,1\n2,5,2\n")
    with pytest.raises(RlbenchError, match="does not say the algorithm"):
        read(tmp_path)


def test_two_files_of_one_run_are_refused(tmp_path):
    for started in (1, 2):
        events(tmp_path / f"CartPole-v1__dqn__1__{started}" / EVENT, {"charts/episodic_return": curve(started)})
    with pytest.raises(RlbenchError, match=r"both have the run dqn on CartPole-v1 with seed 1. Leave one out, or tell"):
        read(tmp_path)
    assert len(read(tmp_path, name="{environment}__{algorithm}__*__{seed}")) == 2


def test_copies_of_a_run_are_noticed(tmp_path):
    for algorithm, seed, content in (("a", 1, 1), ("a", 2, 1), ("b", 1, 2), ("b", 2, 3)):
        steps, values = curve(content)
        table(tmp_path / f"{algorithm}_{seed}.csv", {"environment": "E", "step": steps, "score": values})
    assert (
        "On E, the runs of a with seeds 1, 2 are equal in every point; copies of a run are no further runs."
        in read_results(tmp_path).experiment.notes
    )


def test_runs_without_a_seed_are_told_apart_or_refused(tmp_path):
    table(tmp_path / "scores.csv", {"algorithm": ["a", "a", "b"], "environment": "E", "score": [1, 2, 3]})
    assert len(read_results(tmp_path / "scores.csv").runs) == 3
    table(tmp_path / "curves.csv", {"algorithm": "a", "environment": "E", "step": [1, 1, 2, 2], "score": [1, 2, 3, 4]})
    with pytest.raises(RlbenchError, match=r"several rows for a on E at step 1, and no column that tells runs apart"):
        read(tmp_path / "curves.csv")


def test_curves_and_mere_scores_are_not_mixed(tmp_path):
    table(tmp_path / "a_1.csv", {"environment": "E", "score": [1.0]})
    table(tmp_path / "b_1.csv", {"environment": "E", "step": [1, 2], "score": [1.0, 2.0]})
    with pytest.raises(RlbenchError, match=r"b_1.csv has learning curves and .*a_1.csv only scores"):
        read_results(tmp_path)


# What is refused


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_pickled_but_arrays_is_made(tmp_path, capsys):
    for name, thing in (("object", {"DQN": Evil()}), ("array", {"DQN": np.array([Evil()], dtype=object)})):
        np.save(tmp_path / f"{name}.npy", thing, allow_pickle=True)
        with pytest.raises(RlbenchError, match=r"it holds builtins.print, and only arrays are read"):
            read(tmp_path / f"{name}.npy")
    np.savez(tmp_path / "object.npz", DQN=np.array([Evil()], dtype=object))
    with pytest.raises(RlbenchError, match="cannot be read"):
        read(tmp_path / "object.npz")
    (tmp_path / "pickle.npy").write_bytes(b"\x93NUMPY\x01\x00" + pickle.dumps(Evil()))
    with pytest.raises(RlbenchError, match="cannot be read"):
        read(tmp_path / "pickle.npy")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", '{"a": [[1, 2], [3]]}', "an array that is not of numbers, or not of runs of one length"),
        ("a.json", '{"a": {"b": {"c": [1]}}}', "an array of 1 axes below 3 names"),
        ("a.json", "[1, 2]", "is no JSON of runs"),
        ("a.json", "{", "is no JSON of runs"),
        ("a.json", "[" * 100_000, "is no JSON of runs"),
        ("a.json", '{"a": []}', "has no rows"),
        ("evaluations.npz", b"PK\x03\x04", "cannot be read"),
        ("a.npy", b"\x93NUMPY", "cannot be read"),
        ("monitor.csv", "#{not json}\nr,l,t\n1,2,3\n", "a first line that is no JSON object"),
        ("monitor.csv", MONITOR.replace("r,l,t", "r,l") % (1, "E") + "1,2\n", "has no column 't'"),
        ("a.csv", ",PPO,A2C\nHopper-v2,22.5 ± 1.2,14.3 ± 6.2\n", "Its cells are summaries of runs, with ±"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "Cannot read"),
    ],
)
def test_what_cannot_be_understood_is_said_in_a_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RlbenchError, match=said) as caught:
        read(tmp_path / name, environment="E")
    assert "\n" not in str(caught.value)


def test_what_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
    assert LARGEST_FILE == 2**30
    monkeypatch.setattr("rlbench.analysis.scores.formats.LARGEST_FILE", 1000)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"score\n" + b"1\n" * 1000))
    np.savez_compressed(tmp_path / "a.npz", DQN=np.zeros((10, 100)))
    for path in tmp_path.iterdir():
        with pytest.raises(RlbenchError, match="unpacks to more than"):
            read(path)


def test_other_files_of_a_folder_are_left_out_and_said(tmp_path):
    table(tmp_path / "a_1.csv", {"environment": "E", "score": [1.0]})
    table(tmp_path / "notes.csv", {"what": ["x"], "when": ["y"]})
    sources, left = read_sources([tmp_path])
    assert [source.path for source in sources] == [str(tmp_path / "a_1.csv")]
    assert len(left) == 1
    assert "1 file is left out: notes.csv has no column 'score'" in left[0]
    (tmp_path / "a_1.csv").unlink()
    with pytest.raises(RlbenchError, match=r"has no file of runs in it\. notes.csv has no column"):
        read(tmp_path)
    (tmp_path / "notes.csv").unlink()
    with pytest.raises(RlbenchError, match=r"has no file of runs in it\. What is read: tables"):
        read(tmp_path)


@pytest.mark.parametrize("pattern", ["ppo", "{algo}/{seed}", "{seed}/{seed}", "{}"])
def test_a_pattern_that_is_none_is_refused(tmp_path, pattern):
    with pytest.raises(RlbenchError, match="--name takes a pattern of paths with"):
        read(tmp_path, name=pattern)


def test_the_page_lists_all_names_and_patterns():
    page = (Path(__file__).parents[2] / "docs/formats.md").read_text()
    words = " ".join(page.split())
    for names in COLUMNS.values():
        assert f": {', '.join(names)} " in words + " "
    assert "\n" + "\n".join(f"    {pattern}" for pattern in PATTERNS) + "\n" in page
    assert f"The first kind counts: monitor.csv, tables, JSON, event files, {FORMATS[4].name}, arrays." in words
    assert [kind.name for kind in FORMATS[:3]] == ["monitor.csv", "table", "JSON"]


def test_the_page_shows_what_is_shown(tmp_path, monkeypatch):
    block = (
        (Path(__file__).parents[2] / "docs/formats.md").read_text().split("```console\n$ rlbench ")[1].split("```")[0]
    )
    command, *lines = block.strip().splitlines()
    monkeypatch.chdir(tmp_path)
    rows(Path("logs/ppo/CartPole-v1_1/0.monitor.csv"), MONITOR % (1, "CartPole-v1") + "20,20,1\n30,30,2\n45,45,3\n")
    progress = {"global_step": [40, 80], "charts/episodic_return": [22, 31]}
    table(Path("runs/CartPole-v1__a2c__1__1700/progress.csv"), progress)
    assert CliRunner().invoke(main, command.split(), catch_exceptions=False).output.splitlines()[: len(lines)] == lines


def test_a_million_rows_are_read(tmp_path):
    count = 1_000_000
    steps = np.arange(count) // 10
    pd.DataFrame(
        {"algorithm": "a", "environment": "E", "seed": np.arange(count) % 10, "step": steps, "score": 1.5 * steps}
    ).to_csv(tmp_path / "runs.csv", index=False)
    found = read(tmp_path / "runs.csv")
    assert sum(len(run[0]) for run in found.values()) == count
