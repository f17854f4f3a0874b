"""A policy by itself: it acts in a plain environment of Gymnasium, for every kind of space, as it did in training."""

from __future__ import annotations

import importlib.util
import json
import pickle
import zipfile
from io import BytesIO
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rlbench import Algorithm, Environment
from rlbench.algorithm import configure
from rlbench.data import ObservationSize
from rlbench.errors import RlbenchError
from rlbench.files import pack, unpack
from rlbench.records import Evaluation, RunRecord
from rlbench.training.engines import Training
from rlbench.training.envs.normalize import standardised
from rlbench.training.policy import Policy
from rlbench.training.trainer import train
from tests.training.small import make


class OwnNetwork(Algorithm):
    """Policy gradient with a network of its own, which has a constant and a frozen parameter."""

    name = "own-network"

    def surrogate(self, x: Any) -> torch.Tensor:
        surrogate: torch.Tensor = x.ratio * x.advantage
        return surrogate

    def network(self, observations: ObservationSize, outputs: int) -> nn.Module:
        return Own(observations, outputs)


class Own(nn.Module):
    def __init__(self, observations: int, outputs: int) -> None:
        super().__init__()
        self.policy, self.value = nn.Linear(observations, outputs), nn.Linear(observations, 1)
        self.register_buffer("order", torch.arange(observations))
        self.log_std = nn.Parameter(torch.full((observations,), 0.5), requires_grad=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x[:, self.order] * self.log_std
        return self.policy(x), self.value(x)


def test_constants_of_a_network_of_ones_own_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    _, policy = trained("CartPole-v1", own=True)
    seen = observations("CartPole-v1", 5)
    monkeypatch.setattr(torch, "arange", lambda size: torch.tensor([*range(size)][::-1]))  # the module is built anew
    np.testing.assert_array_equal(policy.at(policy.steps[-1])(seen), policy(seen))
    np.testing.assert_array_equal(policy.at(policy.steps[-1]).value(seen), policy.value(seen))


def find(name: str) -> type[Algorithm]:
    assert name == "own-network"
    return OwnNetwork


def trained(environment: str, seed: int = 0, **fields: Any) -> tuple[RunRecord, Policy]:
    own = fields.pop("own", False)
    small = {"horizon": 50, "num_envs": 2, "minibatches": 5, "epochs": 2}
    algorithm = configure(OwnNetwork, small, "test") if own else make("ppo-clip", **fields)
    (record,) = train([algorithm], Environment(environment), 300, [seed])
    assert record.policy is not None
    return record, Policy(record.policy, find)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "discrete": ("CartPole-v1", {}),
    "box with bounds": ("Pendulum-v1", {}),
    "box of three": ("rlbench-train/Box-v0", {}),
    "multi-discrete": ("rlbench-train/MultiDiscrete-v0", {}),
    "multi-binary": ("rlbench-train/MultiBinary-v0", {}),
    "discrete observations": ("rlbench-train/DiscreteObservation-v0", {}),
    "normalised": ("Pendulum-v1", {"normalize_observation": True}),
    "squashed": ("Pendulum-v1", {"squash": True, "initial_log_std": 1.0}),
    "squashed, box of three": ("rlbench-train/Box-v0", {"squash": True}),
    "shared trunk": ("CartPole-v1", {"shared_trunk": True}),
    "shared trunk, continuous, relu": ("Pendulum-v1", {"shared_trunk": True, "activation": "relu"}),
    "own network": ("CartPole-v1", {"own": True}),
    "own network, continuous": ("Pendulum-v1", {"own": True}),
}


@pytest.fixture(params=CASES, name="case")
def _case(request: pytest.FixtureRequest) -> tuple[str, Policy]:
    environment, fields = CASES[request.param]
    return environment, trained(environment, **fields)[1]


def observations(environment: str, many: int) -> np.ndarray[Any, Any]:
    env = gymnasium.make(environment)
    env.action_space.seed(0)
    seen = [env.reset(seed=1)[0]]
    while len(seen) < many:
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        seen.append(env.reset()[0] if terminated or truncated else observation)
    return np.stack(seen)


@pytest.mark.parametrize("deterministic", [True, False])
def test_it_steps_a_plain_environment(case: tuple[str, Policy], deterministic: bool) -> None:
    environment, policy = case
    env = gymnasium.make(environment)
    observation, _ = env.reset(seed=3)
    for _ in range(30):
        action = policy(observation, deterministic=deterministic)
        assert env.action_space.contains(action), (action, env.action_space)
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()


def test_an_observation_gives_the_same_action_alone_and_in_a_batch(case: tuple[str, Policy]) -> None:
    environment, policy = case
    seen = observations(environment, 23)
    together = policy(seen)
    alone = np.stack([policy(one) for one in seen])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(policy.value(seen), [policy.value(one) for one in seen])
    np.testing.assert_array_equal(policy(seen[None, :6]), together[None, :6])


def test_what_is_drawn_comes_from_its_own_generator_and_from_its_distribution(case: tuple[str, Policy]) -> None:
    environment, policy = case
    one = observations(environment, 5)[4]
    many = np.repeat(one[None], 4000, axis=0)
    state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    policy.generator = np.random.default_rng(5)
    drawn = policy(many, deterministic=False)
    policy.generator = np.random.default_rng(5)
    np.testing.assert_array_equal(policy(many, deterministic=False), drawn)
    assert np.array_equal(state[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(state[1], torch.get_rng_state())
    if policy.action.kind == "categorical":
        shares = np.bincount(drawn - policy.action.start, minlength=policy.action.sizes[0]) / len(many)
        np.testing.assert_allclose(shares, policy.distribution(one).log_probs.exp(), atol=0.04)  # type: ignore[attr-defined]


def test_the_most_likely_action_is_the_deterministic_one(case: tuple[str, Policy]) -> None:
    environment, policy = case
    seen = observations(environment, 7)
    distribution = policy.distribution(seen)
    if policy.action.kind == "squashed":  # of which the mean before it is squashed becomes the median, not the mode
        np.testing.assert_array_equal(policy(seen), policy.action.to_environment(distribution.mean.numpy()))
        return
    learner = policy.act(policy.observe(seen, (7,)), np.zeros((7, policy.family.noise_size), np.float32))
    best = distribution.log_prob(torch.from_numpy(learner))
    policy.generator = np.random.default_rng(0)
    for _ in range(40):
        noise = policy.family.draw_noise(policy.generator, (7,))
        other = policy.act(policy.observe(seen, (7,)), noise)
        assert (distribution.log_prob(torch.from_numpy(other)) <= best + 1e-5).all()


def test_the_module_is_an_ordinary_one_with_the_same_numbers(case: tuple[str, Policy]) -> None:
    environment, policy = case
    seen = observations(environment, 9)
    module = policy.module()
    assert isinstance(module, nn.Module)
    head, value = module(torch.from_numpy(seen))
    ours, values = policy.evaluate(policy.observe(seen, (9,)))
    np.testing.assert_allclose(head.detach().numpy(), ours, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(value.detach().numpy(), values, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(module.act(torch.from_numpy(seen)).detach().numpy(), policy(seen), rtol=1e-4, atol=1e-5)
    again = policy.module()
    again.load_state_dict(module.state_dict())
    with torch.no_grad():
        next(iter(module.parameters())).add_(1.0)
    np.testing.assert_array_equal(policy.evaluate(policy.observe(seen, (9,)))[0], ours)  # a copy


def test_a_policy_acts_as_the_training_would_have_gone_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heads and values of a policy are those of the training's own network, its statistics included."""
    kept: list[Training] = []
    record = Training.record

    def noting(self: Training, replica: int) -> RunRecord:
        kept.append(self)
        return record(self, replica)

    monkeypatch.setattr(Training, "record", noting)
    for fields in ({}, {"normalize_observation": True}, {"shared_trunk": True}):
        _, policy = trained("Pendulum-v1", **fields)
        loop = kept[-1]
        seen = observations("Pendulum-v1", 1)
        x = seen
        if policy.statistics:
            normalizer = loop.collector._observations
            assert normalizer is not None
            x = standardised(seen, normalizer.moments.mean, normalizer.moments.scale())
        out = loop.network.forward(loop.params, x[None])
        head, value = policy.evaluate(seen)
        np.testing.assert_array_equal(head, out.head[0])
        np.testing.assert_array_equal(value, out.value[0])


def test_what_does_not_fit_is_one_sentence() -> None:
    _, policy = trained("CartPole-v1")
    with pytest.raises(RlbenchError, match=r"of CartPole-v1 has the shape \(4,\), not \(3,\)"):
        policy(np.zeros(3))
    with pytest.raises(RlbenchError, match="kept after 300 steps, not after 7"):
        policy.at(7)
    record, _ = trained("CartPole-v1", own=True)
    with pytest.raises(RlbenchError, match="network of its own, which only own-network can build"):
        Policy(record.policy or b"")
    with pytest.raises(RlbenchError, match="not the algorithm that was trained: network"):
        Policy(record.policy or b"", lambda _: type(make("ppo-clip")))


ONNX = ("discrete", "own network, continuous")  # of which the usual tests write ONNX, which takes seconds


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=[] if name in ONNX else pytest.mark.slow) for name in CASES], indirect=True
)
def test_onnx_says_what_to_install_or_gives_the_same_actions(case: tuple[str, Policy], tmp_path: Any) -> None:
    environment, policy = case
    path = tmp_path / "policy.onnx"
    if importlib.util.find_spec("onnxscript") is None:
        with pytest.raises(RlbenchError, match=r"pip install 'rlbench\[onnx\]'"):
            policy.to_onnx(path)
        return
    policy.to_onnx(path)
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path))
    for many in (1, 9):
        seen = observations(environment, many)
        action, head, value = session.run(None, {"observation": seen})
        ours, values = policy.evaluate(policy.observe(seen, (many,)))
        np.testing.assert_allclose(head, ours, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(value, values, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(action, policy(seen), rtol=1e-4, atol=1e-5)


# What a file may say


@pytest.fixture(scope="module", name="data")
def _data() -> bytes:
    (record,) = train([make("ppo-clip")], Environment("CartPole-v1"), 300, [0])
    assert record.policy is not None
    return record.policy


def test_a_file_never_runs_code(data: bytes) -> None:
    """A pickle among the arrays is refused, and nothing of it runs."""
    header, arrays = unpack(data)
    evil = np.array([Evil()], dtype=object)
    buffer = BytesIO()
    named = {**arrays, "policy.0.weight": evil, "header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    np.savez(buffer, **named)
    Evil.ran = False
    with pytest.raises(ValueError, match="no file of arrays"):
        Policy(buffer.getvalue())
    for text in (pickle.dumps(Evil()), b"", b"PK", data[:-100]):
        with pytest.raises(ValueError, match="no file of arrays"):
            Policy(text)
    assert not Evil.ran


class Evil:
    ran = False

    def __reduce__(self) -> Any:
        return setattr, (Evil, "ran", True)


@pytest.mark.parametrize("members", [1, 1000])
def test_a_file_does_not_unpack_to_more_than_it_is(members: int) -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in range(members):
            archive.writestr(f"policy.{member}.weight.npy", bytes(50_000_000 // members))
    assert 50_000_000 // members < len(buffer.getvalue()) < 500_000 or members == 1
    with pytest.raises(ValueError, match="no file of arrays"):
        Policy(buffer.getvalue())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_acts(data: bytes, draw: st.DataObject) -> None:
    """Whatever header and arrays say: a ValueError or a sentence, or a policy whose actions are some."""
    header, arrays = unpack(data)
    values = st.one_of(
        *(st.none(), st.booleans(), st.integers(-5, 2**40), st.floats(allow_nan=True), st.text(max_size=3)),
        *(st.lists(st.integers(-3, 70), max_size=3), st.just({}), st.just({"n": 3})),
    )
    for _ in range(draw.draw(st.integers(1, 3))):
        if draw.draw(st.booleans()):
            place: Any = header
            keys = [*place]
            while keys and isinstance(place, dict):
                key = draw.draw(st.sampled_from(sorted(keys)))
                if isinstance(place[key], dict) and place[key] and draw.draw(st.booleans()):
                    place, keys = place[key], [*place[key]]
                    continue
                place[key] = draw.draw(values)
                break
        else:
            name = draw.draw(st.sampled_from(sorted(arrays)))
            change = draw.draw(st.sampled_from(["gone", "short", "flat", "double", "empty", "text", "nan"]))
            array = arrays.pop(name)
            changed = {
                "short": lambda a=array: a[..., :-1] if a.ndim else a,
                "flat": lambda a=array: a.ravel(),
                "double": lambda a=array: a.astype(np.float64),
                "empty": lambda a=array: a[:0] if a.ndim else a,
                "text": lambda a=array: a.astype(str),
                "nan": lambda a=array: np.full_like(a, np.nan) if a.dtype.kind == "f" else a,
            }
            if change != "gone":
                arrays[name] = changed[change]()
            if not arrays:
                break
    try:
        policy = Policy(bytes(pack(header, arrays)))
        policy(np.zeros((2, 4), np.float32))
    except (ValueError, RlbenchError):
        pass


def test_moments_of_the_training_are_kept_where_that_is_asked_for() -> None:
    for fields in ({}, {"normalize_observation": True}):
        how: dict[str, Any] = {"evaluation": Evaluation(100, 1)}
        algorithm = make("ppo-clip", **fields)
        (record,), (long,) = (
            train([algorithm], Environment("Pendulum-v1"), steps, [0], snapshots=True, **how) for steps in (300, 450)
        )
        policy = Policy(record.policy or b"")
        assert policy.steps == [100, 200, 300]
        assert Policy(long.policy or b"").steps == [100, 200, 300, 400, 450]
        (only,) = train([algorithm], Environment("Pendulum-v1"), 300, [0], **how)
        final = Policy(only.policy or b"")
        assert final.steps == [300]
        seen = observations("Pendulum-v1", 3)
        np.testing.assert_array_equal(policy(seen), final(seen))
        first = policy.at(100)
        assert repr(first) == "<Policy of ppo-clip on Pendulum-v1, after 100 steps>"
        assert not np.array_equal(first(seen), final(seen))
        np.testing.assert_array_equal(policy.at(300)(seen), final(seen))


def test_spaces_with_a_first_category_come_back() -> None:
    gymnasium.register("rlbench-train/From-v0", entry_point=From, max_episode_steps=11)
    _, policy = trained("rlbench-train/From-v0")
    env = gymnasium.make("rlbench-train/From-v0")
    observation, _ = env.reset(seed=0)
    assert env.action_space.contains(policy(observation))
    assert env.observation_space.contains(observation)
    module = policy.module()
    assert int(module.act(torch.tensor([observation]))[0]) == policy(observation)


class From(gymnasium.Env[Any, Any]):
    observation_space = spaces.Discrete(4, start=-2)
    action_space = spaces.Discrete(3, start=5)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.start + int(self.np_random.integers(4)), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        return self.observation_space.start + int(self.np_random.integers(4)), float(action == 6), False, False, {}
