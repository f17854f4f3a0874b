"""Errors in what the value learns from and what advantages are made of."""

from __future__ import annotations

import numpy as np
import torch

from errata_loop import play
from lecture_bench import SEED, in_first_update
from rlbench import Erratum, Problem
from rlbench.functional import clipped_value_loss, gae, reward_to_go, standardise
from variants_listing import Listing

GAMMA, LAMBDA = 0.99, 0.95
MOST = (1 - GAMMA**500) / (1 - GAMMA)
"""The largest discounted return of CartPole-v1: reward 1 in each of its 500 steps."""


def gae_forgetting_the_last_end(
    reward: torch.Tensor, value: torch.Tensor, ended: torch.Tensor, bootstrap: float
) -> torch.Tensor:
    """Return lambda-returns `[T]` of a rollout whose last step bootstraps even if it ended its episode."""
    following = torch.cat([value[1:], torch.tensor([bootstrap])])
    alive = (~ended).float()
    counts = alive.clone()
    counts[-1] = 1.0  # the flaw
    delta = reward + GAMMA * following * counts - value
    advantage = torch.zeros_like(delta)
    running = torch.zeros(())
    for t in reversed(range(len(delta))):
        running = delta[t] + GAMMA * LAMBDA * alive[t] * running
        advantage[t] = running
    return advantage + value


def forgotten_end() -> str:
    """End an episode with the last step of a rollout, then with one before it."""
    reward, value, dead = torch.ones(3), torch.zeros(3), 10.0

    def returns(last: int) -> tuple[float, float]:
        ended = torch.arange(3) == last
        following = torch.cat([value[1:], torch.tensor([dead])])
        one = lambda x: x[:, None]  # noqa: E731  # a single copy: [T] to [T, 1]
        right = gae(one(reward), one(value), one(following), one(ended), one(ended), gamma=GAMMA, lam=LAMBDA)[1]
        wrong = gae_forgetting_the_last_end(reward, value, ended, dead)
        return wrong[last].item(), right[last, 0].item()

    (wrong, right), (inside, _) = returns(2), returns(1)
    return (
        f"With reward 1 on a last, terminal step and a value of 10 for the dead state, its target is {wrong:.3f} "
        f"instead of {right:.3f}. One step earlier in the rollout it is right: {inside:.3f}."
    )


def truncation_as_termination() -> str:
    """Cut an episode by the time limit, where the value of the final observation is the most it can be."""
    steps = 200
    reward, value = torch.ones(steps, 1), torch.full((steps, 1), MOST)
    ended = torch.zeros(steps, 1, dtype=torch.bool)
    ended[-1] = True
    coefficients = {"gamma": GAMMA, "lam": LAMBDA}
    wrong = gae(reward, value, value, ended, ended, **coefficients)[1]
    right = gae(reward, value, value, torch.zeros_like(ended), ended, **coefficients)[1]
    affected = int(((right - wrong) > 1).sum())
    return (
        f"At CartPole's 500-step limit, where the value is {MOST:.2f}, the target is {wrong[-1].item():.2f} instead of "
        f"{right[-1].item():.2f}; at lambda 0.95 the targets of {affected} steps before the limit are too low by more "
        "than 1."
    )


def clamped_loss() -> str:
    """Differentiate the clamped value loss of the listing's first rollout."""

    def measure(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
        _, _, x = problem.gradient(problem.params, problem.full(), policy=False, value=True)
        return x.value.detach().clone(), x.target

    value, target = in_first_update(measure, Listing, seeds=range(SEED, SEED + 10))
    value.requires_grad_()
    loss = ((value - target) ** 2).mean(-1)
    (free,) = torch.autograd.grad(loss.sum(), value, retain_graph=True)
    (frozen,) = torch.autograd.grad(torch.clamp(loss, -10, 10).sum(), value)
    return (
        f"With ten initial networks the value loss of the first rollout on CartPole is {loss.min().item():.0f} to "
        f"{loss.max().item():.0f}. Clamped, the largest of all {frozen.numel():,} gradients is "
        f"{frozen.abs().max().item():.0f} instead of {free.abs().max().item():.1e}."
    )


def lower_limit() -> str:
    """Look for a squared error that a lower limit of -10 would change."""
    error = torch.linspace(-100, 100, 20001, dtype=torch.float64)
    loss = error**2
    changed = int((torch.clamp(loss, min=-10) != loss).sum())
    least = loss.min().item()
    return f"Of {len(error):,} errors from -100 to 100, the smallest square is {least:.0f}: {changed} are changed."


def ppo2_value_clipping() -> str:
    """Show where the rule that is called value clipping stops the gradient."""

    def at(value: float) -> tuple[float, float]:
        """Return loss and slope."""
        moved = torch.tensor([value], requires_grad=True)
        loss = clipped_value_loss(moved, torch.zeros(1), torch.tensor([10.0]), 0.2)
        (gradient,) = torch.autograd.grad(loss.sum(), moved)
        return loss.item(), gradient.item()

    (loss, start), (_, inside), (_, outside) = at(0.0), at(0.1), at(0.3)
    return (
        f"With old value 0, target 10 and range 0.2, the usual rule has a loss of {loss:.0f} and a slope of "
        f"{start:.1f} at the start and {inside:.1f} at V = 0.1; past the range, at V = 0.3, the slope is {outside:.1f}."
    )


def two_scales() -> str:
    """Make advantages with a value that is exactly right, and with the same value standardised."""
    lengths = [int(one) for one in play(cumulative=False).returns]
    ended = torch.zeros(sum(lengths), 1, dtype=torch.bool)
    ended[np.cumsum(lengths) - 1] = True
    reward = torch.ones(len(ended), 1)
    returns, _ = reward_to_go(reward, ended, gamma=GAMMA)

    def advantages(value: torch.Tensor) -> torch.Tensor:
        following = torch.cat([value[1:], value[:1]])
        return gae(reward, value, following, ended, ended, gamma=GAMMA, lam=LAMBDA)[0]

    right, wrong = advantages(returns), advantages(standardise(returns[:, 0])[:, None])
    alike = np.corrcoef(wrong[:, 0], returns[:, 0])[0, 1]
    return (
        f"In {len(lengths)} episodes of a random policy, a value that equals each return makes advantages of at most "
        f"{right.abs().max().item():.0e}, as it should. Standardised, the same value makes advantages of "
        f"{wrong.mean().item():.1f} on average (deviation {wrong.std().item():.1f}) that have a correlation of "
        f"{alike:.2f} with the return: the baseline is gone."
    )


ERRATA = [
    Erratum(
        "4",
        "The last step of a rollout forgets that its episode ended",
        "Part 4, the listing, compute_gae",
        "Every step but the last multiplies the next value by 1 - done.",
        "The same factor everywhere: delta = r + gamma V' (1 - terminated) - V (Schulman et al. 2016, equation 12).",
        forgotten_end,
    ),
    Erratum(
        "5",
        "A time limit counts as the end of the world",
        "Part 4, the listing, train",
        "Terminated and truncated are merged before anything is estimated.",
        "A truncation bootstraps from its final observation; both cut the trace. rlbench keeps them apart throughout.",
        truncation_as_termination,
    ),
    Erratum(
        "12a",
        "Clamping the value loss switches the critic off",
        "Part 6, gotcha 2",
        "A loss above 10 is replaced by the number 10, whose derivative is zero.",
        "Scale rewards or returns by running statistics; a limit belongs on gradients or on each error (Huber's loss).",
        clamped_loss,
    ),
    Erratum(
        "12b",
        "A lower limit for what is never negative",
        "Part 6, gotcha 2",
        "The clamp of the mean squared error also has the limit -10.",
        "No lower limit.",
        lower_limit,
    ),
    Erratum(
        "12c",
        "This is not what value clipping means",
        "Part 6, gotcha 2",
        "Clipping the value loss is offered as if it were the practice.",
        "The practice is max((V - R)^2, (clip(V, V_old - eps, V_old + eps) - R)^2) per sample, rlbench's `value_clip`.",
        ppo2_value_clipping,
    ),
    Erratum(
        "13",
        "Returns on one scale, rewards on another",
        "Part 6, gotcha 2, and the debugging checklist",
        "The value is to learn returns standardised per rollout, while GAE goes on with raw rewards.",
        "Divide rewards by a running deviation of the return (`normalize_reward`), or undo the scale before GAE.",
        two_scales,
    ),
]
