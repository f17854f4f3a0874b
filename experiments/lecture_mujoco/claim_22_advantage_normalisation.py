"""Claim 22 on MuJoCo: advantages must always be normalised."""

from mujoco_arms import EFFECT, PPO, SEEDS, STEPS, TASKS, ppo
from rlbench import Claim, Experiment

RAW = "raw advantages"

EXPERIMENT = Experiment(
    name="mujoco-advantage-normalisation",
    question="On MuJoCo, must advantages always be normalised?",
    design="PPO-Clip with the lecture's defaults, with advantages normalised in every minibatch or used as they are.",
    arms=[ppo(PPO), ppo(RAW, normalize_advantage="none")],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    baseline=RAW,
    claims=[
        Claim(
            "Always normalise advantages: on every task it learns at least as well",
            [PPO, RAW],
            "not-less",
            smallest_effect=EFFECT,
            id="22a",
            source="Part 6, gotcha 1",
            known="Andrychowicz et al. 2021: it “seems not to affect performance too much”; Tianshou: no difference.",
        ),
    ],
)
