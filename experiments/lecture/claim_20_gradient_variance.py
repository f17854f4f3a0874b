"""Claims 20b and 20c: a learned value as the baseline lowers the variance of the gradient."""

import math

from mechanism_gae import BASELINES, measure_baselines
from rlbench import Claim, Measurement

TENTH = -math.log2(0.9)  # a variance that is lower by a tenth; anything less saves less than a tenth of the samples
SOURCE = "Part 3, value function; recap, “value baseline”"
KNOWN = "Ilyas et al. 2020: the learned value lowers the gradient's variance only marginally, yet returns improve."

EXPERIMENT = Measurement(
    name="baseline-variance",
    question="Does a learned value as the baseline lower the variance of the policy gradient?",
    design=(
        "A policy and its critic are held fixed in the middle of their training, and 32 independent rollouts of 2,048 "
        "steps give a policy gradient each: with nothing subtracted from the return, its mean over the rollout, or the "
        "critic's value. Compared is the logarithm of the total variance, where 1 stands for twice as much."
    ),
    measure=measure_baselines,
    arms=list(BASELINES),
    environments=["CartPole-v1", "Acrobot-v1", "Pendulum-v1"],
    seeds=20,
    claims=[
        Claim(
            "With the critic as its baseline the gradient's variance is lower than without a baseline",
            ["critic lambda=1", "no baseline"],
            "less",
            "log2_variance:mean",
            smallest_effect=TENTH,
            paired=True,
            id="20b",
            source=SOURCE,
            known=KNOWN,
        ),
        Claim(
            "With the critic as its baseline the gradient's variance is lower than with the mean return",
            ["critic lambda=1", "mean baseline"],
            "less",
            "log2_variance:mean",
            smallest_effect=TENTH,
            paired=True,
            id="20c",
            source=SOURCE,
            known=KNOWN,
        ),
    ],
)
