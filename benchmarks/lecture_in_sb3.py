"""Train two surprising settings of the lecture's PPO with Stable-Baselines3, an independent check of claims 24d, 25c.

    python -m benchmarks.lecture_in_sb3 > results/benchmarks/lecture_in_sb3.csv

Five seeds on CartPole-v1 and Acrobot-v1, 100,000 steps: the lecture's learning rate against ten times as much, and its
4 epochs against 20. `auc` is the mean of the training return, interpolated between the ends of episodes, at every
thousandth step; `normalised` is 0 for a random policy and 1 for the task's target, as rlbench has them. Half an hour on
one core.
"""

from __future__ import annotations

import csv
import sys

import numpy as np

from rlbench.analysis.scores.scores import reference

STEPS = 100_000
SETTINGS = ((3e-4, 4), (3e-3, 4), (3e-4, 20))  # learning rate, epochs


def area(environment: str, lr: float, epochs: int, seed: int) -> float:
    """Return the area under the learning curve of one run."""
    import gymnasium
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.monitor import Monitor

    torch.set_num_threads(1)
    env = Monitor(gymnasium.make(environment))
    model = PPO(
        "MlpPolicy",
        env,
        learning_rate=lr,
        n_steps=2048,
        batch_size=64,
        n_epochs=epochs,
        ent_coef=0.01,
        vf_coef=0.5,
        seed=seed,
        device="cpu",
    )
    model.learn(STEPS)
    ends = np.cumsum(env.get_episode_lengths())
    return float(np.interp(np.linspace(1000, STEPS, 100), ends, env.get_episode_rewards()).mean())


def main() -> None:
    """Train all and print a row per run."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["environment", "lr", "epochs", "seed", "auc", "normalised"])
    for seed in range(5):
        for environment in ("CartPole-v1", "Acrobot-v1"):
            scale = reference(environment)
            assert scale is not None
            for lr, epochs in SETTINGS:
                auc = area(environment, lr, epochs, seed)
                share = (auc - scale.random) / (scale.target - scale.random)
                table.writerow([environment, lr, epochs, seed, auc, share])
                sys.stdout.flush()


if __name__ == "__main__":
    main()
