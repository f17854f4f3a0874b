"""How stable is each variant against its own hyper-parameter? No claim of the lecture; a figure needs it."""

from typing import Any

from lecture_arms import DISCRETE, FAIR, STEPS, TUNED
from rlbench import Arm, Experiment

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)


def multiples(algorithm: str, label: str, field: str, value: float, **settings: Any) -> list[Arm]:
    """Return one arm per multiple of a field's usual value."""
    return [
        Arm(algorithm, f"{label} {field}={factor * value:.3g}", **(settings | {field: float(f"{factor * value:.3g}")}))
        for factor in FACTORS
    ]


EXPERIMENT = Experiment(
    name="sensitivity",
    question="How stable is each variant against its own hyper-parameter?",
    design=(
        "Each algorithm has the learning rate that is best for it, and its own hyper-parameter at a tenth to ten "
        "times its usual value: the clip range, the weight of the penalty, the divergence aimed at, the trust "
        "region's size, and for REINFORCE the learning rate itself."
    ),
    arms=[
        *multiples("ppo-clip", "PPO-Clip", "clip", 0.2, **TUNED, lr=FAIR["ppo-clip"]),
        *multiples("ppo-penalty", "PPO-Penalty", "beta", 1.0, **TUNED, lr=FAIR["ppo-penalty"]),
        *multiples("ppo-adaptive", "PPO-Adaptive", "kl_target", 0.01, **TUNED, lr=FAIR["ppo-adaptive"]),
        *multiples("trpo", "TRPO", "delta", 0.01, anneal_lr=False, lr=FAIR["trpo"]),
        *multiples("reinforce", "REINFORCE", "lr", FAIR["reinforce"], anneal_lr=False),
    ],
    environments=[*DISCRETE, "Pendulum-v1"],
    seeds=10,
    steps=STEPS,
)
