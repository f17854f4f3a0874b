"""Every algorithm that comes with rlbench beside PPO-Clip: a figure of each."""

from rlbench import Showpiece, Suite
from variants import EXPERIMENT

SUITE = Suite(
    title="Successors of PPO-Clip on small tasks",
    introduction=(
        "Papers propose variants of PPO-Clip and report that they learn better. Here each is trained at its own "
        "defaults on three small tasks, with the same budget and seeds."
    ),
    figures=[
        Showpiece(name, "curves", "variants", arms=[name, "random" if name == "ppo-clip" else "ppo-clip"])
        for name in (arm.algorithm for arm in EXPERIMENT.arms)
    ],
)
