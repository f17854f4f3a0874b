"""One improvement step: what it sees, the default step, and what is measured of it."""

from rlbench.improve.first_order import first_order
from rlbench.improve.problem import Problem

__all__ = ["Problem", "first_order"]
