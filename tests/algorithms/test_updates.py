"""Whole updates: what one step of one algorithm must share with another's, and TRPO's promise."""

from __future__ import annotations

import numpy as np
import pytest
import rlbench.algorithms.trpo
from rlbench.algorithms.actor_critic import ActorCritic
from rlbench.algorithms.ppo_clip import PPOClip
from rlbench.algorithms.random_policy import RandomPolicy
from rlbench.algorithms.trpo import TRPO

from rlbench import Environment
from rlbench.algorithm import Algorithm, configure
from rlbench.errors import RlbenchError
from rlbench.records import RunRecord
from rlbench.training.trainer import train

CARTPOLE, PENDULUM = Environment("CartPole-v1"), Environment("Pendulum-v1")
ONE_STEP = {"horizon": 100, "epochs": 1, "minibatches": 1}


def run(cls: type[Algorithm], settings: dict[str, object], environment: Environment, updates: int) -> RunRecord:
    algorithm = configure(cls, settings, "test")
    (record,) = train([algorithm], environment, updates * algorithm.samples_per_update, [0])
    assert record.status == "finished"
    return record


@pytest.mark.parametrize("environment", [CARTPOLE, PENDULUM], ids=lambda e: e.id)
def test_ppo_clip_with_one_full_batch_step_is_the_policy_gradient(environment: Environment) -> None:
    clipped, plain = (run(cls, ONE_STEP, environment, 5) for cls in (PPOClip, ActorCritic))
    assert np.array_equal(clipped.episodes["return"], plain.episodes["return"])
    for name, column in clipped.updates.items():
        if name not in ("surrogate",):  # measured after the step, where the two objectives differ
            np.testing.assert_array_equal(column, plain.updates[name], err_msg=name)
    assert clipped.updates["kl"].min() > 0


def test_ppo_clip_with_more_epochs_is_not() -> None:
    more = ONE_STEP | {"epochs": 20, "lr": 3e-3}
    clipped, plain = (run(cls, more, CARTPOLE, 3) for cls in (PPOClip, ActorCritic))
    assert clipped.updates["kl"][-1] != plain.updates["kl"][-1]
    assert clipped.updates["clip_killed"].max() > 0
    assert plain.updates["clip_killed"].max() == 0


@pytest.mark.parametrize("environment", [CARTPOLE, PENDULUM], ids=lambda e: e.id)
def test_trpo_keeps_each_replicas_divergence_within_its_delta(environment: Environment) -> None:
    deltas = [0.001, 0.01, 0.05]
    settings = {"horizon": 256, "minibatches": 4, "epochs": 2}
    pack = [configure(TRPO, {**settings, "delta": delta}, "test") for delta in deltas]
    records = train(pack, environment, 12 * 256, [0, 1, 2])
    for delta, record in zip(deltas, records, strict=True):
        kl = record.updates["kl"]
        assert (kl <= delta * (1 + 1e-5)).all()
        # The step length is meant to use the region up, where the search does not have to shrink it far.
        assert np.median(kl) > delta / 5


def test_trpo_improves_the_surrogate_or_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    search = rlbench.algorithms.trpo.backtracking_line_search
    fractions = []

    def recorded(*args: object, **options: object) -> object:
        point, fraction = search(*args, **options)  # type: ignore[arg-type]
        fractions.append(fraction[0, 0].item())
        return point, fraction

    monkeypatch.setattr(rlbench.algorithms.trpo, "backtracking_line_search", recorded)
    settings = {"horizon": 200, "minibatches": 4, "epochs": 1, "delta": 0.3, "backtracks": 1}
    record = run(TRPO, settings, CARTPOLE, 25)
    taken = np.array(fractions) > 0
    assert 0 < taken.sum() < 25  # one try within a wide region fails now and then
    # Standardised advantages have mean zero, so the old surrogate is 0 up to rounding.
    assert (record.updates["surrogate"][taken] > 0).all()
    assert (record.updates["kl"][~taken] == 0).all()
    assert (record.updates["kl"][taken] > 0).all()


def test_trpo_refuses_a_shared_trunk() -> None:
    with pytest.raises(RlbenchError, match="shared_trunk"):
        configure(TRPO, {"shared_trunk": True}, "test")


def test_random_acts_with_zero_parameters() -> None:
    record = run(RandomPolicy, {"horizon": 64}, CARTPOLE, 5)
    np.testing.assert_allclose(record.updates["entropy"], np.log(2), rtol=1e-6)
    assert record.gradient_steps == 0
