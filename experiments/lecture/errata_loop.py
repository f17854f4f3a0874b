"""Errors of the listing's loop over episodes, shown around a random policy on CartPole-v1."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import gymnasium
import numpy as np
from rlbench.algorithms.ppo_clip import PPOClip

from lecture_bench import SEED, trained
from rlbench import Erratum
from variants_listing import Listing

LISTING = "Part 4, the listing"
EPISODES, LIMIT, ROLLOUT = 300, 500, 2048


@dataclass
class Tally:
    """What a loop over episodes left: a return per episode, the observations it stored, how many updates it made."""

    returns: list[float] = field(default_factory=list)
    observations: list[np.ndarray] = field(default_factory=list)
    updates: int = 0


@cache
def play(*, cumulative: bool) -> Tally:
    """Play 300 episodes; with `cumulative` the limit of 500 steps is one of all episodes together."""
    env = gymnasium.make("CartPole-v1", max_episode_steps=10 * LIMIT)
    rng, tally = np.random.default_rng(SEED), Tally()
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=SEED + episode)
        total, over, own = 0.0, False, 0
        while not over and (len(tally.observations) if cumulative else own) < LIMIT:
            tally.observations.append(observation)
            observation, reward, over, _, _ = env.step(int(rng.integers(2)))
            total, own = total + float(reward), own + 1
            tally.updates += len(tally.observations) % ROLLOUT == 0
        tally.returns.append(total)
    return tally


def stops_early() -> str:
    """Run the loop with one counter for all episodes, and with one per episode."""
    wrong, right = play(cumulative=True), play(cumulative=False)
    played = sum(one > 0 for one in wrong.returns)
    return (
        f"Such a loop over {EPISODES} episodes stores {len(wrong.observations)} steps and makes {wrong.updates} "
        f"updates: {played} episodes have a reward above 0, and the last 50 average "
        f"{np.mean(wrong.returns[-50:]):.2f}. With a counter per episode it stores {len(right.observations):,} steps, "
        f"makes {right.updates} updates, and the last 50 average {np.mean(right.returns[-50:]):.2f}."
    )


def empty_episodes() -> str:
    """Average over episodes that were never played."""
    returns = np.array(play(cumulative=True).returns)
    return (
        f"{(returns == 0).sum()} of {len(returns)} episodes have no step at all. The average over all is "
        f"{returns.mean():.2f}, over those that were played {returns[returns > 0].mean():.2f}."
    )


def left_over() -> str:
    """Count the steps that no update uses."""
    tally = play(cumulative=False)
    stored = len(tally.observations)
    return (
        f"Of {stored:,} steps, {tally.updates} updates use {tally.updates * ROLLOUT:,}; {stored % ROLLOUT} are unused."
    )


def not_seeded() -> str:
    """Train twice with one seed, and with another: what is a matter of chance if nobody sets the seed."""
    first, again, other = (trained(PPOClip, 2, seeds=[seed])[0].episodes["return"] for seed in (SEED, SEED, SEED + 1))
    same = len(first) == len(again) and bool((first == again).all())
    return (
        f"Two trainings of 4,096 steps with one seed {'agree in every' if same else 'do not agree in each'} one of "
        f"{len(first)} returns; another seed gives {len(other)} episodes, with a mean of {other.mean():.1f} instead of "
        f"{first.mean():.1f}."
    )


def observation_scales() -> str:
    """Measure the scales of what a policy on CartPole sees."""
    spread = np.std(play(cumulative=False).observations, axis=0)
    listed = ", ".join(f"{one:.2f}" for one in spread)
    return (
        f"A random policy sees standard deviations of {listed} in CartPole-v1: a factor of "
        f"{spread.max() / spread.min():.0f} between inputs of one layer."
    )


@cache
def first_three_hundred() -> tuple[list[int], list[float]]:
    """Return the steps and the mean of the last 50 of the first 300 episodes of the repaired listing, for two seeds."""
    records = trained(Listing, 6, seeds=(SEED, SEED + 1))
    steps = [int(record.episodes["step"][EPISODES - 1]) for record in records]
    return steps, [float(record.episodes["return"][EPISODES - 50 : EPISODES].mean()) for record in records]


def dozen_of_steps() -> str:
    """Train the repaired listing for its 300 episodes."""
    steps, last = first_three_hundred()
    updates = [one // ROLLOUT for one in steps]
    gradient_steps = [one * Listing().epochs * Listing().minibatches for one in updates]
    return (
        f"Repaired so that it runs, the listing's 300 episodes are {steps[0]:,} and {steps[1]:,} steps with two seeds: "
        f"{gradient_steps[0]} and {gradient_steps[1]} gradient steps. The last 50 episodes average {last[0]:.1f} and "
        f"{last[1]:.1f}; a random policy's {np.mean(play(cumulative=False).returns[-50:]):.1f}."
    )


ERRATA = [
    Erratum(
        "1",
        "Training stops after 500 steps",
        f"{LISTING}, train",
        "One counter runs over all episodes, and it is held against the limit of a single one.",
        "A counter per episode, or a loop over a budget of environment steps, as rlbench has.",
        stops_early,
    ),
    Erratum(
        "6b",
        "Three hundred episodes are a dozen gradient steps",
        f"{LISTING}, the example",
        "300 short episodes fill a few rollouts of 2048 steps, with four full-batch steps each.",
        "A budget in environment steps: table 3 of the paper goes with one million, 320 gradient steps per 2048.",
        dozen_of_steps,
    ),
    Erratum(
        "9a",
        "Nothing is seeded",
        LISTING,
        "Neither the environment nor torch gets a seed, so that no result can be repeated.",
        "Every random number a function of the run's seed; several seeds, with intervals over them.",
        not_seeded,
    ),
    Erratum(
        "9d",
        "Observations are not normalised",
        LISTING,
        "Inputs enter the network on the scales that the environment happens to use.",
        "Running statistics (`normalize_observation`) where scales differ much; on CartPole it can be done without.",
        observation_scales,
    ),
    Erratum(
        "9i",
        "The rest of the data is not used",
        f"{LISTING}, train",
        "Steps after the last full rollout are collected, and the loop ends.",
        "A budget that is a multiple of the rollout; rlbench says what it collects beyond that.",
        left_over,
    ),
    Erratum(
        "9j",
        "Episodes that were never played enter the average",
        f"{LISTING}, train",
        "Once the counter of error 1 is used up, every further episode is recorded with reward 0.",
        "Record finished episodes only.",
        empty_episodes,
    ),
]
