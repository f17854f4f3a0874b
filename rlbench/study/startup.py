"""Starting and ending faster: what imports cost, and what is loaded or compiled when training begins.

Garbage is searched for again and again while much is imported, where there is none, and once more when a process ends:
after torch that last search takes longer than half a second.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
from collections.abc import Iterator
from functools import cache


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage meanwhile: imports leave none, and every search for it takes longer than the one before."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@cache
def leave_quickly() -> None:
    """Let this process end without a last search for garbage.

    Python promises no `__del__` of what is left by then. Nor does it promise that what was written to files that were
    never closed reaches the disk; it does so if they are found in that search, hence they are flushed here.
    """
    atexit.register(_freeze)


def _freeze() -> None:
    kinds = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)  # texts first: they write into the others
    files = [thing for thing in gc.get_objects() if type(thing) in kinds]
    for file in sorted(files, key=lambda file: kinds.index(type(file))):
        with contextlib.suppress(OSError, ValueError):  # closed, or nowhere to write to
            file.flush()
    gc.freeze()


def warm_up() -> None:
    """Train for two steps: much of what training needs is loaded, or on a new machine compiled, when first used."""
    import torch

    from rlbench.algorithm import Algorithm, configure
    from rlbench.data import Params, Problem, Samples
    from rlbench.fields import static
    from rlbench.improve import first_order
    from rlbench.records import Environment
    from rlbench.training.trainer import train

    class Idle(Algorithm):
        # Fits its value only: autograd, which may start threads, has nothing to differentiate.
        name = "idle"
        horizon: int = static(1)
        epochs: int = static(1)
        minibatches: int = static(1)
        normalize_advantage: str = static("none")

        def surrogate(self, x: Samples) -> torch.Tensor:
            return x.advantage

        def improve(self, problem: Problem) -> Params:
            return first_order(problem)

    train([configure(Idle, {}, "warm-up")], Environment("CartPole-v1"), 2, [0])


if __name__ == "__main__":
    warm_up()
