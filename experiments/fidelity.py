"""Do rlbench's PPO, TRPO and A2C learn as Stable-Baselines3's do, at the very same settings?

Both sides of a pair have the settings of Stable-Baselines3 (2.9) and sb3-contrib, written in their own words: one
environment, a constant step size, advantages standardised as there, and the value loss of the same weight (theirs is
(V - target)^2, rlbench's half of it). TRPO's value is fitted without a bound on the gradient, as there. Environments,
initial states and budgets are the same; weights and actions come from other random numbers, so runs are not paired.

Stable-Baselines3's A2C has PyTorch's RMSProp, and so has rlbench's; what TensorFlow's would do is an arm of its own,
about which nothing is claimed.

The margin of equivalence is 0.1 of the way from a random policy to the target, in the area under the curve: a
third of what separates PPO from REINFORCE on small tasks (claim 4a of the lecture). The claims were written before any
run.

It needs `pip install 'rlbench[peers,box2d,mujoco]'`. One core takes about three hours for the three small tasks, nearly
all of it in the peers: `rlbench run experiments/fidelity.py --env CartPole-v1 --env Acrobot-v1 --env Pendulum-v1`.
"""

from typing import Any

from rlbench import Arm, Claim, Experiment

PPO: dict[str, Any] = {"anneal_lr": False, "value_coef": 1.0}
TRPO: dict[str, Any] = {
    "anneal_lr": False,
    "cg_iterations": 15,
    "max_grad_norm": float("inf"),
    "minibatches": 16,
    "value_coef": 2.0,
}
PAIRS = {"PPO": ("ppo-clip", PPO, "sb3-ppo"), "TRPO": ("trpo", TRPO, "sb3-trpo"), "A2C": ("a2c", {}, "sb3-a2c")}
MARGIN = 0.1

EXPERIMENT = Experiment(
    name="fidelity",
    question="Do rlbench's PPO, TRPO and A2C learn as Stable-Baselines3's do at the same settings?",
    design=(
        "Three algorithms, each in rlbench and in Stable-Baselines3 or sb3-contrib, with the settings of the latter; "
        "the same environments, initial states and budgets. Equivalent is what differs by less than 0.1 of the way "
        "from a random policy to the target."
    ),
    arms=[
        arm
        for name, (own, settings, peer) in PAIRS.items()
        for arm in (Arm(own, f"{name}, rlbench", **settings), Arm(peer, f"{name}, SB3"))
    ]
    + [Arm("a2c", "A2C, rmsprop-tf", optimizer="rmsprop-tf")],
    environments=["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "LunarLander-v3", "Hopper-v5"],
    seeds=10,
    steps={"CartPole-v1": 100_000, "Acrobot-v1": 100_000, "Pendulum-v1": 100_000, "LunarLander-v3": 300_000}
    | {"Hopper-v5": 200_000},
    baseline="PPO, SB3",
    claims=[
        Claim(
            f"{name} learns in rlbench as it does in Stable-Baselines3",
            [f"{name}, rlbench", f"{name}, SB3"],
            "equivalent",
            metric="auc_normalised",
            smallest_effect=MARGIN,
            source=f"experiments/fidelity.py: the margin is {MARGIN}",
        )
        for name in PAIRS
    ],
)
