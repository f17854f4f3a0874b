"""No gradient step asks the device for a number, on which the CPU would have to wait.

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
from rlbench.improve.autograd import AutogradProblem
from rlbench.improve.minibatches import Rollout
from rlbench.training.engines import layout
from rlbench.training.noise import Streams

META = torch.device("meta")
REPLICAS, SIZE, OBS = 3, 40, 3
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
        problem: Any = AutogradProblem(
            algorithm, network, actions, params, TensorAdamState.zeros(params, network.policy_size),
            Rollout(torch.empty(*shape, OBS, device=META), drawn.to(META), *numbers, weight),
            lr=torch.empty(REPLICAS, 1, device=META), alive=torch.ones(REPLICAS, dtype=torch.bool, device=META),
            permute=Streams(range(REPLICAS)).permute,
        )  # fmt: skip
        after = first_order(problem, epochs=2, minibatches=2)
        assert (after.device, after.shape) == (META, params.shape)
        with pytest.raises(NotImplementedError, match="no data"):
            problem.meter.mean("value_loss")  # here it would wait, and is not asked before the update ends
