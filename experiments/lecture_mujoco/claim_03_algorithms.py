"""Claims 3, 4, 7 and 13 on MuJoCo: PPO-Clip against REINFORCE, TRPO, penalties and no clip at all."""

from mujoco_arms import DEFAULTS, EFFECT, PPO, SCALED, SEEDS, STEPS, TASKS, ppo
from rlbench import Arm, Claim, Experiment

TEN, TRPO, FREE = "PPO, ten epochs", "TRPO", "no clip"
REINFORCE = [f"REINFORCE, lr {rate:g}" for rate in (1e-3, 3e-3, 1e-2)]
TEN_EPOCHS = DEFAULTS | {"epochs": 10}
FIXED, ADAPTIVE = "fixed penalty 1", "adaptive penalty, target 0.01"

EXPERIMENT = Experiment(
    name="mujoco-algorithms",
    question="On MuJoCo, does PPO beat REINFORCE, is it as good as TRPO, and does the clip matter?",
    design=(
        "PPO with the lecture's learning rate of 3e-4, with its 4 epochs and with the paper's 10, REINFORCE with three "
        "learning rates, so that none is won by a bad one, TRPO with its own defaults, two penalties and no clip, all "
        "with the same budget and with observations and rewards normalised alike."
    ),
    arms=[
        ppo(PPO),
        ppo(TEN, epochs=10),
        *(
            Arm("reinforce", label, **SCALED, anneal_lr=False, horizon=2048, lr=rate)
            for label, rate in zip(REINFORCE, (1e-3, 3e-3, 1e-2), strict=True)
        ),
        Arm("trpo", TRPO, **SCALED, anneal_lr=False),
        ppo(FREE, epochs=10, clip=float("inf")),
        Arm("ppo-penalty", FIXED, **TEN_EPOCHS, beta=1.0),
        Arm("ppo-penalty", ADAPTIVE, **TEN_EPOCHS, adaptive=True, kl_target=0.01),
    ],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    baseline=TEN,
    claims=[
        Claim(
            "Without the clip, ten epochs lose again what was learnt: the drop is larger",
            [FREE, TEN],
            "greater",
            "drop_normalised",
            smallest_effect=EFFECT,
            over="mean",
            id="3a",
            source="Introduction; part 1",
            known="Schulman et al. 2017, table 1: -0.39 without clip or penalty against 0.82 with the clip.",
        ),
        Claim(
            "Without the clip ten epochs learn less than with it",
            [TEN, FREE],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="3b",
            source="Part 1; part 5",
            known="Engstrom et al. 2020 give PPO without clip its own step size on Hopper, Walker2d and Humanoid and "
            "find 2867, 2371 and 831 against 3292, 2513 and 806.",
        ),
        Claim(
            "PPO learns faster than REINFORCE with any of three step sizes",
            [TEN, *REINFORCE],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="4a",
            source="Part 1, “slow learning”",
            known="Tianshou's tables: Hopper 396 for REINFORCE after 3 million steps, 2609 for PPO after 1 million.",
        ),
        Claim(
            "Even with the lecture's defaults PPO learns faster than REINFORCE with any of three step sizes",
            [PPO, *REINFORCE],
            "greater",
            over="mean",
            id="4b",
            source="Part 1; part 9",
        ),
        Claim(
            "PPO learns nearly as well as TRPO",
            [TEN, TRPO],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="7a",
            source="Introduction, “nearly as stable”",
            known="Engstrom et al. 2020, table 2, Walker2d, Hopper, Humanoid: PPO 3292, 2513, 806; TRPO 2791, 2043, "
            "586.",
        ),
        Claim(
            "PPO is nearly as stable as TRPO: it loses hardly more of what it learnt",
            [TEN, TRPO],
            "not-greater",
            "drop_normalised",
            smallest_effect=EFFECT,
            over="mean",
            id="7b",
            source="Introduction, “nearly as stable”",
        ),
        Claim(
            "The clip learns faster than a fixed penalty of weight 1",
            [TEN, FIXED],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="13a",
            source="Part 7, PPO-Clip “most common”, “effective”",
            known="Schulman et al. 2017, table 1: 0.82 against 0.71, without intervals.",
        ),
        Claim(
            "The clip learns faster than an adaptive penalty with target 0.01",
            [TEN, ADAPTIVE],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="13b",
            source="Part 7",
            known="Schulman et al. 2017, table 1: 0.82 against 0.74, without intervals.",
        ),
    ],
)
