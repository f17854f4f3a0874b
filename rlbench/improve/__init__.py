"""One improvement step: what it sees, the default step, and what is measured of it."""

from rlbench.improve.first_order import first_order

__all__ = ["first_order"]
