"""No environment step and no gradient step asks the device for a number, on which the CPU would have to wait.

Tensors on the device "meta" have shapes and no numbers: whatever asks for one raises, and so does most of what mixes
devices. So this stands for a GPU where there is none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rlbench import first_order
from rlbench.functional.distributions import family
from rlbench.functional.optimizers import TensorAdamState
from rlbench.functional.torch_networks import ModuleNetwork, TensorActorCritic, TensorNetwork, build_modules
from rlbench.improve.autograd import TensorProblem
from rlbench.improve.minibatches import TensorRollout
from rlbench.records import Environment
from rlbench.training.envs.gymnasium import make_one
from rlbench.training.networks import layout
from rlbench.training.noise import Streams
from rlbench.training.tensor.envs import ResidentBatch
from rlbench.training.tensor.normalize import TensorObservationNormalizer, TensorRewardNormalizer

META = torch.device("meta")
REPLICAS, COPIES, SIZE, OBS = 3, 2, 40, 3
KINDS = {"categorical": (4,), "multicategorical": (2, 3), "gaussian": (2,)}


def networks(algorithm: Any, kind: str) -> list[TensorNetwork]:
    """Return the built-in network and a module, each for R replicas as one batch."""
    actions = family(kind, KINDS[kind])
    outputs = actions.head_size - actions.log_std_size

    def module() -> nn.Module:
        return nn.Sequential(nn.Linear(OBS, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, outputs + 1))

    modules = build_modules([module] * REPLICAS, range(REPLICAS))
    assert modules is not None
    own = ModuleNetwork(modules, OBS, outputs, actions.log_std_size, one_by_one=False)
    return [TensorActorCritic(layout(algorithm, OBS, actions), one_by_one=False), own.to(META)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["ppo-clip", "ppo-penalty", "actor-critic", "reinforce"])
@pytest.mark.parametrize("weighted", [pytest.param(False, marks=pytest.mark.slow), True])
def test_gradient_steps_do_not_wait(weighted: bool, name: str, kind: str, make: Any) -> None:
    # Coefficients that are floats are on no device: what is asked of them once per update can be answered.
    algorithm = make(name, horizon=SIZE, num_envs=1, target_kl=0.01, entropy_coef=0.01, value_clip=0.2, minibatches=1)
    actions = family(kind, KINDS[kind])
    shape = (REPLICAS, SIZE)
    noise = actions.draw_noise(np.random.default_rng(0), shape)
    drawn = torch.from_numpy(actions.sample(np.zeros((*shape, actions.head_size), np.float32), noise))
    for network in networks(algorithm, kind):
        params = torch.empty(REPLICAS, network.size, device=META)
        numbers = [torch.empty(shape, device=META) for _ in range(3)]
        weight = torch.empty(shape, device=META) if weighted else None
        problem: Any = TensorProblem(
            algorithm, network, actions, params, TensorAdamState.zeros(params, network.policy_size),
            TensorRollout(torch.empty(*shape, OBS, device=META), drawn.to(META), *numbers, weight),
            lr=torch.empty(REPLICAS, 1, device=META), alive=torch.ones(REPLICAS, dtype=torch.bool, device=META),
            permute=Streams(range(REPLICAS)).permute,
        )  # fmt: skip
        after = first_order(problem, epochs=2, minibatches=2)
        assert (after.device, after.shape) == (META, params.shape)
        with pytest.raises(NotImplementedError, match="no data"):
            problem.meter.mean("value_loss")  # here it would wait, and is not asked before the update ends


@pytest.mark.parametrize(
    "identifier", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "MountainCar-v0", "MountainCarContinuous-v0"]
)
def test_environment_steps_do_not_wait(identifier: str) -> None:
    envs = ResidentBatch(make_one(Environment(identifier)), REPLICAS, COPIES, META)
    actions = family(envs.action.kind, envs.action.sizes)
    observations = TensorObservationNormalizer(REPLICAS, envs.observation_size, META)
    rewards = TensorRewardNormalizer(COPIES, [0.99] * REPLICAS, META)
    shape = (REPLICAS, COPIES)
    noise = torch.from_numpy(actions.draw_noise(np.random.default_rng(0), shape)).to(META)
    now = envs.reset(range(REPLICAS))
    for _ in range(60):  # fewer than initial states are drawn ahead
        head = torch.empty(*shape, actions.head_size, device=META)
        step = envs.step(actions.sample_tensor(head, noise))
        now = observations.update_and_apply(step.observation)
        scaled = rewards.apply(step.reward, step.terminated | step.truncated)
        assert {one.device for one in (now, scaled, *step)} == {META}
    assert now.shape == (*shape, envs.observation_size)
    for _ in range(3):
        envs.step(actions.sample_tensor(head, noise))
    with pytest.raises(NotImplementedError, match="no data"):  # now it would wait, to draw initial states anew
        envs.step(actions.sample_tensor(head, noise))
