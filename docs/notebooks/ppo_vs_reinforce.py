# ---
# jupyter:
#   jupytext: {formats: "py:percent,ipynb"}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # From REINFORCE to PPO
#
# What courses let students write by hand: REINFORCE without and with a baseline, A2C, and PPO without and with its clip,
# on CartPole-v1. Here each is trained five times, so that luck can be told from skill. It takes about half a minute.

# %%
import gymnasium
import matplotlib.pyplot as plt

import rlbench
from rlbench import Arm, Claim, Experiment

# %% [markdown]
# ## What is compared
#
# All five learn from the same number of environment steps. They differ in what weighs an action, and in how far an update
# may go:
#
# | arm | an action is weighed by | an update |
# |---|---|---|
# | REINFORCE | the return that followed | one step of the gradient |
# | with baseline | the same, less what the state is worth | one step |
# | A2C | generalised advantage | one step, after few samples |
# | PPO without clip | generalised advantage | ten passes, as far as they go |
# | PPO | generalised advantage | ten passes, clipped |

# %%
experiment = Experiment(
    name="from-reinforce-to-ppo",
    question="What does each step from REINFORCE to PPO give?",
    arms=[
        Arm("reinforce", "REINFORCE", baseline="none", lr=3e-3, anneal_lr=False),
        Arm("reinforce", "with baseline", lr=3e-3, anneal_lr=False),
        Arm("a2c", "A2C"),
        Arm("actor-critic", "PPO without clip", epochs=10, lr=1e-3, anneal_lr=False),
        Arm("ppo-clip", "PPO", epochs=10, lr=1e-3, anneal_lr=False),
    ],
    environments=["CartPole-v1"],
    seeds=5,
    steps=50_000,
    baseline="REINFORCE",
    claims=[
        Claim("PPO learns faster than REINFORCE with a baseline", ["PPO", "with baseline"], "greater"),
        Claim("The clip keeps updates small", ["PPO", "PPO without clip"], "less", "kl:q0.95"),
    ],
)
results = rlbench.run(experiment, progress=False)

# %% [markdown]
# ## Curves
#
# The line is the mean over five runs, the band its 95 % interval at each step. Look at the single runs, too: with five of
# them one lucky run moves the mean a long way.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
results.plot_learning_curves(left, note=False)
results.plot_scores(right, note=False)

# %% [markdown]
# ## A verdict
#
# "Better" and "worse" are verdicts of a permutation test, corrected for all comparisons. "Inconclusive" means that five
# runs do not tell.

# %%
for comparison in results.comparisons:
    print(f"{comparison.arm:18} {comparison.verdict:13} {comparison.difference.point:+7.1f}")
for verdict in results.verdicts:
    print(f"{verdict.claim.statement}: {verdict.verdict}")

# %% [markdown]
# Why does the clip help? It bounds how far an update moves the policy: the KL divergence per update says it.

# %%
results.plot_diagnostics(quantity="kl", note=False)

# %% [markdown]
# ## The pole, standing
#
# Every run keeps its policy. This one is of the median run of PPO.

# %%
policy = results.policy("PPO")
env, total, over = gymnasium.make("CartPole-v1", render_mode="rgb_array"), 0.0, False
observation, _ = env.reset(seed=0)
frames = []
while not over:
    frames += [env.render()] if len(frames) < 500 else []
    observation, reward, terminated, truncated, _ = env.step(policy(observation))
    total, over = total + reward, terminated or truncated
figure, axes = plt.subplots(1, 5, figsize=(11, 2), layout="constrained")
for ax, place in zip(axes, range(0, len(frames), max(len(frames) // 5, 1)), strict=False):
    ax.imshow(frames[place])
    ax.set_title(f"step {place}")
    ax.axis("off")
total

# %% [markdown]
# ## More
#
# `rlbench.run` with `seeds=20` trains only fifteen more; `results.report("report")` writes the page with everything.
