# ---
# jupyter:
#   jupytext: {formats: "py:percent,ipynb"}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A variant of your own in ten minutes
#
# An idea: what if PPO's clip were narrower below 1 than above it, so that good actions may become more likely faster than
# bad ones become unlikely? Write it, check it, compare it, and see what it did.

# %%
import torch

import rlbench
from rlbench import Algorithm, Arm, hyper
from rlbench.functional import clip

# %% [markdown]
# ## Write it
#
# An algorithm is a frozen dataclass. Its fields are its hyper-parameters; `surrogate` is the objective, per sample, to be
# maximised. `x.ratio` and `x.advantage` have the shape `[..., B]`: work along the last axis only.


# %%
class Lopsided(Algorithm):
    """min(r A, clip(r, 1 - low, 1 + high) A)."""

    name = "lopsided"
    low: float = hyper(0.1, low=0.0, high=1.0, doc="how far the ratio may fall")
    high: float = hyper(0.3, low=0.0, doc="how far it may rise")

    def surrogate(self, x):
        """The clipped objective with two ends."""
        return torch.minimum(x.ratio * x.advantage, clip(x.ratio, 1 - self.low, 1 + self.high) * x.advantage)


# %% [markdown]
# ## Check it
#
# The contract suite tries what every algorithm must keep: formulas that do not mix runs, gradients of the right sign, the
# same numbers alone and in a pack, and a small task that has to be learnt. Each failure is a sentence on what to change.

# %%
from rlbench.checks import check_algorithm

for result in check_algorithm(Lopsided):
    print("ok  " if result.passed else "FAIL", result.name, result.message)

# %% [markdown]
# ## Compare it
#
# With what it changes, at the same settings. Both train side by side in one program.

# %%
settings = {"lr": 1e-3, "anneal_lr": False}
results = rlbench.compare(
    [Arm(Lopsided, **settings), Arm("ppo-clip", **settings)], ["CartPole-v1"], seeds=5, steps=40_000, progress=False
)
results.comparisons[0].verdict, results.comparisons[0].difference

# %%
results.plot_learning_curves()

# %% [markdown]
# ## What did it do?
#
# The share of samples that lie outside of 1 ± 0.2, and the divergence per update. If nothing differs here, the idea had
# no effect, whatever the scores say.

# %%
results.updates.merge(results.runs[["cell", "arm"]]).groupby("arm")[["kl", "outside_band", "entropy"]].mean()

# %% [markdown]
# ## Next
#
# Five seeds decide little: `rlbench plan` says how many are needed. Give both the same search for settings with
# `rlbench tune lopsided ppo-clip --plugin lopsided.py`, once the class is in a file of that name. To share it, put the
# class into a package with an entry point.
