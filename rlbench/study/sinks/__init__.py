"""Where runs can be watched beside the store: TensorBoard and Weights & Biases, fed from the records that are stored.

A sink is told how packs get on and which runs were stored. It works in a thread of its own (`feed`), so that training
waits for none, and one that fails is switched off. What it writes follows from the store and can be written again.
"""

from rlbench.study.sinks.feed import Feed, Sink
from rlbench.study.sinks.opening import open_sinks

__all__ = ["Feed", "Sink", "open_sinks"]
