"""On a GPU: every algorithm's first update is the CPU's to rounding; hundreds of replicas; any network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rlbench import Environment, registry
from rlbench.records import RunRecord
from rlbench.training.engines import AutogradTraining, describe, resolve
from rlbench.training.trainer import train

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")
NAMES = ["actor-critic", "ppo-clip", "ppo-penalty", "ppo-adaptive", "reinforce", "trpo", "random"]
CLIP = registry.load("ppo-clip")


class Own(CLIP):  # type: ignore[misc,valid-type]
    name = "test-own-on-gpu"

    def network(self, observations: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(observations, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, outputs + 1))


def first_updates_agree(ours: list[RunRecord], theirs: list[RunRecord]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert (one.status, one.gradient_steps, one.samples) == (other.status, other.gradient_steps, other.samples)
        assert list(one.updates) == list(other.updates)
        for name, values in other.updates.items():
            np.testing.assert_allclose(one.updates[name][0], values[0], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("identifier", ["CartPole-v1", "Pendulum-v1", "rlbench-train/MultiDiscrete-v0"])
@pytest.mark.parametrize("name", NAMES)
def test_the_first_update_of_every_algorithm_is_the_cpus(
    name: str, identifier: str, make: Any, train_tensor: Any
) -> None:
    pack = [make(name, lr=lr) for lr in (1e-3, 3e-4)]
    on_gpu = train_tensor(pack, identifier, 3, [3, 4], CUDA)
    assert [record.status for record in on_gpu] == ["finished", "finished"]
    first_updates_agree(on_gpu, train_tensor(pack, identifier, 3, [3, 4]))


def test_200_replicas_of_cartpole_train_in_one_pack() -> None:
    algorithm = CLIP(horizon=128, num_envs=4, minibatches=4, epochs=4, lr=2.5e-3)
    records = train([algorithm] * 200, Environment("CartPole-v1"), 40 * 512, range(200), device="cuda")
    assert {record.status for record in records} == {"finished"}
    last = [record.episodes["return"][-10:].mean() for record in records]
    assert np.mean(last) > 60  # an untrained policy reaches about 22


@pytest.mark.parametrize("identifier", ["CartPole-v1", "Pendulum-v1"])
def test_a_module_trains_as_on_the_cpu(identifier: str, make: Any, train_tensor: Any) -> None:
    pack = [make(Own)] * 3
    on_gpu = train_tensor(pack, identifier, 3, [3, 4, 5], CUDA)
    first_updates_agree(on_gpu, train_tensor(pack, identifier, 3, [3, 4, 5]))


def test_a_replica_that_diverges_leaves_the_others_alone(make: Any, train_tensor: Any) -> None:
    pack = [make(), make(lr=1e30, max_grad_norm=float("inf"))]
    records = train_tensor(pack, "CartPole-v1", 3, [3, 4], CUDA)
    assert [record.status for record in records] == ["finished", "diverged"]


def test_gradient_steps_do_not_wait_for_the_gpu(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = [make(target_kl=0.01, entropy_coef=0.01)] * 3
    loop = AutogradTraining(pack, Environment("CartPole-v1"), 100, [3, 4, 5], CUDA)
    experience = loop.collect(50)
    waited: list[str] = []

    def watched(self: Any, problem: Any) -> torch.Tensor:
        batches = problem.minibatches(epochs=2, count=5)
        batch, params = next(batches), problem.params.clone()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(3):
                _, grad, _ = problem.gradient(params, batch, entropy=True, value=True, active=problem.alive)
                problem.ascend(params, grad, problem.alive & problem.usable(batch))
        except RuntimeError as error:
            waited.append(str(error))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return params

    monkeypatch.setattr(CLIP, "improve", watched)
    loop.update(experience, np.full(3, np.nan), 0.0)
    assert waited == []


def test_the_device_is_found_and_named() -> None:
    assert resolve("cuda") == "cuda"
    assert describe("cuda").startswith("cuda (")
