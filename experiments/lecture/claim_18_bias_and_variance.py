"""Claim 18: lambda trades the bias of advantage estimates against their variance."""

from mechanism_gae import LAMBDAS, measure_lambdas
from rlbench import Claim, Measurement

ARMS = [f"lambda={lam:g}" for lam in LAMBDAS]
SOURCE = "Part 3, advantage estimation; recap, “trades off bias and variance”"

# In shares of the variance with lambda = 1. A variance that falls by less than a quarter saves less than a quarter of
# the samples; a squared bias of a twentieth outweighs the noise once more than twenty estimates are averaged.
LESS_VARIANCE, MORE_BIAS = 0.25, 0.05

EXPERIMENT = Measurement(
    name="bias-and-variance",
    question="Does a smaller lambda lower the variance of advantage estimates, and raise their bias?",
    design=(
        "A policy and its critic are held fixed in the middle of their training; 32 state-action pairs are continued "
        "64 times each, and 32 rollouts of 2,048 steps give a policy gradient each, with seven values of lambda on "
        "the same samples. Variance and squared bias, the error of the truth taken off, are shares of the variance "
        "with lambda = 1."
    ),
    measure=measure_lambdas,
    arms=ARMS,
    environments=["CartPole-v1", "Acrobot-v1", "Pendulum-v1"],
    seeds=20,
    claims=[
        Claim(
            "The variance of the advantage estimate of a state and action rises with lambda",
            ARMS,
            "increasing",
            "variance:mean",
            smallest_effect=LESS_VARIANCE,
            id="18a",
            source=SOURCE,
        ),
        Claim(
            "Its squared bias falls with lambda",
            ARMS,
            "decreasing",
            "squared_bias:mean",
            smallest_effect=MORE_BIAS,
            id="18b",
            source=SOURCE,
        ),
        Claim(
            "The variance of the policy gradient rises with lambda",
            ARMS,
            "increasing",
            "gradient_variance:mean",
            smallest_effect=LESS_VARIANCE,
            id="18c",
            source=SOURCE,
        ),
        Claim(
            "The squared bias of the policy gradient falls with lambda",
            ARMS,
            "decreasing",
            "gradient_squared_bias:mean",
            smallest_effect=MORE_BIAS,
            id="18d",
            source=SOURCE,
        ),
    ],
)
