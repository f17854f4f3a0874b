"""The process that code of users runs in: what that may change is put back, and starting and ending are faster.

Environments, plugins and networks run in the same process as what trains them, and one after the other: a default of
torch, a signal handler or a working directory that one leaves behind would decide the numbers of the next, or make it
fail. Code that replaces functions of other modules, or leaves threads behind, cannot be undone: a forked worker that
has run code of users is therefore not used again (`rlbench.study.executors.local`).

Garbage is searched for again and again while much is imported, where there is none, and once more when a process ends:
after torch that last search takes longer than half a second. Light: numpy is not imported here.
"""

import atexit
import builtins
import contextlib
import decimal
import gc
import io
import locale
import logging
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import rlbench

_Part = tuple[Callable[[], Any], Callable[[Any], Any]]
"""One part of a process's state: how it is read, and how it is set."""


@contextlib.contextmanager
def left_as_found() -> Iterator[None]:
    """Put everything back afterwards that was changed meanwhile."""
    parts = _parts()
    before = [read() for read, _ in parts]
    try:
        yield
    finally:
        for (read, write), value in zip(parts, before, strict=True):
            with contextlib.suppress(Exception):  # what cannot be put back must not cost the results
                if not _same(read(), value):
                    write(value)


def draw_anew() -> None:
    """Give the global generators a state by chance, so that two packs do not share what is drawn from them."""
    import numpy as np

    random.seed()
    np.random.seed()  # noqa: NPY002
    if torch := sys.modules.get("torch"):
        torch.seed()


def _same(now: Any, before: Any) -> bool:
    try:
        return bool(now is before or now == before)
    except (ValueError, RuntimeError):  # arrays in it
        return False


def _parts() -> list[_Part]:
    return [
        # The interpreter.
        *(_attribute(sys, name) for name in _OF_SYS),
        _attribute(threading, "excepthook"),
        _attribute(warnings, "showwarning"),
        *(_items(sys, name) for name in ("path", "meta_path", "path_hooks")),
        *(_items(*pair) for pair in ((warnings, "filters"), (gc, "callbacks"), (logging.root, "handlers"))),
        _mapping(vars(builtins)),
        (sys.getrecursionlimit, sys.setrecursionlimit),
        (sys.getswitchinterval, sys.setswitchinterval),
        (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
        (sys.gettrace, sys.settrace),
        (sys.getprofile, sys.setprofile),
        (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        (gc.get_threshold, lambda sizes: gc.set_threshold(*sizes)),
        (lambda: decimal.getcontext().copy(), decimal.setcontext),
        (lambda: logging.root.level, logging.root.setLevel),
        (lambda: logging.root.manager.disable, logging.disable),
        # The process. The environment first, since time zone and locale are read from it.
        _mapping(os.environ),
        (lambda: time.tzname, lambda _: getattr(time, "tzset", lambda: None)()),
        (lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
        (_folder, os.chdir),
        (_umask, os.umask),
        *_of_posix(),
        *_of_libraries(),
    ]


def _of_libraries() -> list[_Part]:
    """Return the state of the libraries that are imported; a worker that imports more for a pack is not used again."""
    import numpy as np

    parts: list[_Part] = [
        (np.geterr, lambda kinds: np.seterr(**kinds)),
        (np.geterrcall, np.seterrcall),
        (np.get_printoptions, lambda options: np.set_printoptions(**options)),
        (np.random.get_state, np.random.set_state),
        (random.getstate, random.setstate),
    ]
    if gymnasium := sys.modules.get("gymnasium"):
        parts.append(_attribute(gymnasium.logger, "min_level"))
    if (torch := sys.modules.get("torch")) is None:
        return parts

    def modes() -> tuple[bool, bool]:
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    return [
        *parts,
        (torch.get_rng_state, torch.set_rng_state),
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_default_device, lambda device: torch.set_default_device(None if device.type == "cpu" else device)),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        (modes, lambda modes: torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])),
        (lambda: 5e-324 * _ONE == 0, torch.set_flush_denormal),  # there is no other way to ask
    ]


_ONE = float("1")  # not a constant, or the product would be computed where it is compiled
_OF_SYS = (
    *("stdin", "stdout", "stderr", "excepthook", "displayhook", "unraisablehook", "breakpointhook"),
    "dont_write_bytecode",
)


def _attribute(owner: Any, name: str) -> _Part:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _items(owner: Any, name: str) -> _Part:
    def write(value: list[Any]) -> None:
        getattr(owner, name)[:] = value

    return lambda: list(getattr(owner, name)), write


def _mapping(items: MutableMapping[str, Any]) -> _Part:
    def write(value: dict[str, Any]) -> None:
        for name in [*items]:
            if name not in value:
                del items[name]
        items.update(value)

    return lambda: dict(items), write


def _of_posix() -> list[_Part]:
    """Return what only the main thread may change, and only some systems have."""
    parts: list[_Part] = []
    if threading.current_thread() is threading.main_thread():
        numbers = [number for number in signal.valid_signals() if signal.getsignal(number) is not None]
        parts += [(partial(signal.getsignal, number), partial(signal.signal, number)) for number in numbers]
    if hasattr(signal, "pthread_sigmask"):
        block = signal.pthread_sigmask
        parts.append((lambda: block(signal.SIG_BLOCK, ()), lambda blocked: block(signal.SIG_SETMASK, blocked)))
    if hasattr(signal, "setitimer"):
        parts += map(_timer, (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF))
    if hasattr(os, "sched_getaffinity"):
        parts.append((lambda: os.sched_getaffinity(0), lambda cores: os.sched_setaffinity(0, cores)))
    with contextlib.suppress(ImportError):
        import resource

        limits = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
        parts += [(partial(resource.getrlimit, limit), partial(resource.setrlimit, limit)) for limit in limits]
    return parts


def _timer(which: int) -> _Part:
    return lambda: signal.getitimer(which)[1], lambda every: signal.setitimer(which, every, every)


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # somebody removed it
        return ""


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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


def has_to_compile() -> bool:
    """Return whether the training loops are not compiled yet on this machine, as far as the files beside them show."""
    source = Path(rlbench.__file__).parent / "functional" / "networks.py"
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    kept = source.parent.glob(f"__pycache__/{source.stem}.*.{version}.nbi")
    fresh = any(file.stat().st_mtime >= source.stat().st_mtime for file in kept)
    return os.access(source.parent, os.W_OK) and not fresh


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
