"""From what is written to what trains: lookups, sweeps, labels, budgets."""

from __future__ import annotations

from typing import Any

import pytest

from rlbench.claims import Claim
from rlbench.errors import RlbenchError
from rlbench.records import Environment
from rlbench.study.experiment import Arm, Experiment
from rlbench.study.plan import check_early, make_plan, resolve
from rlbench.study.suites import override


def experiment(*arms: Any, steps: int = 100_000, baseline: str = "") -> Experiment:
    return Experiment("x", arms, ["CartPole-v1"], 1, steps, baseline)


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        (["ppo-clp"], "Did you mean 'ppo-clip'"),
        ([Arm("ppo-clip", clpi=0.1)], "Did you mean 'clip'"),
        ([Arm("ppo-clip", gamma=1.5)], "gamma must be at most 1, not 1.5"),
        ([Arm("ppo-clip", lr="fast")], "lr must be a number, not 'fast'"),
        ([Arm("ppo-clip", gamma=[0.9, 1.5])], "gamma must be at most 1, not 1.5"),
        ([Arm("ppo-clip", epochs=[4, 1.5])], "epochs must be a whole number, not 1.5"),
        ([Arm("ppo-clip", hidden=[[64], [64]])], "hidden lists (64,) twice"),
        ([Arm("ppo-clip", lr=[])], "lr is an empty list"),
        ([Arm("ppo-clip", lr=[0.1, 0.1])], "lr lists 0.1 twice"),
        (["ppo-clip", "ppo-clip"], "two arms are called 'ppo-clip'"),
        (["ppo-clip", Arm("ppo-clip", lr=0.1)], "two arms are called 'ppo-clip'"),
        (["ppo-clip", Arm("ppo-clip", "same", clip=0.2)], "'ppo-clip' and 'same' have exactly the same settings"),
        ([Arm(int)], "int is not an Algorithm subclass"),
    ],
)
def test_arms_that_cannot_be_meant(arms: list[Any], said: str) -> None:
    with pytest.raises(RlbenchError) as caught:
        resolve(experiment(*arms))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_for_a_hyper_field_is_one_arm_per_value() -> None:
    arms, _ = resolve(experiment(Arm("ppo-clip", lr=[1e-4, 1e-3], clip=[0.1, 0.2], epochs=4), Arm("ppo-clip")))
    assert [arm.label for arm in arms] == [
        "ppo-clip lr=0.0001 clip=0.1",
        "ppo-clip lr=0.0001 clip=0.2",
        "ppo-clip lr=0.001 clip=0.1",
        "ppo-clip lr=0.001 clip=0.2",
        "ppo-clip",
    ]
    assert [arm.algorithm.lr for arm in arms] == [1e-4, 1e-4, 1e-3, 1e-3, 3e-4]
    assert [arm.algorithm.epochs for arm in arms] == [4, 4, 4, 4, 10]
    assert arms[0].document()["settings"] == {"lr": 1e-4, "clip": 0.1, "epochs": 4}


def test_a_list_for_a_static_field_is_one_arm_per_value_too() -> None:
    listed = {"epochs": [4, 10], "hidden": [[64], (32, 16)], "anneal_lr": [True, False]}
    arms, _ = resolve(experiment(Arm("ppo-clip", "mine", **listed)))
    assert [arm.label for arm in arms][:3] == [
        "mine epochs=4 hidden=64 anneal_lr=true",
        "mine epochs=4 hidden=64 anneal_lr=false",
        "mine epochs=4 hidden=32,16 anneal_lr=true",
    ]
    assert len(arms) == 8
    assert (arms[-1].algorithm.epochs, arms[-1].algorithm.hidden) == (10, (32, 16))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"arms": ["ppo-clp"]}, "Did you mean 'ppo-clip'"),
        ({"arms": [Arm("ppo-clip", gamma=2)]}, "gamma must be at most 1"),
        ({"arms": ["ppo-clip"], "steps": 10}, "10 steps are less than one rollout"),
        ({"arms": ["ppo-clip", "trpo"], "baseline": "tropo"}, "Did you mean 'trpo'"),
    ],
)
def test_what_is_wrong_is_said_before_an_algorithm_is_imported(wrong: dict[str, Any], said: str) -> None:
    made = {"name": "x", "environments": ["CartPole-v1"], "seeds": 1, **wrong}
    with pytest.raises(RlbenchError, match=said):
        check_early(Experiment(**made))
    with pytest.raises(RlbenchError, match=said):
        resolve(Experiment(**made))


def test_a_list_for_a_tuple_field_is_its_value() -> None:
    ((arm,), _) = resolve(experiment(Arm("ppo-clip", hidden=[32, 16])))
    assert arm.algorithm.hidden == (32, 16)
    assert arm.label == "ppo-clip"


def test_labels_of_sweeps_start_with_the_label_given() -> None:
    arms, _ = resolve(experiment(Arm("ppo-clip", label="mine", lr=[1e-4])))
    assert [arm.label for arm in arms] == ["mine lr=0.0001"]


def test_budgets_must_be_spent_exactly_and_the_nearest_are_named() -> None:
    arm = Arm("ppo-clip", num_envs=8, horizon=128)
    with pytest.raises(RlbenchError, match="100003 steps are not a multiple of num_envs 8; the nearest are 100000 and"):
        resolve(experiment(arm, steps=100_003))
    with pytest.raises(RlbenchError, match="less than one rollout of horizon 128 x num_envs 8; the least is 1024"):
        resolve(experiment(arm, steps=1000))
    assert resolve(experiment(arm, steps=100_008))


def test_the_baseline_is_a_label_or_the_only_arm_of_an_algorithm() -> None:
    def baseline(*arms: Any, named: str) -> str:
        return resolve(experiment(*arms, baseline=named))[1]

    assert baseline("trpo", "ppo-clip", named="") == "trpo"
    assert baseline("trpo", "ppo-clip", named="ppo-clip") == "ppo-clip"
    assert baseline("trpo", Arm("ppo-clip", "mine"), named="ppo-clip") == "mine"
    with pytest.raises(RlbenchError, match=r"baseline 'tpro' is not the label of an arm\. Did you mean 'trpo'"):
        baseline("trpo", "ppo-clip", named="tpro")
    with pytest.raises(RlbenchError, match="baseline 'ppo-clip' is not the label"):
        baseline("trpo", Arm("ppo-clip", clip=[0.1, 0.2]), named="ppo-clip")


def test_an_experiment_in_some_of_its_environments_keeps_the_claims_about_them() -> None:
    pendulum = Environment("Pendulum-v1", {"g": 5.0})
    claims = [
        Claim("everywhere", ["a", "b"], "greater"),
        Claim("on both", ["a", "b"], "greater", environments=["CartPole-v1", pendulum.label]),
        Claim("on the third", ["a", "b"], "greater", environments=["Acrobot-v1"]),
    ]
    arms = [Arm("ppo-clip", "a"), Arm("ppo-clip", "b", clip=0.1)]
    steps = {"CartPole-v1": 4096, "Pendulum-v1": 8192, "Acrobot-v1": 2048}
    whole = Experiment("e", arms, ["CartPole-v1", pendulum, "Acrobot-v1"], 2, steps, claims=claims)
    for name in ("Pendulum-v1", pendulum.label):
        part = override(whole, environments=[name])
        assert part.environments == (pendulum,)
        assert [(claim.statement, claim.environments) for claim in part.claims] == [
            ("everywhere", ()),
            ("on both", (pendulum.label,)),
        ]
        assert {cell.steps for cell in make_plan(part).cells} == {8192}
    cells, own = ({cell.id for cell in make_plan(one).cells} for one in (whole, override(whole, environments=[name])))
    assert own < cells  # the same runs
    with pytest.raises(RlbenchError, match="--env Pendulum: Experiment 'e' has no such environment"):
        override(whole, environments=["Pendulum"])


def test_a_mapping_gives_a_field_its_value_on_each_environment() -> None:
    arms = [Arm("ppo-clip", clip=0.1, lr={"CartPole-v1": 1e-3}, epochs={"CartPole-v1": 2, "Acrobot-v1": 3}), "trpo"]
    made = make_plan(Experiment("x", arms, ["CartPole-v1", "Acrobot-v1"], 1, 10_000))
    settings = {cell.environment.id: (cell.algorithm.lr, cell.algorithm.epochs) for cell in made.cells[:2]}
    assert settings == {"CartPole-v1": (1e-3, 2), "Acrobot-v1": (3e-4, 3)}  # the default where nothing is said
    (written, _) = made.document()["arms"]
    assert written["settings"]["lr"] == {"CartPole-v1": 1e-3, "Acrobot-v1": 3e-4}
    assert (written["fields"]["epochs"], written["fields"]["clip"]) == ({"CartPole-v1": 2, "Acrobot-v1": 3}, 0.1)
    # A run is known by what it trains with, however that was written.
    alone = make_plan(Experiment("y", [Arm("ppo-clip", clip=0.1, lr=1e-3, epochs=2)], ["CartPole-v1"], 1, 10_000))
    assert alone.cells[0].id == made.cells[0].id


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lr": {"CartPole-v2": 0.1}}, "lr names 'CartPole-v2', which is not an environment here. Did you mean"),
        ({"lr": {"CartPole-v1": -0.1}}, "lr must be at least 0, not -0.1"),
        ({"horizon": {"CartPole-v1": 200_000}}, "100000 steps are less than one rollout"),
        ({"clip": {"CartPole-v1": 0.2}}, "'ppo-clip' and 'other' have exactly the same settings"),
    ],
)
def test_settings_of_an_environment_are_checked_like_all_others(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RlbenchError) as caught:
        make_plan(experiment("ppo-clip", Arm("ppo-clip", "other", **settings)))
    assert said in str(caught.value)
