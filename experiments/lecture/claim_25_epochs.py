"""Claims 25, 32a and 33: the number of epochs."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, ppo
from rlbench import Claim, Experiment

VALUES = [1, 2, 4, 10, 20, 40]
ARMS = [f"epochs={value}" for value in VALUES]

EXPERIMENT = Experiment(
    name="epochs",
    question="Are 4 or 10 epochs best, 1 too few and 20 too many?",
    design=(
        "PPO-Clip with 1 to 40 passes over every rollout, everything else the lecture's defaults, so that more epochs "
        "mean more gradient steps from the same experience. Compared are the area under the learning curve, how far "
        "an update moves the policy, and the drop from the curve's highest point to its end."
    ),
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
            "With more epochs the policy moves further from the old one: the divergence of an update rises",
            ARMS,
            "increasing",
            "kl:mean",
            smallest_effect=0.001,
            over="mean",
            id="25e",
            source="Part 6, gotcha 4",
        ),
        Claim(
            "With 20 epochs clipping no longer serves its purpose: updates move the policy by more than 0.02 on "
            "average",
            ["epochs=20"],
            "above",
            "kl:mean",
            bound=0.02,
            over="mean",
            id="25f",
            source="Part 6, gotcha 4, “defeats purpose”",
        ),
        Claim(
            "A policy that barely improves with 1 epoch is helped by 4: higher returns at the end",
            ["epochs=4", "epochs=1"],
            "greater",
            "final_normalised",
            smallest_effect=EFFECT,
            over="mean",
            id="32a",
            source="Debugging checklist",
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
