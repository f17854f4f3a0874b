"""Claims 28 and 31a: the entropy bonus."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, sweep
from rlbench import Claim, Experiment

VALUES = [0.0, 1e-4, 1e-3, 1e-2, 1e-1]
NONE, SMALL, _, DEFAULT, LARGE = ARMS = [f"entropy_coef={value:g}" for value in VALUES]

EXPERIMENT = Experiment(
    name="entropy-bonus",
    question="Does the entropy bonus raise entropy, prevent collapse, and cost speed?",
    design=(
        "PPO-Clip with five weights of the entropy bonus from 0 to 0.1, everything else the lecture's defaults. "
        "Compared are the policy's mean entropy over training and the area under the learning curve."
    ),
    arms=sweep("entropy_coef", VALUES),
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    baseline=DEFAULT,
    claims=[
        Claim(
            "A larger entropy bonus keeps the policy more random",
            ARMS,
            "increasing",
            "entropy:mean",
            smallest_effect=0.05,
            over="mean",
            id="28a",
            source="Part 3; part 9",
        ),
        Claim(
            "0.0001 is too small and 0.01 repairs it: the policy of 0.01 is more random at the end by 0.1 nats",
            [DEFAULT, SMALL],
            "greater",
            "entropy:final",
            smallest_effect=0.1,
            over="mean",
            id="28b",
            source="Debugging checklist",
        ),
        Claim(
            "The bonus of 0.01 helps: it learns faster than with 0.0001",
            [DEFAULT, SMALL],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="28c",
            source="Debugging checklist",
            known="The PPO paper used no bonus in its continuous-control runs. Andrychowicz et al. 2021 find no "
            "benefit, Tianshou finds 0 better than 0.01, and rl-zoo mostly uses 0.",
        ),
        Claim(
            "A policy that is too deterministic becomes more random with a larger bonus: 0.1 against 0.01",
            [LARGE, DEFAULT],
            "greater",
            "entropy:mean",
            smallest_effect=0.05,
            over="mean",
            id="31a",
            source="Part 9, “policy is too deterministic”",
        ),
    ],
)
