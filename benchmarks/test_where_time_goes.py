"""Where each microsecond of a training step goes."""

from __future__ import annotations

import pytest

from benchmarks.breakdown import break_down
from benchmarks.cases import SETTINGS, train
from benchmarks.conftest import Measure

STEPS = 8192


@pytest.mark.benchmark(group="breakdown")
@pytest.mark.parametrize("replicas", [1, 5, 10])
@pytest.mark.parametrize("setting", SETTINGS)
def test_breakdown(measure: Measure, quick: bool, setting: str, replicas: int) -> None:
    """ppo-clip with its functions wrapped, beside itself without: the difference is what wrapping costs."""
    steps = 2048 if quick else STEPS

    def loop() -> float:
        return train("ppo-clip", SETTINGS[setting], replicas, steps)

    measure(
        lambda: break_down(loop, replicas * steps),
        rounds=3,
        reference=loop,
        algorithm="ppo-clip",
        setting=setting,
        replicas=replicas,
        steps=steps,
    )
