"""Claim 23: large returns, and what the lecture advises against them.

The variant with the clamped loss computes two gradients where PPO-Clip computes one; `gradient_steps` counts both.
"""

from lecture_arms import DEFAULTS, EFFECT, SEEDS, STEPS, TASKS, ppo
from rlbench import Arm, Claim, Experiment
from variants_scales import ClampedValueLoss, StandardisedTargets

RAW, SCALED = "shared network, raw returns", "shared network, rewards scaled"
SEPARATE, TARGETS, CLAMPED = "separate, raw returns", "separate, targets standardised", "separate, value loss clamped"

EXPERIMENT = Experiment(
    name="value-scale",
    question="Do large returns hurt, and do normalised returns or a clamped loss help?",
    design=(
        "PPO-Clip with the lecture's defaults. With one network for policy and value, where a large value loss can "
        "crowd out the policy: raw rewards, and rewards divided by the running deviation of the return; with two "
        "networks: raw returns, value targets standardised in every rollout, and a value loss clamped at 10, as the "
        "lecture advises."
    ),
    arms=[
        ppo(RAW, shared_trunk=True),
        ppo(SCALED, shared_trunk=True, normalize_reward=True),
        ppo(SEPARATE),
        Arm(StandardisedTargets, TARGETS, **DEFAULTS),
        Arm(ClampedValueLoss, CLAMPED, **DEFAULTS),
    ],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    claims=[
        Claim(
            "With a shared network, scaling rewards helps: it learns faster than with raw returns",
            [SCALED, RAW],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="23a",
            source="Part 6, gotcha 2",
            known="Andrychowicz et al. 2021: normalising values matters on HalfCheetah and Humanoid; Engstrom et al. "
            "2020: scaling rewards matters.",
        ),
        Claim(
            "Standardising value targets in every rollout, as the lecture writes it, learns at least as well as raw "
            "returns",
            [TARGETS, SEPARATE],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="23b",
            source="Part 6, gotcha 2",
        ),
        Claim(
            "Clamping the value loss at 10 learns at least as well as leaving it alone",
            [CLAMPED, SEPARATE],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="23d",
            source="Part 6, gotcha 2",
            known="Of PPO2's value clipping, a different formula: Andrychowicz et al. 2021 find that it hurts "
            "whatever its threshold, Engstrom et al. 2020 no evidence that it helps, Tianshou no effect.",
        ),
    ],
)
