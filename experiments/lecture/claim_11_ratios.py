"""Claims 11 and 16: what the clip does to ratios, and what the clip fraction says."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, TEN_EPOCHS, ppo
from rlbench import Claim, Experiment

DEFAULT, TEN = "PPO defaults", "PPO, ten epochs"
TIGHT, TIGHT_FIXED = "clip 0.01, lr 0.001", "clip 0.2, lr 0.001"

EXPERIMENT = Experiment(
    name="clip-fraction",
    question="Does clipping bound the ratios, and what does the share of clipped samples say?",
    design=(
        "After every update the ratio of new to old probability is measured for all of its 2,048 samples, and during "
        "the update the share of samples outside the band. Two settings are added that clip hardly anything and "
        "nearly everything, and the change that the lecture advises for each."
    ),
    arms=[
        ppo(DEFAULT),
        ppo(TEN, **TEN_EPOCHS),
        ppo("clip 0.05", clip=0.05),
        ppo(TIGHT, **(TEN_EPOCHS | {"lr": 1e-3, "clip": 0.01})),
        ppo(TIGHT_FIXED, **(TEN_EPOCHS | {"lr": 1e-3, "clip": 0.2})),
    ],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    claims=[
        Claim(
            "Clipping bounds the ratio: in at least 95 % of the updates no sample ends above 1.2",
            [DEFAULT, TEN],
            "above",
            "ratio_max:share<=1.2",
            bound=0.95,
            over="mean",
            id="11a",
            source="Part 2, “prevents large policy changes”; recap, “updates are bounded at each step”",
            known="Wang et al. 2019 find largest ratios above 3 on all of six tasks, up to 40. Ilyas et al. 2020 and "
            "Engstrom et al. 2020: the largest ratio leaves the band while the mean divergence stays small.",
        ),
        Claim(
            "After an update at most 5 % of the samples lie outside the band",
            [DEFAULT, TEN],
            "below",
            "outside_band:mean",
            bound=0.05,
            over="mean",
            id="11b",
            source="Part 2; recap",
            known="Wang et al. 2019: half of the samples are outside on Humanoid, HalfCheetah and Walker2d.",
        ),
        Claim(
            "With the defaults, most updates clip at least 5 % of the ratios, so that 0.2 is not too large",
            [DEFAULT],
            "below",
            "clip_fraction:share<0.05",
            bound=0.5,
            over="mean",
            id="16a",
            source="Debugging checklist",
            known="Practice reports 10 to 20 % clipped. The lecture's own listing, made to run, clips nothing at all.",
        ),
        Claim(
            "Where more than 60 % of the ratios are clipped, a larger clip range learns faster",
            [TIGHT_FIXED, TIGHT],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="16c",
            source="Debugging checklist",
        ),
        Claim(
            "Where fewer than 5 % are clipped the clip range is too large: a smaller one learns faster",
            ["clip 0.05", DEFAULT],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="16d",
            source="Debugging checklist",
        ),
    ],
)
