"""Every algorithm with settings that train in a moment."""

from __future__ import annotations

from typing import Any

from rlbench import registry
from rlbench.algorithm import Algorithm, configure
from rlbench.fields import fields_of

# Batches of 20 and 100 samples: no multiples of a vector register, where unequal rounding would show.
SMALL = {"horizon": 50, "num_envs": 2, "minibatches": 5, "epochs": 2, "hidden": (16, 16)}
OWN = [name for name in registry.names() if not registry.load(name).foreign]
"""The algorithms that rlbench trains itself, in packs and with checkpoints."""


def make(name: str, **settings: Any) -> Algorithm:
    """Return an algorithm with the settings of `SMALL` that it has, and others."""
    cls = registry.load(name)
    known = fields_of(cls)
    chosen = SMALL | ({"value_minibatches": 5} if "value_minibatches" in known else {})
    if name == "reinforce":
        chosen |= {"epochs": 1, "minibatches": 1}
    return configure(cls, {key: value for key, value in (chosen | settings).items() if key in known}, "test")
