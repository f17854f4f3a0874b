"""Claims 25 and 33 on MuJoCo: the number of epochs."""

from mujoco_arms import EFFECT, SEEDS, STEPS, TASKS, ppo
from rlbench import Claim, Experiment

VALUES = [1, 4, 10, 20]
ARMS = [f"epochs={value}" for value in VALUES]

EXPERIMENT = Experiment(
    name="mujoco-epochs",
    question="On MuJoCo, are 4 or 10 epochs best, 1 too few and 20 too many?",
    design="PPO-Clip with 1 to 20 passes over every rollout, everything else the lecture's defaults.",
    arms=[ppo(label, epochs=value) for label, value in zip(ARMS, VALUES, strict=True)],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    baseline="epochs=4",
    claims=[
        Claim(
            "A single epoch makes too little of the samples: it learns less than 4",
            ["epochs=1", "epochs=4"],
            "less",
            smallest_effect=EFFECT,
            over="mean",
            id="25a",
            source="Part 6, gotcha 4; debugging checklist",
            known="Andrychowicz et al. 2021 call several passes over the data crucial.",
        ),
        Claim(
            "20 epochs learn less than 10: more is not better",
            ["epochs=20", "epochs=10"],
            "less",
            smallest_effect=EFFECT,
            over="mean",
            id="25c",
            source="Part 6, gotcha 4",
            known="rl-zoo's tuned settings use 20 epochs on CartPole, HalfCheetah and Walker2d.",
        ),
        Claim(
            "20 epochs learn noticeably more slowly than the lecture's 4",
            ["epochs=20", "epochs=4"],
            "less",
            smallest_effect=EFFECT,
            over="mean",
            id="25d",
            source="Part 6, gotcha 4",
        ),
        Claim(
            "Several epochs make better use of a rollout: 10 learn faster than 1 from the same experience",
            ["epochs=10", "epochs=1"],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="33",
            source="Recap",
            known="Andrychowicz et al. 2021 call several passes over the data crucial.",
        ),
    ],
)
