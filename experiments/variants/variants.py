"""Every algorithm that comes with rlbench, at its own defaults, beside PPO-Clip on three small tasks.

The claims are those of the papers that a variant is from: each says that its variant does better than PPO-Clip. They
say so of other tasks, mostly MuJoCo and games, and of budgets ten to a hundred times as large; what is tried here is
whether it holds on small tasks, too. The margin is a twentieth of the way from a random policy to the target. The
claims were written before any run.

Two cores take about half an hour.
"""

from rlbench import Claim, Experiment

TASKS = ["CartPole-v1", "Acrobot-v1", "Pendulum-v1"]
PAPERS = {
    "espo": "Sun et al. 2022, You May Not Need Ratio Clipping in PPO",
    "ppo-clip-higher": "Yu et al. 2025, DAPO",
    "ppo-dual-clip": "Ye et al. 2020, Mastering Complex Control in MOBA Games with Deep Reinforcement Learning",
    "ppo-rollback": "Wang et al. 2020, Truly Proximal Policy Optimization",
    "rpo": "Rahman and Xue 2022, Robust Policy Optimization",
    "spo": "Xie et al. 2025, Simple Policy Optimization",
    "truly-ppo": "Wang et al. 2020, Truly Proximal Policy Optimization",
}
OTHERS = ["ppo-clip", "ppo-penalty", "ppo-adaptive", "trpo", "reinforce", "a2c", "actor-critic", "grpo"]
OTHERS += ["ppo-early-stop", "ppo-vtrace", "random"]

EXPERIMENT = Experiment(
    name="variants",
    question="Does a successor of PPO-Clip learn better on small tasks, as its paper says of larger ones?",
    design=(
        "Every algorithm at its own defaults, which were not searched for here, with the same budget and ten seeds on "
        "each of three tasks. A claim is of the mean of the normalised return over training on the three."
    ),
    arms=[*OTHERS, *PAPERS],
    environments=TASKS,
    seeds=10,
    steps=100_000,
    baseline="ppo-clip",
    claims=[
        Claim(
            f"{name} learns better than PPO-Clip",
            [name, "ppo-clip"],
            "greater",
            smallest_effect=0.05,
            over="mean",
            source=source,
        )
        for name, source in PAPERS.items()
    ],
)
