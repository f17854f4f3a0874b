"""Made-up runs that look like real ones, CartPole-like and Acrobot-like, in the tables of the store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rlbench.store import Tables

ARMS = ("reinforce", "trpo", "ppo-clip", "ppo-penalty", "ppo-adaptive")
ENVIRONMENTS = ("CartPole-v1", "Acrobot-v1")
BASELINE = "reinforce"

# arm -> (share of the budget at half of the improvement, its spread between seeds, final level)
LEARNING = {
    "random": (9.0, 0.0, 0.0),
    "reinforce": (0.55, 0.25, 0.80),
    "actor-critic": (0.45, 0.25, 0.70),
    "trpo": (0.32, 0.15, 0.92),
    "ppo-clip": (0.25, 0.12, 0.98),
    "ppo-penalty": (0.28, 0.18, 0.96),
    "ppo-adaptive": (0.30, 0.20, 0.95),
}
NUM_ENVS = 8
UPDATES = 40


def identity(arm: str, environment: str, seed: int) -> str:
    """Return a cell id that depends on nothing else."""
    return hashlib.sha256(f"{arm}|{environment}|{seed}".encode()).hexdigest()[:32]


def make_tables(
    arms: Sequence[str] = ARMS,
    environments: Sequence[str] = ENVIRONMENTS,
    seeds: int = 10,
    steps: int = 40_000,
    outcomes: Mapping[tuple[str, str, int], str] | None = None,
) -> Tables:
    """Return the tables of arms x environments x seeds; `outcomes` says which did not finish."""
    runs: list[dict[str, Any]] = []
    episodes: list[pd.DataFrame] = []
    updates: list[pd.DataFrame] = []
    for arm in arms:
        for environment in environments:
            for seed in range(seeds):
                cell = identity(arm, environment, seed)
                status = (outcomes or {}).get((arm, environment, seed), "finished")
                rng = np.random.default_rng(int(cell[:12], 16))
                done = {"finished": steps, "missing": 0}.get(status, int(steps * rng.uniform(0.1, 0.7)))
                runs.append(_run(cell, arm, environment, seed, steps, status, done))
                if status != "missing":
                    episodes.append(_episodes(cell, arm, environment, steps, done, rng))
                    updates.append(_updates(cell, arm, steps, done, rng))
    empty = pd.DataFrame({"cell": [], "step": [], "return": [], "length": []})
    return Tables(
        pd.DataFrame(runs),
        pd.concat(episodes, ignore_index=True) if episodes else empty,
        pd.concat(updates, ignore_index=True) if updates else empty[["cell", "step"]],
    )


def troubled_outcomes(seeds: int = 10) -> dict[tuple[str, str, int], str]:
    """Return outcomes with every way of not finishing in it."""
    return {
        ("ppo-adaptive", "CartPole-v1", 3): "diverged",
        ("ppo-adaptive", "Acrobot-v1", 1): "diverged",
        ("trpo", "Acrobot-v1", 0): "failed",
        ("reinforce", "CartPole-v1", seeds - 1): "missing",
    }


def experiment_document(
    arms: Sequence[str] = ARMS,
    environments: Sequence[str] = ENVIRONMENTS,
    baseline: str | None = BASELINE,
    seeds: int = 10,
    steps: int = 40_000,
) -> dict[str, Any]:
    """Return the JSON document of the experiment that `make_tables` pretends to have run."""
    return {
        "name": "ppo-vs-reinforce",
        "question": "Does PPO beat REINFORCE here, by how much, and how sure are we?",
        "arms": [
            {
                "label": arm,
                "algorithm": arm.split(" ")[0],
                "settings": {"gamma": 0.99, "lr": 0.0003, "num_envs": NUM_ENVS, "hidden": [64, 64]},
            }
            for arm in arms
        ],
        "environments": [{"id": environment, "options": {}} for environment in environments],
        "steps": dict.fromkeys(environments, steps),
        "seeds": list(range(seeds)),
        "baseline": baseline,
    }


def _run(cell: str, arm: str, environment: str, seed: int, steps: int, status: str, done: int) -> dict[str, Any]:
    reasons = {
        "finished": "",
        "missing": "not run yet",
        "diverged": f"the policy loss became NaN in step {done}",
        "failed": f"the environment raised ZeroDivisionError in step {done}",
    }
    ran = status != "missing"
    return {
        "cell": cell,
        "arm": arm,
        "algorithm": arm.split(" ")[0],
        "environment": environment,
        "seed": seed,
        "steps": steps,
        "fingerprint": "f" * 8,
        "status": status,
        "reason": reasons[status],
        "detail": "Traceback (most recent call last):\n  <motor> & co\nZeroDivisionError" if status == "failed" else "",
        "attempts": 3 if status == "failed" else 1,
        "steps_done": done,
        "gradient_steps": done // 64,
        "samples": done * 10,
        "seconds": done / 20_000,
        "commit": "0123456789abcdef" if ran else "",
        "dirty": False,
        "device": "cpu" if ran else "",
    }


def _competence(arm: str, progress: Any, rng: np.random.Generator) -> Any:
    """Return how well a run does, 0 like random and 1 solved, at each share of the budget."""
    half, spread, level = LEARNING.get(arm.split(" ")[0], LEARNING["ppo-clip"])
    middle = half * np.exp(spread * rng.normal())
    steepness = rng.uniform(9, 16)
    level = min(1.0, level * (1 - 0.1 * abs(rng.normal())))
    return level / (1 + np.exp(-steepness * (progress - middle)))


def _episodes(cell: str, arm: str, environment: str, steps: int, done: int, rng: np.random.Generator) -> pd.DataFrame:
    curve = _competence(arm, np.linspace(0, 1, 1001), rng)
    noise = rng.gamma(6.0, 1 / 6.0, size=steps)
    clock = np.zeros(NUM_ENVS, np.int64)  # environment steps of each copy
    rows: list[tuple[int, float, int]] = []
    acrobot = environment.startswith("Acrobot")
    while True:
        copy = len(rows) % NUM_ENVS
        skill = curve[min(1000, int(1000 * clock[copy] * NUM_ENVS / steps))]
        mean = 720 - 640 * skill if acrobot else 22 + 560 * skill
        length = int(np.clip(mean * noise[len(rows)], 9, 500))
        clock[copy] += length
        if clock[copy] * NUM_ENVS > done:
            break
        rows.append((int(clock[copy]) * NUM_ENVS, -length if acrobot else length, length))
    step, score, lengths = zip(*sorted(rows), strict=True) if rows else ((), (), ())
    return pd.DataFrame(
        {
            "cell": cell,
            "step": np.array(step, np.int64),
            "return": np.array(score, np.float64),
            "length": np.array(lengths, np.int64),
        }
    )


def _updates(cell: str, arm: str, steps: int, done: int, rng: np.random.Generator) -> pd.DataFrame:
    step = np.arange(1, UPDATES + 1) * (steps // UPDATES)
    step = step[step <= done]
    progress = step / steps
    n = len(step)
    clips = arm.startswith(("ppo-clip", "ppo-adaptive"))
    kl = 0.012 * rng.gamma(4, 0.25, n) * (0.1 if arm.startswith("reinforce") else 1.0)
    table = {
        "step": step,
        "progress": progress,
        "kl": kl,
        "kl_max": kl * 2,
        "clip_fraction": np.clip(0.15 * rng.gamma(4, 0.25, n), 0, 1) if clips else np.full(n, np.nan),
        "entropy": 0.69 * np.exp(-1.5 * progress) + 0.02 * rng.normal(size=n),
        "explained_variance": 1 - np.exp(-4 * progress) + 0.08 * rng.normal(size=n),
        "grad_norm": 0.3 + 0.5 * rng.gamma(3, 0.33, n) * np.exp(-progress),
        "gradient_steps": np.arange(1, n + 1) * 40,
    }
    return pd.DataFrame({"cell": cell, **table})
