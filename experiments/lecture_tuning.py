"""Which learning rate is fair to each algorithm? Run on seeds that no claim of `experiments/lecture` uses."""

from rlbench import Arm, Experiment

RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
PPO = {"anneal_lr": False, "entropy_coef": 0.01, "epochs": 10, "lr": RATES}

EXPERIMENT = Experiment(
    name="lecture-tuning",
    question="Which learning rate gives each algorithm the largest mean area under its learning curves?",
    arms=[
        Arm("ppo-clip", **PPO),
        Arm("actor-critic", "no clip", **PPO),
        Arm("actor-critic", "no clip, one epoch", **(PPO | {"epochs": 1})),
        Arm("ppo-penalty", **PPO),
        Arm("ppo-penalty", "ppo-penalty, adaptive", **PPO, adaptive=True),
        Arm("ppo-adaptive", **PPO),
        Arm("trpo", anneal_lr=False, lr=RATES),
        Arm("reinforce", anneal_lr=False, lr=RATES),
        Arm("reinforce", "reinforce, batch mean", baseline="mean", anneal_lr=False, lr=RATES),
        Arm("actor-critic", "a2c", **(PPO | {"epochs": 1}), minibatches=1, horizon=16, num_envs=8),
    ],
    environments=["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "MountainCarContinuous-v0"],
    seeds=[100, 101, 102, 103, 104],
    steps=100_000,
)
