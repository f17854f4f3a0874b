"""What one pack does to its process reaches no other."""

from __future__ import annotations

import builtins
import decimal
import gc
import locale
import logging
import os
import random
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from rlbench.study.process import left_as_found

Change = tuple[Callable[[], Any], Callable[[], Any]]


def soft_limit() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


CHANGES: dict[str, Change] = {
    "torch's default type": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.float64)),
    "torch's default device": (torch.get_default_device, lambda: torch.set_default_device("meta")),
    "gradients": (torch.is_grad_enabled, lambda: torch.set_grad_enabled(False)),
    "anomaly detection": (torch.is_anomaly_enabled, lambda: torch.autograd.set_detect_anomaly(True)),
    "deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        lambda: torch.use_deterministic_algorithms(True),
    ),
    "torch's threads": (torch.get_num_threads, lambda: torch.set_num_threads(7)),
    "denormal numbers": (lambda: repr(float("5e-324") * float("1")), lambda: torch.set_flush_denormal(True)),
    "torch's generator": (lambda: torch.get_rng_state().tolist(), lambda: torch.manual_seed(12345)),
    "numpy's errors": (np.geterr, lambda: np.seterr(all="raise")),
    "numpy's printing": (np.get_printoptions, lambda: np.set_printoptions(precision=1)),
    "numpy's generator": (lambda: np.random.get_state()[1].tolist(), lambda: np.random.seed(1)),  # noqa: NPY002
    "Python's generator": (random.getstate, lambda: random.seed(1)),
    "recursion": (sys.getrecursionlimit, lambda: sys.setrecursionlimit(150)),
    "digits": (sys.get_int_max_str_digits, lambda: sys.set_int_max_str_digits(5000)),
    "hook of exceptions": (lambda: sys.excepthook, lambda: setattr(sys, "excepthook", print)),
    "standard output": (lambda: sys.stdout, lambda: setattr(sys, "stdout", None)),
    "profile": (sys.getprofile, lambda: sys.setprofile(lambda *_: None)),
    "path": (lambda: list(sys.path), lambda: sys.path.insert(0, "/nowhere")),
    "builtins": (lambda: builtins.open, lambda: setattr(builtins, "open", None)),
    "a new builtin": (lambda: hasattr(builtins, "mine"), lambda: setattr(builtins, "mine", 1)),
    "warnings": (lambda: list(warnings.filters), lambda: warnings.simplefilter("ignore")),
    "garbage": (gc.isenabled, gc.disable),
    "decimals": (lambda: decimal.getcontext().prec, lambda: setattr(decimal.getcontext(), "prec", 3)),
    "logging": (lambda: logging.root.manager.disable, lambda: logging.disable(logging.CRITICAL)),
    "Gymnasium's messages": (lambda: gymnasium.logger.min_level, lambda: setattr(gymnasium.logger, "min_level", 50)),
    "signal": (lambda: signal.getsignal(signal.SIGTERM), lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN)),
    "interrupt": (lambda: signal.getsignal(signal.SIGINT), lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)),
    "blocked signals": (
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}),
    ),
    "timer": (
        lambda: signal.getitimer(signal.ITIMER_VIRTUAL)[1],
        lambda: signal.setitimer(signal.ITIMER_VIRTUAL, 1000, 1000),
    ),
    "folder": (os.getcwd, lambda: os.chdir("/")),
    "environment variable": (lambda: dict(os.environ), lambda: os.environ.update(HOME="/nowhere", NEW="1")),
    "variable taken away": (lambda: os.environ.get("PATH"), lambda: os.environ.pop("PATH")),
    "time zone": (lambda: time.tzname, lambda: (os.environ.update(TZ="Asia/Tokyo"), time.tzset())),
    "locale": (lambda: locale.setlocale(locale.LC_ALL), lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8")),
    "mask of files": (lambda: f"{(mask := os.umask(0))} {os.umask(mask)}", lambda: os.umask(0o777)),
    "limit": (soft_limit, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (50, soft_limit()[1]))),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_is_put_back(what: str) -> None:
    read, change = CHANGES[what]
    before = read()
    with left_as_found():
        change()
        if what != "mask of files":  # reading it sets it
            assert read() != before
    assert read() == before


def test_it_is_put_back_after_an_error_and_all_at_once(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    before = {what: read() for what, (read, _) in CHANGES.items()}

    def spoil() -> None:
        with left_as_found():
            for _, change in CHANGES.values():
                change()
            os.chdir(gone)
            gone.rmdir()
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        spoil()
    assert {what: read() for what, (read, _) in CHANGES.items()} == before
