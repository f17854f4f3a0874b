"""Table 1 of Schulman et al. 2017, "Proximal Policy Optimization Algorithms": eleven surrogates on seven MuJoCo tasks.

About four hours on two quiet cores, and interrupting loses nothing (`make table1`). For a first look in minutes:
`rlbench run experiments/ppo_table1.py --env HalfCheetah-v5 --seeds 3 --steps 100000`.

The protocol is the paper's, section 6.1 and table 3: rollouts of 2,048 steps, ten epochs of minibatches of 64, Adam
with a constant step size of 3e-4, two tanh layers of 64 units each for policy and value, no entropy bonus, a million
steps, three seeds, and as the score of a run the mean return of its last 100 training episodes. What the paper does
not say is taken from the program that was published with it (OpenAI Baselines, `ppo1`): observations are standardised
by running statistics, advantages over each rollout, and gradients are not cut. What differs: the tasks are Gymnasium's
version 5 instead of Gym's version 1; actions are cut to their bounds before they are sent, where `ppo1` sends them as
they were drawn (`ppo_table1_actions.py` looks at that); the adaptive beta stays within 1e-4 and 1e4; TRPO and REINFORCE
are further rows, as in the paper's figure 3, with rlbench's own defaults.
"""

from typing import Any

from rlbench import Arm, Claim, Experiment, Published

PAPER: dict[str, Any] = {
    "anneal_lr": False,
    "max_grad_norm": float("inf"),
    "normalize_advantage": "batch",
    "normalize_observation": True,
}
NOTHING = "no clipping or penalty"
CLIPS = {f"clipping, eps = {clip}": clip for clip in (0.1, 0.2, 0.3)}
ADAPTIVE = {f"adaptive KL, d_targ = {target}": target for target in (0.003, 0.01, 0.03)}
FIXED = {f"fixed KL, beta = {beta}": beta for beta in (0.3, 1, 3, 10)}
BEST = "clipping, eps = 0.2"
CONSTRAINED = [*CLIPS, *ADAPTIVE, *FIXED]
TABLE_1 = dict(
    zip([NOTHING, *CONSTRAINED], [-0.39, 0.76, 0.82, 0.70, 0.68, 0.74, 0.71, 0.62, 0.71, 0.72, 0.69], strict=True)
)

EXPERIMENT = Experiment(
    name="ppo_table1",
    question="Which surrogate of PPO trains best on continuous control: clipped, with a KL penalty, or plain?",
    design=(
        "Eleven surrogates of PPO, alike in everything else, with the settings of the PPO paper's MuJoCo runs, and "
        "TRPO and REINFORCE beside them. A run's score is the mean return of its last 100 training episodes."
    ),
    arms=[
        Arm("ppo-clip", NOTHING, clip=float("inf"), **PAPER),
        *(Arm("ppo-clip", label, clip=clip, **PAPER) for label, clip in CLIPS.items()),
        *(Arm("ppo-penalty", label, adaptive=True, kl_target=goal, **PAPER) for label, goal in ADAPTIVE.items()),
        *(Arm("ppo-penalty", label, beta=float(beta), **PAPER) for label, beta in FIXED.items()),
        Arm("trpo", "TRPO", anneal_lr=False, normalize_observation=True),
        Arm("reinforce", "REINFORCE", anneal_lr=False, normalize_observation=True, horizon=2048, lr=3e-3),
    ],
    environments=[
        *("HalfCheetah-v5", "Hopper-v5", "InvertedDoublePendulum-v5", "InvertedPendulum-v5", "Reacher-v5"),
        *("Swimmer-v5", "Walker2d-v5"),
    ],
    seeds=3,
    steps=1_000_000,
    baseline=NOTHING,
    published=Published("Schulman et al. 2017, table 1, three seeds, without intervals", TABLE_1),
    claims=[
        Claim(
            "Without clipping or penalty PPO learns worse than with any of them",
            [NOTHING, *CONSTRAINED],
            "less",
            metric="last100_normalised",
            over="mean",
            source="Schulman et al. 2017, table 1: -0.39 against 0.62 to 0.82",
        ),
        Claim(
            "Clipping at 0.2 is at least as good as every other setting",
            [BEST, *(label for label in CONSTRAINED if label != BEST)],
            "not-less",
            metric="last100_normalised",
            smallest_effect=0.05,
            over="mean",
            source="Schulman et al. 2017, table 1: 0.82 is the highest number",
        ),
        Claim(
            "Clipping at 0.2 is better than the best adaptive penalty of the paper",
            [BEST, "adaptive KL, d_targ = 0.01"],
            "greater",
            metric="last100_normalised",
            over="mean",
            source="Schulman et al. 2017, section 6.1: 0.82 against 0.74",
        ),
        Claim(
            "PPO with clipping at 0.2 is better than TRPO and REINFORCE",
            [BEST, "TRPO", "REINFORCE"],
            "greater",
            metric="last100_normalised",
            over="mean",
            source="Schulman et al. 2017, figure 3",
        ),
    ],
)
