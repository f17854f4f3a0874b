"""Surrogates without autograd: recorded once, replayed in numpy."""

from rlbench.improve.replay.replay import Replay

__all__ = ["Replay"]
