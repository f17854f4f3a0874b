"""Does PPO beat REINFORCE? Five algorithms on two control tasks, with equal budgets; a few minutes on two cores."""

from rlbench import Experiment

EXPERIMENT = Experiment(
    name="ppo-vs-reinforce",
    question="Does PPO beat REINFORCE here, by how much, and how sure is that?",
    arms=[
        "reinforce",
        "trpo",
        "ppo-clip",
        "ppo-penalty",
        "ppo-adaptive",
    ],
    environments=["CartPole-v1", "Acrobot-v1"],
    seeds=10,
    steps=100_000,
    baseline="reinforce",
)
