"""Every algorithm that comes with rlbench, at its own defaults, beside PPO-Clip on three small tasks.

The claims are those of papers that compare their variant with PPO-Clip and find it better. They do so on other tasks,
mostly MuJoCo and Atari, with larger budgets; what is tried here is whether it holds on small tasks, too. Of clip-higher
and dual clip nothing is claimed: their papers are about language models and a game, and compare with other things. RPO
differs from PPO-Clip where actions are real numbers, so its claim is of Pendulum alone. The margin is a twentieth of
the way from a random policy to the target. The claims were written before any run.

Two cores take about half an hour.
"""

from rlbench import Claim, Experiment

TASKS = ["CartPole-v1", "Acrobot-v1", "Pendulum-v1"]
PAPERS = {
    "espo": "Sun et al. 2022, You May Not Need Ratio Clipping in PPO",
    "ppo-rollback": "Wang et al. 2020, Truly Proximal Policy Optimization",
    "rpo": "Rahman and Xue 2022, Robust Policy Optimization",
    "spo": "Xie et al. 2025, Simple Policy Optimization",
    "truly-ppo": "Wang et al. 2020, Truly Proximal Policy Optimization",
}
OTHERS = ["ppo-clip", "ppo-penalty", "ppo-adaptive", "trpo", "reinforce", "a2c", "actor-critic", "grpo"]
OTHERS += ["ppo-clip-higher", "ppo-dual-clip", "ppo-early-stop", "ppo-vtrace", "random"]

EXPERIMENT = Experiment(
    name="variants",
    question="Does a successor of PPO-Clip learn better on small tasks, as its paper says of larger ones?",
    design=(
        "Every algorithm at its own defaults, which were not searched for here, with the same budget and ten seeds on "
        "each of three tasks. A claim is of the mean of the normalised return over training."
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
            environments=TASKS[2:] if name == "rpo" else TASKS,
            id=name,
            source=source,
        )
        for name, source in PAPERS.items()
    ],
)
