"""Claim 16b: configurations whose clip fraction is 10 to 40 % learn better."""

from mechanism_clip_fractions import ALL, IN, OUT, measure
from rlbench import Claim, Measurement

SOURCE = "Debugging checklist, “10-40% clipped”"

EXPERIMENT = Measurement(
    name="clip-fraction-band",
    question="Do configurations of PPO-Clip that clip 10 to 40 % of the ratios learn better than the others?",
    design=(
        "18 configurations, three clip ranges by three learning rates by 4 or 10 epochs, are trained for 40,960 steps "
        "and divided by the mean clip fraction of their updates into those in the band and those outside. Compared "
        "are the mean areas under the learning curve of the two groups, normalised by random play and the task's "
        "target."
    ),
    measure=measure,
    arms=[IN, OUT, ALL],
    environments=["CartPole-v1", "Acrobot-v1", "Pendulum-v1"],
    seeds=10,
    claims=[
        Claim(
            "Configurations that clip 10 to 40 % learn better than those that clip less or more",
            [IN, OUT],
            "greater",
            "area:mean",
            smallest_effect=0.05,
            over="mean",
            paired=True,
            id="16b",
            source=SOURCE,
            known="Wang et al. 2019 find about half of the ratios outside the band on Humanoid, HalfCheetah and "
            "Walker2d.",
        ),
        Claim(
            "Of configurations with one learning rate, those nearer to the band learn better",
            [ALL],
            "below",
            "spearman_within_lr:mean",
            bound=0.0,
            smallest_effect=0.1,
            over="mean",
            id="16e",
            source=SOURCE,
        ),
    ],
)
