"""What code of users may change in the process that it runs in, so that it can be put back before the next pack.

Environments, plugins and networks run in the same process as what trains them, and one after the other: a default of
torch, a signal handler or a working directory that one leaves behind would decide the numbers of the next, or make it
fail. Code that replaces functions of other modules, or leaves threads behind, cannot be undone: a forked worker that
has run code of users is therefore not used again (`rlbench.study.executors.local`).
"""

from __future__ import annotations

import builtins
import contextlib
import decimal
import gc
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
from functools import partial
from typing import Any, NamedTuple

import numpy as np


class _Part(NamedTuple):
    """One part of a process's state: how it is read, and how it is set."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]


@contextlib.contextmanager
def left_as_found() -> Iterator[None]:
    """Put everything back afterwards that was changed meanwhile."""
    parts = _parts()
    before = [part.read() for part in parts]
    try:
        yield
    finally:
        for part, value in zip(parts, before, strict=True):
            with contextlib.suppress(Exception):  # what cannot be put back must not cost the results
                if not _same(part.read(), value):
                    part.write(value)


def draw_anew() -> None:
    """Give the global generators a state by chance, so that two packs do not share what is drawn from them."""
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
        _Part(sys.getrecursionlimit, sys.setrecursionlimit),
        _Part(sys.getswitchinterval, sys.setswitchinterval),
        _Part(sys.get_int_max_str_digits, sys.set_int_max_str_digits),
        _Part(sys.gettrace, sys.settrace),
        _Part(sys.getprofile, sys.setprofile),
        _Part(gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        _Part(gc.get_threshold, lambda sizes: gc.set_threshold(*sizes)),
        _Part(lambda: decimal.getcontext().copy(), decimal.setcontext),
        _Part(lambda: logging.root.level, logging.root.setLevel),
        _Part(lambda: logging.root.manager.disable, logging.disable),
        # The process. The environment first, since time zone and locale are read from it.
        _mapping(os.environ),
        _Part(lambda: time.tzname, lambda _: getattr(time, "tzset", lambda: None)()),
        _Part(lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
        _Part(_folder, os.chdir),
        _Part(_umask, os.umask),
        *_of_posix(),
        *_of_libraries(),
    ]


def _of_libraries() -> list[_Part]:
    """Return the state of the libraries that are imported; a worker that imports more for a pack is not used again."""
    parts = [
        _Part(np.geterr, lambda kinds: np.seterr(**kinds)),
        _Part(np.geterrcall, np.seterrcall),
        _Part(np.get_printoptions, lambda options: np.set_printoptions(**options)),
        _Part(np.random.get_state, np.random.set_state),
        _Part(random.getstate, random.setstate),
    ]
    if gymnasium := sys.modules.get("gymnasium"):
        parts.append(_attribute(gymnasium.logger, "min_level"))
    torch = sys.modules.get("torch")
    return parts if torch is None else parts + _of_torch(torch)


def _of_torch(torch: Any) -> list[_Part]:
    return [
        _Part(torch.get_rng_state, torch.set_rng_state),
        _Part(torch.get_default_dtype, torch.set_default_dtype),
        _Part(torch.get_default_device, lambda device: torch.set_default_device(None if _is_cpu(device) else device)),
        _Part(torch.is_grad_enabled, torch.set_grad_enabled),
        _Part(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        _Part(torch.get_num_threads, torch.set_num_threads),
        _Part(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        _Part(
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda modes: torch.use_deterministic_algorithms(modes[0], warn_only=modes[1]),
        ),
        _Part(lambda: 5e-324 * _ONE == 0, torch.set_flush_denormal),  # there is no other way to ask
    ]


_ONE = float("1")  # not a constant, or the product would be computed where it is compiled
_OF_SYS = (
    *("stdin", "stdout", "stderr", "excepthook", "displayhook", "unraisablehook", "breakpointhook"),
    "dont_write_bytecode",
)


def _attribute(owner: Any, name: str) -> _Part:
    return _Part(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _items(owner: Any, name: str) -> _Part:
    def write(value: list[Any]) -> None:
        getattr(owner, name)[:] = value

    return _Part(lambda: list(getattr(owner, name)), write)


def _mapping(items: MutableMapping[str, Any]) -> _Part:
    def write(value: dict[str, Any]) -> None:
        for name in [*items]:
            if name not in value:
                del items[name]
        items.update(value)

    return _Part(lambda: dict(items), write)


def _of_posix() -> list[_Part]:
    """Return what only the main thread may change, and only some systems have."""
    parts = []
    if threading.current_thread() is threading.main_thread():
        numbers = [number for number in signal.valid_signals() if signal.getsignal(number) is not None]
        parts += [_Part(partial(signal.getsignal, number), partial(signal.signal, number)) for number in numbers]
    if hasattr(signal, "pthread_sigmask"):
        parts.append(
            _Part(
                lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()),
                lambda blocked: signal.pthread_sigmask(signal.SIG_SETMASK, blocked),
            )
        )
    if hasattr(signal, "setitimer"):
        parts += map(_timer, (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF))
    if hasattr(os, "sched_getaffinity"):
        parts.append(_Part(lambda: os.sched_getaffinity(0), lambda cores: os.sched_setaffinity(0, cores)))
    with contextlib.suppress(ImportError):
        import resource

        limits = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
        parts += [_Part(partial(resource.getrlimit, limit), partial(resource.setrlimit, limit)) for limit in limits]
    return parts


def _timer(which: int) -> _Part:
    return _Part(lambda: signal.getitimer(which)[1], lambda every: signal.setitimer(which, every, every))


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # somebody removed it
        return ""


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _is_cpu(device: Any) -> bool:
    return bool(device.type == "cpu")
