"""Claim 12: one bad advantage estimate destroys the policy without the clip, and not with it."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, TEN_EPOCHS, ppo
from rlbench import Arm, Claim, Experiment
from variants_corrupted import CorruptedActorCritic, CorruptedClip

CLIP, FREE = "clip", "no clip"
CLIP_HIT, FREE_HIT = "clip, one corrupted advantage", "no clip, one corrupted advantage"
RAW = {"normalize_advantage": "none"}
CLIP_RAW, CLIP_RAW_HIT = "clip, not normalised", "clip, not normalised, one corrupted"
FREE_RAW, FREE_RAW_HIT = "no clip, not normalised", "no clip, not normalised, one corrupted"
HIT = {"corruption": 1000.0, "at": 0.84}

EXPERIMENT = Experiment(
    name="corrupted-advantage",
    question="Does one bad advantage estimate destroy the policy without the clip, and not with it?",
    design=(
        "In one update, after 84 % of training, one sample's advantage is replaced by one of the wrong sign and 1,000 "
        "standard deviations large; the run is compared with the same one without this error by its returns in the "
        "last tenth of training. With and without the clip, with advantages normalised or raw, ten epochs."
    ),
    arms=[
        ppo(CLIP, **TEN_EPOCHS),
        Arm(CorruptedClip, CLIP_HIT, **TEN_EPOCHS, **HIT),
        Arm("actor-critic", FREE, **TEN_EPOCHS),
        Arm(CorruptedActorCritic, FREE_HIT, **TEN_EPOCHS, **HIT),
        ppo(CLIP_RAW, **TEN_EPOCHS, **RAW),
        Arm(CorruptedClip, CLIP_RAW_HIT, **TEN_EPOCHS, **HIT, **RAW),
        Arm("actor-critic", FREE_RAW, **TEN_EPOCHS, **RAW),
        Arm(CorruptedActorCritic, FREE_RAW_HIT, **TEN_EPOCHS, **HIT, **RAW),
    ],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    claims=[
        Claim(
            "Without the clip one bad estimate destroys the policy: its final return is lower than without the error",
            [FREE_HIT, FREE],
            "less",
            "final_normalised",
            smallest_effect=EFFECT,
            over="mean",
            paired=True,
            id="12b",
            source="Part 5, “why clipping works”",
        ),
        Claim(
            "With the clip it does hardly any harm",
            [CLIP_HIT, CLIP],
            "not-less",
            "final_normalised",
            smallest_effect=EFFECT,
            over="mean",
            paired=True,
            id="12c",
            source="Part 5, “why clipping works”",
        ),
        Claim(
            "Where advantages are not normalised, one bad estimate without the clip destroys the policy",
            [FREE_RAW_HIT, FREE_RAW],
            "less",
            "final_normalised",
            smallest_effect=EFFECT,
            over="mean",
            paired=True,
            id="12d",
            source="Part 5, “why clipping works”",
        ),
        Claim(
            "Where advantages are not normalised, one bad estimate with the clip does hardly any harm",
            [CLIP_RAW_HIT, CLIP_RAW],
            "not-less",
            "final_normalised",
            smallest_effect=EFFECT,
            over="mean",
            paired=True,
            id="12e",
            source="Part 5, “why clipping works”",
        ),
    ],
)
