"""Running until decided: only what is needed is trained, once; interrupted and repeated; and what the report says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rlbench import Arm, Claim, Experiment
from rlbench.analysis.judge.compare import interim_warnings
from rlbench.analysis.judge.verdicts import judge_at
from rlbench.analysis.report.tables import search_table
from rlbench.api import confirmed, searched
from rlbench.errors import RlbenchError
from rlbench.records import Environment, RunRecord
from rlbench.results import STAGES, Results, open_results, read_results
from rlbench.stages import keep_found, planned_looks, run_until_decided, search
from rlbench.store.folders import read_tuned, write_tuned
from rlbench.study.plan import Plan, make_plan
from rlbench.study.run import Interrupted, execute
from rlbench.study.suites import override

SMALL: dict[str, Any] = {"horizon": 16, "minibatches": 1, "epochs": 1, "hidden": [4]}
MEANS = {0.1: 0.0, 0.2: 300.0, 0.3: 0.0}  # by clip range


class Fake:
    """A trainer whose runs score by their clip range; it notes (clip, environment, seed) and may be interrupted."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.trained: list[tuple[float, str, int]] = []
        self.stop_after = stop_after

    def __call__(
        self, algorithms: Sequence[Any], environment: Environment, steps: int, seeds: Sequence[int], **_: Any
    ) -> list[RunRecord]:
        if len(self.trained) >= self.stop_after:
            raise KeyboardInterrupt
        records = []
        for algorithm, seed in zip(algorithms, seeds, strict=True):
            clip = round(float(algorithm.clip), 3)
            self.trained.append((clip, environment.id, seed))
            score = MEANS[clip] + np.random.default_rng([int(100 * clip), seed, len(environment.id)]).normal(0, 10)
            episodes = {"step": np.array([16]), "return": np.array([score]), "length": np.array([16])}
            records.append(RunRecord("finished", "", steps, episodes, {"step": np.array([steps])}))
        return records


def plan(seeds: int = 20, environments: Sequence[str] = ("CartPole-v1",)) -> Plan:
    arms = [Arm("ppo-clip", clip=[0.1, 0.2, 0.3], **SMALL)]
    return make_plan(Experiment("tiny", arms, environments, seeds, 32, "ppo-clip clip=0.1"))


def go(folder: Path, fake: Fake, made: Plan | None = None, **more: Any) -> tuple[Results, list[str]]:
    said: list[str] = []
    results = run_until_decided(made or plan(), folder, workers=0, progress=False, say=said.append, train=fake, **more)
    return results, said


def seeds_of(fake: Fake, clip: float) -> list[int]:
    return sorted(seed for one, _, seed in fake.trained if one == clip)


def test_a_decided_arm_gets_no_more_runs_and_an_inconclusive_one_all(tmp_path: Path) -> None:
    fake = Fake()
    results, said = go(tmp_path, fake)
    assert seeds_of(fake, 0.2) == list(range(5))
    assert seeds_of(fake, 0.1) == seeds_of(fake, 0.3) == list(range(20))
    assert said[0] == (
        "Look 1 of at most 4, after 5 seeds: ppo-clip clip=0.2 better than ppo-clip clip=0.1; "
        "inconclusive ppo-clip clip=0.3."
    )
    assert len(said) == 4
    assert {one.arm: one.verdict for one in results.comparisons} == {
        "ppo-clip clip=0.2": "better",
        "ppo-clip clip=0.3": "inconclusive",
    }
    assert (results.runs["status"] == "finished").all()


def claims() -> list[Claim]:
    """Return one that is true, one that is false, and one that no number of these runs decides."""
    low, middle, high = (f"ppo-clip clip={clip}" for clip in (0.1, 0.2, 0.3))
    return [
        Claim("0.2 is better", [middle, low], "greater", "auc", 100.0, id="a"),
        Claim("0.1 is better", [low, middle], "greater", "auc", 100.0, id="b"),
        Claim("0.3 is different", [high, low], "different", "auc"),
    ]


def claiming(seeds: int = 20) -> Plan:
    arms = [Arm("ppo-clip", clip=[0.1, 0.2, 0.3], **SMALL)]
    return make_plan(Experiment("tiny", arms, ["CartPole-v1"], seeds, 32, "ppo-clip clip=0.1", claims=claims()))


def test_claims_are_judged_at_every_look_and_runs_go_on_only_for_open_ones(tmp_path: Path) -> None:
    fake, made = Fake(), claiming()
    results, said = go(tmp_path, fake, made)
    assert seeds_of(fake, 0.2) == list(range(5))
    assert seeds_of(fake, 0.1) == seeds_of(fake, 0.3) == list(range(20))
    assert said[0] == "Look 1 of at most 4, after 5 seeds: a supported; b refuted; “0.3 is different” inconclusive."
    assert said[1:] == [
        f"Look {look} of at most 4, after {5 * look} seeds: “0.3 is different” inconclusive." for look in (2, 3, 4)
    ]
    assert [one.verdict for one in results.verdicts] == ["supported", "refuted", "inconclusive"]
    # Those that are settled rest on the runs that were there, at a quarter of what the level leaves to errors.
    assert [one.parts[0].n_arm for one in results.verdicts] == [5, 5, 20]
    assert [round(one.parts[0].effect.level, 4) for one in results.verdicts] == [0.9875] * 3
    assert [one.claim.level for one in results.verdicts] == [0.95] * 3
    # Not tested in stages, so without a verdict, however large the difference is.
    assert {one.verdict for one in results.comparisons} == {"inconclusive"}
    assert "until the claims were decided" in interim_warnings(results.experiment.sequential)[0]
    stored = open_results(made.document(), made.planned, tmp_path)
    assert [one.verdict for one in stored.verdicts] == [one.verdict for one in results.verdicts]
    again = Fake()
    _, told = go(tmp_path, again, made)
    assert (again.trained, told) == ([], said)
    record = json.loads((tmp_path / "tiny" / STAGES).read_text())
    assert record["earlier"] == 0


@pytest.mark.slow
def test_a_false_claim_is_hardly_ever_decided_however_often_one_looks() -> None:
    """Of 200 experiments without any difference, looked at 4 times each, at most what the level leaves to errors."""
    wrong = 0
    for experiment in range(200):
        rng = np.random.default_rng(experiment)
        table = {"arm": np.repeat(["a", "b"], 20), "seed": np.tile(np.arange(20), 2), "score": rng.normal(size=40)}
        frame = pd.DataFrame(table).rename(columns={"arm": "algorithm"}).assign(environment="x")
        results = read_results(frame, baseline="b")
        claim = Claim("a is another", ["a", "b"], "different", "score")
        wrong += any(judge_at(claim, results, [5, 10, 15, 20], look).verdict == "supported" for look in (1, 2, 3, 4))
    assert wrong <= 17  # binomial with 5 %: 17 or fewer in 98 % of such tests; looking four times at 5 % gives 25


def test_stages_that_leave_a_look_nothing_to_decide_with_are_refused() -> None:
    with pytest.raises(RlbenchError, match=r"51 looks leave one of them less than 0[.]1 % of errors at the level of a"):
        planned_looks(claiming(255), 5)
    assert planned_looks(claiming(100), 5)[-1] == 100


def test_everything_decided_ends_it(tmp_path: Path) -> None:
    made = plan()
    two = make_plan(Experiment("tiny", [Arm("ppo-clip", clip=[0.1, 0.2], **SMALL)], ["CartPole-v1"], 20, 32))
    fake = Fake()
    _, said = go(tmp_path, fake, two)
    assert len(said) == 1
    assert len(fake.trained) == 10
    rest = Fake()
    go(tmp_path, rest, made)
    assert {clip for clip, _, seed in rest.trained if seed < 5} == {0.3}  # the other runs were stored


def test_nothing_is_trained_twice_also_after_an_interruption(tmp_path: Path) -> None:
    first = Fake(stop_after=18)
    with pytest.raises(Interrupted):
        go(tmp_path, first)
    second = Fake()
    results, said = go(tmp_path, second)
    assert len(set(first.trained + second.trained)) == len(first.trained) + len(second.trained) == 45
    whole, same = go(tmp_path / "again", Fake())
    assert said == same
    assert [(one.arm, one.verdict) for one in results.comparisons] == [
        (one.arm, one.verdict) for one in whole.comparisons
    ]
    again = Fake()
    assert go(tmp_path, again)[1] == said
    assert again.trained == []
    assert json.loads((tmp_path / "tiny" / STAGES).read_text())["earlier"] == 0


def test_several_environments_are_one_test_where_they_have_references(tmp_path: Path) -> None:
    fake = Fake()
    results, said = go(tmp_path, fake, plan(10, ["CartPole-v1", "MountainCar-v0"]))
    assert seeds_of(fake, 0.2) == sorted([*range(5)] * 2)
    verdicts = {(one.arm[-3:], one.environment): one.verdict for one in results.comparisons}
    assert verdicts["0.2", "all environments"] == "better"
    assert verdicts["0.2", "CartPole-v1"] == "inconclusive"  # not what was tested
    assert "on" not in said[0].split(":")[1].split()


def test_the_report_says_how_often_was_looked(tmp_path: Path) -> None:
    made = plan()
    go(tmp_path, Fake(), made)
    results = open_results(made.document(), made.planned, tmp_path)
    assert len(results.runs) == 45
    assert [one.verdict for one in results.comparisons] == ["better", "inconclusive"]
    (said,) = interim_warnings(results.experiment.sequential)
    assert "looked at 4 times of at most 4 (planned after 5, 10, 15, 20 seeds); none was trained twice" in said
    assert "ppo-clip clip=0.2 against ppo-clip clip=0.1 on CartPole-v1: better at look 1" in said
    assert "ppo-clip clip=0.3 against ppo-clip clip=0.1 on CartPole-v1: inconclusive to the end" in said
    from rlbench.analysis.report.sentences import warnings

    assert said in warnings(results)


def test_changing_the_looks_afterwards_is_said(tmp_path: Path) -> None:
    go(tmp_path, Fake(), plan(10))
    results, _ = go(tmp_path, Fake(), plan(20))
    assert results.experiment.sequential["earlier"] == 1
    assert "looked at before in 1 other design of the looks" in interim_warnings(results.experiment.sequential)[1]


def test_an_experiment_run_as_a_whole_is_reported_as_one(tmp_path: Path) -> None:
    from rlbench.study.run import execute

    made = plan(10)
    assert open_results(made.document(), made.planned, tmp_path).experiment.sequential is None
    go(tmp_path, Fake(), made)
    assert len(open_results(made.document(), made.planned, tmp_path).runs) == 25
    execute(made, tmp_path, workers=0, progress=False, train=Fake())
    whole = open_results(made.document(), made.planned, tmp_path)
    assert whole.experiment.sequential is None
    assert len(whole.runs) == len(made.planned)


def test_what_cannot_be_run_in_stages_is_refused(tmp_path: Path) -> None:
    assert planned_looks(plan(20), 5) == [5, 10, 15, 20]
    assert planned_looks(plan(12), 5) == [5, 10, 12]
    for seeds, stage, message in ((5, 5, "would look at them once"), (10, 1, "at least 2 seeds")):
        with pytest.raises(RlbenchError, match=message):
            planned_looks(plan(seeds), stage)
    alone = make_plan(Experiment("one", [Arm("ppo-clip", **SMALL)], ["CartPole-v1"], 20, 32))
    with pytest.raises(RlbenchError, match="one arm, so there is nothing to decide"):
        planned_looks(alone, 5)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / STAGES).write_text("{")
    with pytest.raises(RlbenchError, match="cannot be read"):
        go(tmp_path, Fake())


# The search for settings

SPREAD = {"CartPole-v1": 1.0, "Acrobot-v1": -1.0}  # what a larger entropy coefficient is good for


class Scores(Fake):
    """A trainer whose runs score by their entropy coefficient, and diverge above 0.9."""

    def __call__(
        self, algorithms: Sequence[Any], environment: Environment, steps: int, seeds: Sequence[int], **_: Any
    ) -> list[RunRecord]:
        records = []
        for algorithm, seed in zip(algorithms, seeds, strict=True):
            coefficient = round(float(algorithm.entropy_coef), 6)
            self.trained.append((coefficient, environment.id, seed))
            score = 100 * SPREAD[environment.id] * coefficient + np.random.default_rng(seed).normal(0, 1)
            episodes = {"step": np.array([16]), "return": np.array([score]), "length": np.array([16])}
            status = "diverged" if coefficient > 0.9 else "finished"
            records.append(RunRecord(status, "", steps, episodes, {"step": np.array([steps])}))
        return records


def searching(trials: int = 16) -> tuple[Experiment, Experiment]:
    base = Experiment("tiny", [Arm("ppo-clip", **SMALL), Arm("trpo", **SMALL)], list(SPREAD), 2, 32)
    return base, searched(base, ["entropy_coef=0..1"], trials, 2)


def found(folder: Path, fake: Scores, search_: Experiment, **more: Any) -> tuple[dict[tuple[str, str], str], list[str]]:
    said: list[str] = []
    return search(make_plan(search_), folder, workers=0, progress=False, say=said.append, train=fake, **more), said


def test_a_search_halves_the_settings_and_doubles_the_seeds(tmp_path: Path) -> None:
    _, wanted = searching()
    assert len(wanted.arms) == 2 * 16
    assert wanted.seeds == tuple(range(8))
    fake = Scores()
    best, said = found(tmp_path, fake, wanted)
    assert said[:2] == [
        "Round 1 of 3, 2 seeds: 32 of 64 are kept.",
        "Round 2 of 3, 4 seeds: 16 of 32 are kept.",
    ]
    assert said[2].startswith("Round 3 of 3, 8 seeds: best is on CartPole-v1 ppo-clip entropy_coef=0.8")
    # Every algorithm had as many runs on every environment: 16 x 2, then 8 and 4 with twice as many.
    runs = pd.DataFrame(fake.trained, columns=["coefficient", "environment", "seed"])
    assert dict(runs["environment"].value_counts()) == dict.fromkeys(SPREAD, 2 * (16 * 2 + 8 * 2 + 4 * 4))
    # Where more is better the largest that does not diverge is found; where less is, the default.
    coefficients = sorted(float(arm.settings.get("entropy_coef", 0.0)) for arm in wanted.arms[:16])
    largest = max(value for value in coefficients if value <= 0.9)
    assert best == {
        ("CartPole-v1", "ppo-clip"): f"ppo-clip entropy_coef={largest:g}",
        ("CartPole-v1", "trpo"): f"trpo entropy_coef={largest:g}",
        ("Acrobot-v1", "ppo-clip"): "ppo-clip",
        ("Acrobot-v1", "trpo"): "trpo",
    }
    again = Scores()
    assert found(tmp_path, again, wanted) == (best, said)
    assert {coefficient > 0.9 for coefficient, *_ in again.trained} <= {True}  # nothing that is stored is trained again


def test_what_was_found_is_tried_on_fresh_seeds_and_kept(tmp_path: Path) -> None:
    base, wanted = searching()
    best, _ = found(tmp_path, Scores(), wanted)
    asked = confirmed(base, wanted, best, 5)
    assert [arm.label for arm in asked.arms] == ["ppo-clip", "ppo-clip, tuned", "trpo", "trpo, tuned"]
    assert asked.baseline == "trpo, tuned"
    assert set(asked.seeds).isdisjoint(wanted.seeds)
    assert [claim.environments for claim in asked.claims] == [("CartPole-v1",)] * 2
    made = make_plan(asked)
    assert asked.arms[1].settings["entropy_coef"].keys() == SPREAD.keys()
    execute(made, tmp_path, workers=0, progress=False, train=Scores())
    results = open_results(made.document(), made.planned, tmp_path)
    assert results.searched is not None
    assert len(results.searched.arms) == 32
    keep_found(results, made, wanted, tmp_path)
    known = read_tuned(tmp_path, "trpo")
    coefficient = asked.arms[3].settings["entropy_coef"]["CartPole-v1"]
    assert known["CartPole-v1"]["settings"] == {**SMALL, "entropy_coef": coefficient}
    assert known["Acrobot-v1"]["settings"]["entropy_coef"] == 0.0
    scores = results.scores.groupby(["environment", "arm"])["auc"].mean()
    assert known["CartPole-v1"]["auc"]["found"][0] == pytest.approx(scores["CartPole-v1", "trpo, tuned"])
    table = search_table(results).data
    assert dict(zip(table["environment"] + table["algorithm"], table["found"], strict=True)) == {
        "CartPole-v1ppo-clip": f"entropy_coef={coefficient:g}",
        "CartPole-v1trpo": f"entropy_coef={coefficient:g}",
        "Acrobot-v1ppo-clip": "its defaults",
        "Acrobot-v1trpo": "its defaults",
    }
    assert set(table["runs"]) == {16 * 2 + 8 * 2 + 4 * 4}


def test_tuned_settings_give_way_to_those_that_an_arm_has(tmp_path: Path) -> None:
    write_tuned(tmp_path, "trpo", {"CartPole-v1": {"settings": {"delta": 0.1, "lr": 0.1}, "steps": 1}})
    write_tuned(tmp_path, "trpo", {"Acrobot-v1": {"settings": {"delta": 0.2}, "steps": 1}})
    asked = Experiment("x", [Arm("trpo", "mine", lr=0.5)], list(SPREAD), 1, 10_000)
    (arm,) = override(asked, tuned=tmp_path).arms
    assert arm.label == "mine"
    assert arm.settings == {"delta": {"CartPole-v1": 0.1, "Acrobot-v1": 0.2}, "lr": 0.5}
    with pytest.raises(RlbenchError, match=r"no good settings of reinforce on MountainCar-v0 are known"):
        override(Experiment("x", ["reinforce"], ["MountainCar-v0"], 1, 10_000), tuned=tmp_path)
    (tmp_path / "tuned" / "trpo.json").write_text("{")
    with pytest.raises(RlbenchError, match=r"trpo\.json cannot be read"):
        override(asked, tuned=tmp_path)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        (["deltaa=0..1"], "no algorithm here has a field 'deltaa'. Did you mean 'delta'?"),
        (["trpo.clip=0..1"], "no algorithm here has a field 'clip'"),
    ],
)
def test_a_search_that_cannot_be_is_refused(over: list[str], said: str) -> None:
    with pytest.raises(RlbenchError) as caught:
        searched(Experiment("x", ["trpo"], ["CartPole-v1"], 1, 10_000), over, 8, 2)
    assert said in str(caught.value)
