"""The defaults are those of the papers that each file names, and ranges end where the formulas do."""

from __future__ import annotations

import pytest
from rlbench.algorithms.actor_critic import ActorCritic
from rlbench.algorithms.ppo_adaptive import PPOAdaptive
from rlbench.algorithms.ppo_clip import PPOClip
from rlbench.algorithms.ppo_penalty import PPOPenalty
from rlbench.algorithms.random_policy import RandomPolicy
from rlbench.algorithms.reinforce import Reinforce
from rlbench.algorithms.trpo import TRPO

from rlbench.algorithm import Algorithm
from rlbench.fields import fields_of

CLIP = {"clip": (0.2, 0, None)}
# Field by field: default, smallest and largest value that is allowed.
OWN = {
    ActorCritic: {},
    PPOClip: CLIP,
    PPOAdaptive: {**CLIP, "kl_target": (0.01, 0, None), "min_clip": (0.05, 0, None), "max_clip": (0.5, 0, None)},
    PPOPenalty: {
        "beta": (1.0, 0, None),
        "adaptive": (False, None, None),
        "kl_target": (0.01, 0, None),
        "min_beta": (1e-4, 0, None),
        "max_beta": (1e4, 0, None),
    },
    TRPO: {
        "lr": (1e-3, 0, None),
        "delta": (0.01, 0, None),
        "damping": (0.1, 0, None),
        "normalize_advantage": ("batch", None, None),
        "cg_iterations": (10, 1, None),
        "backtracks": (10, 1, None),
        "shrink": (0.8, 0, 1),
    },
    Reinforce: {
        "lr": (1e-2, 0, None),
        "horizon": (1024, 1, None),
        "epochs": (1, 1, None),
        "minibatches": (1, 1, None),
        "normalize_advantage": ("batch", None, None),
        "baseline": ("value", None, None),
        "value_epochs": (10, 1, None),
        "value_minibatches": (16, 1, None),
    },
    RandomPolicy: {"horizon": (128, 1, None), "epochs": (1, 1, None), "minibatches": (1, 1, None)},
}


@pytest.mark.parametrize("cls", OWN, ids=lambda cls: cls.name)
def test_what_an_algorithm_declares_itself(cls: type[Algorithm]) -> None:
    inherited, declared = fields_of(Algorithm), fields_of(cls)
    own = {name: (one.default, one.low, one.high) for name, one in declared.items() if one != inherited.get(name)}
    assert own == OWN[cls]
    assert (cls.learns, cls.is_policy_gradient) == ((cls is not RandomPolicy,) * 2)
