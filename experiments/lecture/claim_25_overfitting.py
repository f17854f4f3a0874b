"""Claims 25b and 25g: many epochs overfit the current batch."""

from mechanism_overfitting import EPOCHS, measure
from rlbench import Claim, Measurement

SOURCE = "Part 6, gotcha 4, “overfit to current batch”"

EXPERIMENT = Measurement(
    name="overfitting",
    question="Do many epochs overfit the rollout that they are made of?",
    design=(
        "From a policy in the middle of its training PPO-Clip makes an update of 40 epochs on a rollout of 2,048 "
        "steps, and after 1, 2, 4, 10, 20 and 40 of them r A is averaged over that rollout and over 16 fresh ones of "
        "the old policy, with advantages standardised alike. The gap between the two is what the update only seems "
        "to gain."
    ),
    measure=measure,
    arms=[f"K={epochs}" for epochs in EPOCHS],
    environments=["CartPole-v1", "Acrobot-v1", "Pendulum-v1"],
    seeds=20,
    claims=[
        Claim(
            "The more epochs, the more an update gains on its own rollout only",
            [f"K={epochs}" for epochs in EPOCHS],
            "increasing",
            "gap:mean",
            # In standard deviations of the advantage; an update gains some 0.02 of them.
            smallest_effect=0.002,
            id="25b",
            source=SOURCE,
            known="Andrychowicz et al. 2021: several passes over the data are crucial.",
        ),
        Claim(
            "After 20 epochs an update gains less on fresh rollouts than after 10",
            ["K=20", "K=10"],
            "less",
            "held_out:mean",
            paired=True,
            id="25g",
            source="Part 6, gotcha 4, “more is not better”",
            known="rl-zoo's tuned settings make 20 epochs on CartPole, HalfCheetah and Walker2d.",
        ),
    ],
)
