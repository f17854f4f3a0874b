"""Claim 6: TRPO is expensive to compute, and PPO is cheaper."""

import math

from mechanism_cost import measure
from rlbench import Claim, Measurement

RATIO = math.log2(1.1)  # costs that differ by less than a tenth are the same to anybody who pays them
SOURCE = "Introduction, “expensive to compute”; part 1; recap, “expensive second-order optimization”"

EXPERIMENT = Measurement(
    name="cost-of-an-update",
    question="Does an update of TRPO cost more than one of PPO?",
    design=(
        "PPO-Clip with 4 and 10 epochs and TRPO, as its defaults have it and with a tenth of the samples in its "
        "Fisher products, take turns in one process with 2,048 steps an update, and every pass through a network "
        "that an update makes is counted. Compared are the operations of their matrix products and the processor's "
        "seconds, as ratios."
    ),
    measure=measure,
    arms=["ppo-clip K=4", "ppo-clip K=10", "trpo", "trpo fisher=10%"],
    environments=["CartPole-v1", "Pendulum-v1"],
    seeds=20,
    claims=[
        Claim(
            "An update of TRPO takes more operations than one of PPO with 4 epochs",
            ["trpo", "ppo-clip K=4"],
            "greater",
            "log2_flops:mean",
            smallest_effect=RATIO,
            paired=True,
            id="6a",
            source=SOURCE,
            known="Schulman et al. 2015, appendix C: with a tenth of the samples in the Fisher products a natural "
            "gradient step costs about one gradient more.",
        ),
        Claim(
            "An update of TRPO takes more of the processor's time than one of PPO with 4 epochs",
            ["trpo", "ppo-clip K=4"],
            "greater",
            "log2_seconds:mean",
            smallest_effect=RATIO,
            paired=True,
            id="6b",
            source=SOURCE,
            known="Tianshou reports 24 minutes for PPO and 7 for TRPO on the same task.",
        ),
        Claim(
            "An update of TRPO takes more operations than one of PPO with 10 epochs",
            ["trpo", "ppo-clip K=10"],
            "greater",
            "log2_flops:mean",
            smallest_effect=RATIO,
            paired=True,
            id="6c",
            source=SOURCE,
        ),
        Claim(
            "An update of TRPO takes more of the processor's time than one of PPO with 10 epochs",
            ["trpo", "ppo-clip K=10"],
            "greater",
            "log2_seconds:mean",
            smallest_effect=RATIO,
            paired=True,
            id="6d",
            source=SOURCE,
        ),
        Claim(
            "With a tenth of the samples in its Fisher products an update of TRPO takes more operations than one of "
            "PPO with 10 epochs",
            ["trpo fisher=10%", "ppo-clip K=10"],
            "greater",
            "log2_flops:mean",
            smallest_effect=RATIO,
            paired=True,
            id="6e",
            source=SOURCE,
            known="Schulman et al. 2015, appendix C: so the paper itself computes them.",
        ),
    ],
)
