"""Train Stable-Baselines3's PPO once on one core and print the seconds of its `learn`; run as a program.

Arguments: a JSON object with `environment`, `num_envs`, `horizon`, `minibatch`, `epochs`, `steps`, `seed`. The networks
are its default, two of 64 x 64 tanh units, as in rlbench.
"""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    """Train and print."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    asked = json.loads(sys.argv[1])
    envs = make_vec_env(asked["environment"], n_envs=asked["num_envs"], seed=asked["seed"])
    model = PPO(
        "MlpPolicy",
        envs,
        n_steps=asked["horizon"],
        batch_size=asked["minibatch"],
        n_epochs=asked["epochs"],
        seed=asked["seed"],
        device="cpu",
    )
    started = time.perf_counter()
    model.learn(asked["steps"])
    print(json.dumps({"seconds": time.perf_counter() - started, "steps": model.num_timesteps}))


if __name__ == "__main__":
    main()
