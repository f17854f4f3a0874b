"""Claims 4, 7 and 28 about the policies that training ends with, evaluated apart from it."""

from lecture_arms import DISCRETE, EFFECT, FAIR, SEEDS, STEPS, TASKS, TUNED
from rlbench import Arm, Claim, Experiment

PPO, FREE, REINFORCE, TRPO = "PPO-Clip", "PPO-Clip, c2=0", "REINFORCE", "TRPO"

EXPERIMENT = Experiment(
    name="final-policies",
    question="How good are the policies that training ends with, with and without exploration?",
    design=(
        "Policies are evaluated in episodes of their own, which are the same for all runs, once with their most likely "
        "actions and once with sampled ones. Arms, tasks and budget are those of the comparison of algorithms; one arm "
        "more trains without the entropy bonus."
    ),
    arms=[
        Arm("ppo-clip", PPO, **TUNED, lr=FAIR["ppo-clip"]),
        Arm("ppo-clip", FREE, **(TUNED | {"entropy_coef": 0.0}), lr=FAIR["ppo-clip"]),
        Arm("reinforce", REINFORCE, anneal_lr=False, lr=FAIR["reinforce"]),
        Arm("trpo", TRPO, anneal_lr=False, lr=FAIR["trpo"]),
    ],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    baseline=REINFORCE,
    evaluate_every=10_000,
    evaluation_episodes=20,
    claims=[
        Claim(
            "PPO solves the discrete tasks: its final policy reaches the target, less a twentieth, with its most "
            "likely actions",
            [PPO],
            "above",
            "eval_final_normalised",
            environments=DISCRETE,
            bound=1 - EFFECT,
            id="4c",
            source="Part 1; part 9",
        ),
        Claim(
            "The same policy reaches it with sampled actions, too, as it is trained",
            [PPO],
            "above",
            "eval_final_sampled_normalised",
            environments=DISCRETE,
            bound=1 - EFFECT,
            id="4d",
            source="Part 1; part 9",
        ),
        Claim(
            "PPO's final policy is better than that of REINFORCE, both without exploration",
            [PPO, REINFORCE],
            "greater",
            "eval_final_normalised",
            smallest_effect=EFFECT,
            over="mean",
            id="4e",
            source="Part 1",
        ),
        Claim(
            "PPO's final policy is nearly as good as TRPO's, both without exploration",
            [PPO, TRPO],
            "not-less",
            "eval_final_normalised",
            smallest_effect=EFFECT,
            over="mean",
            id="7c",
            source="Introduction, “nearly as stable”",
        ),
        Claim(
            "Exploration costs return: the final policy of PPO is better with its most likely actions on every task",
            [PPO],
            "above",
            "eval_gain_normalised",
            bound=0.0,
            id="28d",
            source="Part 3, “Encourages exploration”",
        ),
        Claim(
            "The entropy bonus makes the final policy explore more: without it there is less to gain from the most "
            "likely actions",
            [PPO, FREE],
            "greater",
            "eval_gain_normalised",
            over="mean",
            id="28e",
            source="Part 3, “Encourages exploration”",
        ),
    ],
)
