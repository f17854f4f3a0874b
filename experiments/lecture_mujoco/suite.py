"""The lecture's headline claims once more, on two MuJoCo tasks."""

from rlbench import Suite

SUITE = Suite(
    title="The lecture's headline claims on MuJoCo",
    introduction=(
        "The lecture on proximal policy optimisation is tried on small tasks, with 100,000 steps a run. Its headline "
        "claims are tried here once more, by the same rules, on HalfCheetah and Hopper with 300,000 steps. Numbers of "
        "claims are those of the first trial, whose report shows both verdicts side by side. Some claims are narrower "
        "here, with fewer values or rivals: each says what it compares."
    ),
)
