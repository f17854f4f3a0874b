"""Does PPO beat REINFORCE? Six algorithms on four control tasks, each with its own learning rate.

About three minutes on two cores. The runs are also those of the lecture's claims 4a to 8
(`lecture/claim_03_algorithms.py`), which asks the same with twenty seeds: in one results folder each run is trained
once. Eight seeds decide the claims here; `rlbench plan` computes how many a claim needs.
"""

from typing import Any

from rlbench import Arm, Claim, Experiment

PPO, PENALTY, ADAPTIVE, TRPO = "PPO-Clip", "PPO-Penalty", "PPO-Adaptive", "TRPO"
REINFORCE, MEAN = "REINFORCE", "REINFORCE, batch mean"

# Each learning rate is the best of six between 1e-4 and 3e-2 on these tasks, seeds 100 to 104 (`lecture_tuning.py`).
TUNED: dict[str, Any] = {"epochs": 10, "entropy_coef": 0.01, "anneal_lr": False}
EFFECT = 0.05  # the smallest difference of interest, of the way from a random policy to the target

EXPERIMENT = Experiment(
    name="ppo-vs-reinforce",
    question="Does PPO beat REINFORCE here, by how much, and how sure is that?",
    design=(
        "REINFORCE learns from whole episodes, with a learned baseline or, as the lecture writes it, with the mean "
        "return of the batch. Each algorithm has the learning rate that was best for it on other seeds, and all have "
        "the same budget of environment steps."
    ),
    arms=[
        Arm("ppo-clip", PPO, **TUNED, lr=3e-3),
        Arm("ppo-penalty", PENALTY, **TUNED, adaptive=True, lr=3e-3),
        Arm("ppo-adaptive", ADAPTIVE, **TUNED, lr=3e-3),
        Arm("trpo", TRPO, anneal_lr=False, lr=1e-2),
        Arm("reinforce", REINFORCE, anneal_lr=False, lr=3e-3),
        Arm("reinforce", MEAN, baseline="mean", anneal_lr=False, lr=3e-3),
    ],
    environments=["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "MountainCarContinuous-v0"],
    seeds=8,
    steps=100_000,
    baseline=REINFORCE,
    claims=[
        Claim(
            "PPO learns faster than REINFORCE with a learned baseline, each with its own learning rate",
            [PPO, REINFORCE],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="4a",
            source="Part 1, “slow learning”",
        ),
        Claim(
            "PPO learns faster than REINFORCE as the lecture writes it, with the mean of the batch as its baseline",
            [PPO, MEAN],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            source="Part 1, “slow learning”",
        ),
        Claim(
            "PPO learns nearly as well as TRPO",
            [PPO, TRPO],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="7a",
            source="Introduction, “nearly as stable”",
        ),
        Claim(
            "PPO is the best of these algorithms: better than REINFORCE and TRPO",
            [PPO, REINFORCE, TRPO],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            source="Introduction, “dominant”",
        ),
    ],
)
