"""Errors of the listing's update: how many steps it takes, on what network, and what it reports of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from rlbench.algorithms.ppo_clip import PPOClip

from errata_loop import play
from lecture_bench import SEED, in_first_update, trained
from rlbench import Erratum, Params, Problem
from rlbench.functional import dot, mean, norm
from rlbench.records import RunRecord
from variants_listing import Listing

LISTING = "Part 4, the listing"
UPDATES, SEEDS = 20, (SEED, SEED + 1)


class Epoch(NamedTuple):
    """What one full-batch step finds before it is taken."""

    farthest: float  # largest |ratio - 1|
    policy_loss: float
    value_loss: float


@cache
def epochs() -> list[Epoch]:
    """Take the listing's four steps of its first update."""

    def measure(problem: Problem) -> list[Epoch]:
        params, found = problem.params.clone(), []
        for batch in problem.minibatches(epochs=problem.algorithm.epochs, count=1):
            surrogate, grad, x = problem.gradient(params, batch, entropy=True, value=True)
            distance = float((x.ratio.detach() - 1).abs().max())
            error = float(mean((x.value.detach() - x.target) ** 2))
            found.append(Epoch(distance, 0 - round(surrogate.item(), 4), error))
            params = problem.ascend(params, grad, problem.usable(batch))
        return found

    return in_first_update(measure, Listing)


def last_returns(records: Sequence[RunRecord]) -> float:
    """Return the mean of the last 50 episodes over runs."""
    return float(np.mean([record.episodes["return"][-50:].mean() for record in records]))


def clipping_never_acts() -> str:
    """Train the repaired listing, the same with minibatches, for 20 rollouts of two seeds."""
    listing, batches = trained(Listing, UPDATES, seeds=SEEDS), trained(Listing, UPDATES, seeds=SEEDS, minibatches=32)
    random = float(np.mean(play(cumulative=False).returns))
    fractions = [max(record.updates["clip_fraction"].max() for record in arm) for arm in (listing, batches)]
    farthest = ", ".join(f"{one.farthest:.3f}" for one in epochs())
    return (
        f"In the four steps of the first update the largest |r - 1| is {farthest}. Over {UPDATES} updates of two "
        f"seeds the largest share of clipped ratios is {fractions[0]:.1%}, and the last 50 episodes average "
        f"{last_returns(listing):.1f} (a random policy: {random:.1f}). With minibatches of 64 the share "
        f"reaches {fractions[1]:.1%} and the average is {last_returns(batches):.1f}."
    )


def trunk_gradients() -> str:
    """Take the gradients of the policy's and of the value's loss at the shared layers, before the first step."""

    def measure(problem: Problem) -> tuple[Params, Params]:
        batch = problem.full()
        _, policy, _ = problem.gradient(problem.params, batch)
        _, value, _ = problem.gradient(problem.params, batch, policy=False, value=True)
        return policy, value

    policy, value = in_first_update(measure, Listing, seeds=range(SEED, SEED + 10))
    sizes = (4, *Listing().hidden)  # the four numbers that CartPole shows, and the shared layers
    trunk = slice(0, sum((i + 1) * o for i, o in itertools.pairwise(sizes)))
    ratio = (norm(value[:, trunk]) / norm(policy[:, trunk])).median().item()
    total = norm(policy + value)
    both = policy[:, trunk] + value[:, trunk]
    cosine = (dot(both, policy[:, trunk]) / (norm(both) * norm(policy[:, trunk]))).abs().median().item()
    return (
        f"Medians over ten initial networks: in the shared layers the gradient of the value is {ratio:.0f} times as "
        f"long as the policy's ({norm(value[:, trunk]).median().item():.1f} to "
        f"{norm(policy[:, trunk]).median().item():.3f}), and their sum's cosine with the policy's is {cosine:.3f} in "
        f"size. The whole gradient has norm {total.median().item():.1f}, so that the limit of 0.5 multiplies it, the "
        f"policy's part included, by {(0.5 / total).median().item():.3f}."
    )


def initial_policies() -> str:
    """Compare initial policies with torch's weights and with orthogonal ones."""

    def lean(orthogonal: bool) -> float:
        """Return the largest distance of an action's probability from one half, over ten initial networks."""

        def measure(problem: Problem) -> float:
            log_prob = problem.policy_samples(problem.params, problem.full()).log_prob
            return float((log_prob.exp() - 0.5).abs().max())

        return in_first_update(measure, Listing, seeds=range(SEED, SEED + 10), orthogonal_init=orthogonal)

    return (
        f"In the first rollouts of ten networks an action's probability is up to {lean(False):.2f} away from one half "
        f"with torch's weights, and up to {lean(True):.3f} with orthogonal ones and a gain of 0.01."
    )


def constant_rate() -> str:
    """Read the step sizes of a short training."""
    short: dict[str, Any] = {"horizon": 128, "epochs": 1, "minibatches": 1}
    rates = [trained(PPOClip, 10, anneal_lr=anneal, **short)[0].updates["lr"] for anneal in (True, False)]
    return (
        f"Of ten updates, the last one has a step size of {rates[0][-1]:.1e} if annealed, and {rates[1][-1]:.1e} "
        f"without: {rates[1][-1] / rates[0][-1]:.0f} times as much."
    )


def not_logged() -> str:
    """Say what is measured of every update here."""
    row = {name: column[-1] for name, column in trained(PPOClip, 2)[0].updates.items()}
    return (
        f"rlbench records of the second update of PPO-Clip: KL(old || new) {row['kl']:.4f}, clipped "
        f"{row['clip_fraction']:.1%} over its steps, {row['outside_band']:.1%} outside the band after it, largest "
        f"ratio {row['ratio_max']:.2f}."
    )


def last_epoch_only() -> str:
    """Compare the losses of the first and of the last epoch."""
    first, last = epochs()[0], epochs()[-1]
    return (
        f"In the first update, policy loss {first.policy_loss:.4f} and value loss {first.value_loss:.2f} before the "
        f"first step become {last.policy_loss:.4f} and {last.value_loss:.2f} before the last, which are all that is "
        "returned."
    )


def outside_or_clipped() -> str:
    """Measure both shares in one training."""
    table = trained(PPOClip, 5)[0].updates
    outside, killed = table["clip_fraction"].mean(), table["clip_killed"].mean()
    return (
        f"In five updates of PPO-Clip {outside:.1%} of ratios lie outside the band and {killed:.1%} of samples have no "
        f"gradient because of it: {1 - killed / outside:.0%} of what the snippet counts is not clipped."
    )


ERRATA = [
    Erratum(
        "6a",
        "Full-batch epochs never reach the clip",
        f"{LISTING}, update",
        "Each epoch is one gradient step on the whole rollout.",
        "Shuffled minibatches: 64 samples and 10 epochs in the paper's table 3.",
        clipping_never_acts,
    ),
    Erratum(
        "7",
        "The value's gradient drowns the policy's",
        f"{LISTING}, the network and update",
        "One trunk learns the policy and raw returns, and one limit holds for the norm of the joint gradient.",
        "Separate networks, as in the paper's section 6.1, or returns on the scale of 1.",
        trunk_gradients,
    ),
    Erratum(
        "9b",
        "The first policy is not uniform",
        f"{LISTING}, the network",
        "Weights are torch's defaults, for the last layer of the policy, too.",
        "Orthogonal weights with gain 0.01 there (Huang et al. 2022, detail 2; rlbench's `orthogonal_init`).",
        initial_policies,
    ),
    Erratum(
        "9c",
        "The step size stays as it is",
        f"{LISTING}, the constructor",
        "Adam's step size is constant.",
        "Annealed to zero, as the paper's Atari runs do (table 5; rlbench's `anneal_lr`).",
        constant_rate,
    ),
    Erratum(
        "9e",
        "The two numbers that matter are not logged",
        f"{LISTING}, update",
        "Neither the KL divergence nor the clipped share is recorded, though the text tells to watch the latter.",
        "Both, of every update.",
        not_logged,
    ),
    Erratum(
        "9k",
        "Only the last epoch is reported",
        f"{LISTING}, update",
        "The losses returned are those of the last of K steps.",
        "Means over all steps, and measures of the whole update after it.",
        last_epoch_only,
    ),
    Erratum(
        "10b",
        "Outside the band is not clipped",
        "Debugging checklist",
        "The snippet counts ratios outside the band as clipped.",
        "Clipped is only the side that the advantage's sign names: r > 1 + eps for A > 0, r < 1 - eps for A < 0 "
        "(equation 7).",
        outside_or_clipped,
    ),
]
