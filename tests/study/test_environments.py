"""What an id stands for: the specification that an experiment saw is what is hashed and what is stepped."""

from __future__ import annotations

import collections
import functools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.wrappers import TransformReward

import rlbench
from rlbench import Arm, Experiment, registry
from rlbench.errors import RlbenchError
from rlbench.records import Environment
from rlbench.store.folders import read_specification
from rlbench.study.environments import bound, registered, specification_of
from rlbench.study.executors import Job
from rlbench.study.executors.local import InProcess
from rlbench.study.plan import make_plan
from rlbench.study.run import execute_all
from rlbench.study.schedule import make_packs
from rlbench.study.suites import load_experiment, load_suite
from rlbench.training.envs.gymnasium import make_one

NAME = "rlbench-test/Specified-v0"


class Bonus(CartPoleEnv):
    def __init__(self, bonus: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.bonus = bonus


class Other(CartPoleEnv):
    pass


def around(bonus: Any) -> Callable[..., Any]:
    return lambda: Bonus(bonus)


class Setting:
    def __init__(self, value: int) -> None:
        self.value = value


@pytest.fixture
def register() -> Iterator[Callable[..., Environment]]:
    def register(entry_point: Any = Bonus, **options: Any) -> Environment:
        gymnasium.registry.pop(NAME, None)
        gymnasium.register(NAME, entry_point=entry_point, **options)
        return bound(Environment(NAME))

    yield register
    gymnasium.registry.pop(NAME, None)


def test_what_gymnasium_registers_itself_has_no_specification() -> None:
    for name in ("CartPole-v1", "Acrobot-v1", "FrozenLake-v1", "Hopper-v5", "Hopper-v2"):
        assert specification_of(bound(Environment(name, {"max_episode_steps": 3}))) == {}


CHANGES: dict[str, dict[str, Any]] = {
    "another class": {"entry_point": Other},
    "Gymnasium's class": {"entry_point": CartPoleEnv},
    "Gymnasium's class by name": {"entry_point": "gymnasium.envs.classic_control:PendulumEnv"},
    "a partial": {"entry_point": functools.partial(Bonus, bonus=1.0)},
    "a partial with another argument": {"entry_point": functools.partial(Bonus, bonus=2.0)},
    "a partial with a position": {"entry_point": functools.partial(Bonus, 2.0)},
    "a closure": {"entry_point": around(1.0)},
    "a closure over something else": {"entry_point": around(2.0)},
    "a closure over an array": {"entry_point": around(np.array([1.0, 2.0]))},
    "a closure over another array": {"entry_point": around(np.array([1.0, 2.5]))},
    "a closure over an object": {"entry_point": around(Setting(1))},
    "a closure over another object": {"entry_point": around(Setting(2))},
    "a wrapped function": {"entry_point": functools.wraps(CartPoleEnv)(around(5.0))},
    "another wrapped function": {"entry_point": functools.wraps(CartPoleEnv)(around(3.0))},
    "a method of a mapping": {"kwargs": {"bonus": {1: 0.5}.get}},
    "a method of another mapping": {"kwargs": {"bonus": {1: 0.7}.get}},
    "a set": {"kwargs": {"bonus": {"a", "b", "c"}}},
    "another set": {"kwargs": {"bonus": {"a", "b", "d"}}},
    "numbers in a deque": {"kwargs": {"bonus": collections.deque([1, 2])}},
    "other numbers in a deque": {"kwargs": {"bonus": collections.deque([1, 3])}},
    "a tensor": {"kwargs": {"bonus": torch.tensor([1.0, 2.0])}},
    "another tensor": {"kwargs": {"bonus": torch.tensor([1.0, 3.0])}},
    "objects in an array": {"kwargs": {"bonus": np.array([1, None, "x"], object)}},
    "other objects in an array": {"kwargs": {"bonus": np.array([1, None, "y"], object)}},
    "a method": {"entry_point": Setting(1).__init__},
    "a method of another object": {"entry_point": Setting(2).__init__},
    "an argument": {"kwargs": {"bonus": 1.0}},
    "another argument": {"kwargs": {"bonus": 1.5}},
    "an argument that is a class": {"kwargs": {"bonus": Other}},
    "a time limit": {"max_episode_steps": 10},
    "another time limit": {"max_episode_steps": 11},
    "no order": {"order_enforce": False},
    "a wrapper": {
        "additional_wrappers": (TransformReward.wrapper_spec(func=around(1.0)),),
    },
    "a wrapper with another argument": {
        "additional_wrappers": (TransformReward.wrapper_spec(func=around(2.0)),),
    },
}


def test_everything_that_decides_what_is_stepped_makes_another_specification(
    register: Callable[..., Environment],
) -> None:
    found = {name: specification_of(register(**change)) for name, change in CHANGES.items()}
    again = {name: specification_of(register(**change)) for name, change in CHANGES.items()}
    assert found == again
    different = {repr(one) for one in [*found.values(), specification_of(register())]}
    assert len(different) == len(CHANGES) + 1


def test_a_registration_over_gymnasiums_own_is_another_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = gymnasium.spec("CartPole-v1")
    assert specification_of(bound(Environment("CartPole-v1"))) == {}
    monkeypatch.setitem(gymnasium.registry, "CartPole-v1", gymnasium.envs.registration.EnvSpec("CartPole-v1", Bonus))
    assert specification_of(bound(Environment("CartPole-v1")))["source"]
    other = gymnasium.envs.registration.EnvSpec("CartPole-v1", spec.entry_point, max_episode_steps=400)
    monkeypatch.setitem(gymnasium.registry, "CartPole-v1", other)
    assert specification_of(bound(Environment("CartPole-v1")))["max_episode_steps"] == 400


def test_an_argument_that_cannot_be_written_down_is_refused(register: Callable[..., Environment]) -> None:
    with pytest.raises(RlbenchError, match="is registered with an argument that cannot be written down"):
        specification_of(register(kwargs={"generator": (n for n in range(3))}))


def test_the_specification_is_that_of_the_time_when_it_was_bound(register: Callable[..., Environment]) -> None:
    before = register(kwargs={"bonus": 1.0})
    after = register(kwargs={"bonus": 2.0})
    gymnasium.registry.pop(NAME)
    for environment, bonus in ((before, 1.0), (after, 2.0)):
        assert bound(environment) is environment
        with registered(environment):
            assert make_one(environment).unwrapped.bonus == bonus  # type: ignore[attr-defined]
        assert NAME not in gymnasium.registry


def write(path: Path, text: str) -> None:
    path.write_text(textwrap.dedent(text))


EXPERIMENT = """
    import gymnasium
    from gymnasium.envs.classic_control import CartPoleEnv
    from rlbench import Arm, Experiment
    {imports}

    class Scaled(CartPoleEnv):
        def step(self, action):
            observation, reward, *rest = super().step(action)
            return observation, reward * {factor}, *rest

    gymnasium.register({name!r}, entry_point={entry_point})
    EXPERIMENT = Experiment(
        name="scaled{factor}",
        arms=[Arm("random", horizon=16)],
        environments=[{name!r}],
        seeds=2,
        steps=64,
    )
"""


def means(results: Path) -> list[float]:
    """Return the mean return of every stored run, sorted."""
    return sorted(pd.read_parquet(file)["return"].mean() for file in results.glob("store/*/episodes.parquet"))


@pytest.fixture
def _registry_as_before() -> Iterator[None]:
    before = dict(gymnasium.registry)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


@pytest.mark.usefixtures("_registry_as_before")
@pytest.mark.filterwarnings("ignore:.*Overriding environment")
@pytest.mark.parametrize("name", ["rlbench-test/Twin-v0", "CartPole-v1"])
def test_two_files_that_register_one_id_train_their_own(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "suite"
    folder.mkdir()
    for factor in (1, 50):
        text = EXPERIMENT.format(name=name, factor=factor, entry_point="Scaled", imports="")
        write(folder / f"scaled{factor}.py", text)
    plans = [make_plan(one) for one in load_suite(folder).experiments]
    for workers in (0, 1):
        results = tmp_path / f"results{workers}"
        execute_all(plans, results, workers=workers, progress=False)
    small, large = np.array(means(tmp_path / "results0")).reshape(2, 2)
    np.testing.assert_array_equal(large, 50 * small)
    assert means(tmp_path / "results1") == means(tmp_path / "results0")


@pytest.mark.usefixtures("_registry_as_before")
def test_an_entry_point_in_text_is_looked_for_beside_the_experiment_and_hashed_with_its_helpers(tmp_path: Path) -> None:
    """The module is a file of the experiment's folder, which neither this process nor a worker can import."""

    def ids(reward: float) -> set[str]:
        write(tmp_path / "walk_helper.py", f"REWARD = {reward}\n")
        write(
            tmp_path / "walk_module.py",
            """
            import gymnasium
            from gymnasium.envs.classic_control import CartPoleEnv
            from walk_helper import REWARD

            class Walk(CartPoleEnv):
                def step(self, action):
                    observation, _, *rest = super().step(action)
                    return observation, REWARD, *rest
            """,
        )
        text = EXPERIMENT.format(
            name="rlbench-test/Walk-v0", factor=1, entry_point="'walk_module:Walk'", imports="import walk_module"
        )
        write(tmp_path / "experiment.py", text)
        gymnasium.registry.pop("rlbench-test/Walk-v0", None)
        experiment = load_experiment(tmp_path / "experiment.py")
        gymnasium.registry.pop("rlbench-test/Walk-v0", None)
        plan = make_plan(experiment)
        execute_all([plan], tmp_path / f"results{reward}", workers=1, progress=False)
        return {cell.id for cell in plan.cells}

    first, second = ids(1.0), ids(2.0)
    assert not first & second
    np.testing.assert_array_equal(2 * np.array(means(tmp_path / "results1.0")), means(tmp_path / "results2.0"))


@pytest.mark.usefixtures("_registry_as_before")
def test_cells_of_one_name_and_different_sources_never_share_a_pack() -> None:
    algorithm = registry.load("random")(horizon=8)
    packs = []
    for cls in (Bonus, Other):
        gymnasium.registry.pop(NAME, None)
        gymnasium.register(NAME, entry_point=cls)
        experiment = Experiment("x", [Arm("random", horizon=algorithm.horizon)], [NAME], 2, 16)
        packs += make_plan(experiment).cells
    made = make_packs(packs, 1)
    assert sorted(len(pack.cells) for pack in made) == [2, 2]
    assert all(len({cell.environment_key for cell in pack.cells}) == 1 for pack in made)
    assert all(pack.cells[0].runs_user_code for pack in made)
    assert all(
        record.status == "finished" for _, records in InProcess().run(made, Job(None, print)) for record in records
    )


@pytest.mark.usefixtures("_registry_as_before")
def test_wrappers_that_a_file_defines_are_put_on_in_every_process(tmp_path: Path) -> None:
    write(
        tmp_path / "experiment.py",
        """
        import gymnasium
        from gymnasium.envs.classic_control import CartPoleEnv
        from rlbench import Arm, Experiment

        class Paid(gymnasium.RewardWrapper, gymnasium.utils.RecordConstructorArgs):
            def __init__(self, env, pay):
                gymnasium.utils.RecordConstructorArgs.__init__(self, pay=pay)
                super().__init__(env)
                self.pay = pay

            def reward(self, reward):
                return self.pay

        gymnasium.register(
            "rlbench-test/Paid-v0",
            entry_point=CartPoleEnv,
            max_episode_steps=10,
            additional_wrappers=(Paid.wrapper_spec(pay=7.0),),
        )
        EXPERIMENT = Experiment("paid", [Arm("random", horizon=16)], ["rlbench-test/Paid-v0"], 2, 64)
        """,
    )
    plan = make_plan(load_experiment(tmp_path / "experiment.py"))
    for workers in (0, 1):
        summary = execute_all([plan], tmp_path / f"results{workers}", workers=workers, progress=False)
        assert summary.fine, summary.failed
    assert means(tmp_path / "results0") == means(tmp_path / "results1")
    assert 49 <= means(tmp_path / "results0")[0] <= 70


@pytest.mark.usefixtures("_registry_as_before")
@pytest.mark.filterwarnings("ignore:.*Overriding environment")
def test_the_scale_of_an_id_is_not_that_of_another_environment_under_it(tmp_path: Path) -> None:
    own = Experiment("own", [Arm("random", horizon=16)], ["CartPole-v1"], 2, 64)
    assert "CartPole-v1" in rlbench.run(own, results_dir=tmp_path, workers=0, progress=False).references
    write(tmp_path / "scaled.py", EXPERIMENT.format(name="CartPole-v1", factor=50, entry_point="Scaled", imports=""))
    scaled = load_experiment(tmp_path / "scaled.py")
    results = rlbench.run(scaled, results_dir=tmp_path, workers=0, progress=False)
    assert "CartPole-v1" not in results.references
    assert results.scores["auc_normalised"].isna().all()
    document, _ = read_specification(tmp_path, "scaled50")
    assert document["environments"][0]["specification"] == make_plan(scaled).cells[0].specification


def test_a_specification_is_the_same_in_every_process() -> None:
    program = (
        "import tests.study.test_environments as t, gymnasium, warnings; warnings.simplefilter('ignore'); found = []\n"
        "for one in t.CHANGES.values():\n"
        "    gymnasium.register(t.NAME, **{'entry_point': t.Bonus, **one})\n"
        "    found.append(t.specification_of(t.bound(t.Environment(t.NAME))))\n"
        "print(found)"
    )
    said = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env).stdout
        for env in ({**os.environ, "PYTHONHASHSEED": seed} for seed in ("1", "2"))
    }
    assert len(said) == 1


@pytest.mark.usefixtures("_registry_as_before")
def test_an_environment_inside_is_a_part_of_what_is_hashed_and_travels(tmp_path: Path) -> None:
    """It is registered in text, and made by id inside of another one."""
    found = []
    for limit in (5, 9):
        write(
            tmp_path / "experiment.py",
            f"""
            import functools
            import gymnasium
            from rlbench import Arm, Experiment

            if "rlbench-test/Inner-v0" not in gymnasium.registry:
                gymnasium.register(
                    "rlbench-test/Inner-v0",
                    entry_point="gymnasium.envs.classic_control:CartPoleEnv",
                    max_episode_steps={limit},
                )
                gymnasium.register("rlbench-test/Outer-v0", functools.partial(gymnasium.make, "rlbench-test/Inner-v0"))
            EXPERIMENT = Experiment("inner", [Arm("random", horizon=16)], ["rlbench-test/Outer-v0"], 2, 64)
            """,
        )
        for name in ("Inner", "Outer"):
            gymnasium.registry.pop(f"rlbench-test/{name}-v0", None)
        plan = make_plan(load_experiment(tmp_path / "experiment.py"))
        assert execute_all([plan], tmp_path / "results", workers=1, progress=False).fine
        found += [cell.id for cell in plan.cells]
    assert len(set(found)) == 4


WRAPPER = """
import gymnasium

class Scaled(gymnasium.RewardWrapper):
    def __init__(self, env, factor=FACTOR):
        super().__init__(env)
        self.factor = factor

    def reward(self, reward):
        return self.factor * reward
"""
WRAPPED = """
from rlbench import Arm, Environment, Experiment

EXPERIMENT = Experiment(
    "wrapped",
    [Arm("ppo-clip", horizon=16, minibatches=1, epochs=1)],
    ["CartPole-v1", Environment("CartPole-v1", wrappers=["TimeAwareObservation", ("scaled_reward:Scaled", {})])],
    seeds=1,
    steps=256,
)
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_wrappers_are_applied_wherever_it_trains_and_belong_to_what_a_run_is(tmp_path: Path, workers: int) -> None:
    ids = []
    for factor in (0.25, 0.5):
        (tmp_path / "scaled_reward.py").write_text(WRAPPER.replace("FACTOR", str(factor)))
        (tmp_path / "file.py").write_text(f"{WRAPPED}# {factor}\n")
        results = rlbench.run(load_experiment(tmp_path / "file.py"), tmp_path / "out", workers=workers, progress=False)
        label = "CartPole-v1 + TimeAwareObservation + scaled_reward:Scaled"
        assert results.environments == ["CartPole-v1", label]
        assert results.runs["status"].tolist() == ["finished"] * 2
        wrapped = results.tables.episodes[results.tables.episodes["cell"] == results.runs["cell"].iloc[1]]
        assert (wrapped["return"] == factor * wrapped["length"]).all()
        assert len(wrapped)
        ids.append(results.runs["cell"].tolist())
    assert (
        ids[0][0]
        == ids[1][0]
        == make_plan(Experiment("x", [Arm("ppo-clip", horizon=16, minibatches=1, epochs=1)], ["CartPole-v1"], 1, 256))
        .cells[0]
        .id
    )
    assert ids[0][1] != ids[1][1]


def test_a_wrapper_that_there_is_not_is_named() -> None:
    for name, said in (
        ("TimeAware", "Did you mean 'TimeAwareObservation'"),
        ("no_module:Wrapper", "cannot be imported"),
    ):
        with pytest.raises(RlbenchError, match=said):
            bound(Environment("CartPole-v1", wrappers=[name]))


class Screen(gymnasium.Env[Any, Any]):
    """Shows an image."""

    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)


def test_images_are_refused_for_a_perceptron_whichever_arm_has_it(tmp_path: Path) -> None:
    class Seeing(registry.load("ppo-clip")):  # type: ignore[misc]
        name = "seeing"

        def network(self, observations: int, outputs: int) -> torch.nn.Module:
            return torch.nn.Linear(observations, outputs + 1)

    gymnasium.registry.pop("Screen-v0", None)
    gymnasium.register("Screen-v0", Screen)
    arms = [Arm(Seeing), "ppo-clip"]
    plans = [make_plan(Experiment(f"e{number}", [arm], ["Screen-v0"], 1, 4096)) for number, arm in enumerate(arms)]
    with pytest.raises(
        RlbenchError, match=r"Screen-v0 shows images of 8 x 8 x 3, and the network of ppo-clip is a perc"
    ):
        execute_all(plans, tmp_path, workers=0, progress=False)


class Boundless(gymnasium.Env[Any, Any]):
    """Takes any number."""

    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)


def test_squashing_what_has_no_bounds_is_refused_before_anything_trains(tmp_path: Path) -> None:
    gymnasium.registry.pop("Boundless-v0", None)
    gymnasium.register("Boundless-v0", Boundless)
    arms = [Arm("ppo-clip", "cut"), Arm("ppo-clip", "squashed", squash=True)]
    plan = make_plan(Experiment("e", arms, ["Pendulum-v1", "Boundless-v0"], 1, 4096))
    with pytest.raises(RlbenchError, match="squashed on Boundless-v0: squash needs actions with bounds"):
        execute_all([plan], tmp_path, workers=0, progress=False)
    assert not list((tmp_path / "store").glob("*/manifest.json"))


def test_the_file_of_a_model_is_part_of_what_a_run_is_known_by(tmp_path: Path) -> None:
    file = tmp_path / "body.xml"
    environment = Environment("Hopper-v5", {"xml_file": str(file)})
    assert specification_of(bound(environment)) == {}  # one that Gymnasium brings, or none
    file.write_text("<mujoco/>", encoding="utf-8")
    first = specification_of(bound(environment))
    file.write_text("<mujoco model='other'/>", encoding="utf-8")
    assert first.keys() == {"xml_file"}
    assert specification_of(bound(environment)) != first
