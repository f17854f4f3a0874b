"""The contract suite on every algorithm that is installed."""

from __future__ import annotations

import pytest

from rlbench import registry
from rlbench.checks import check_algorithm


@pytest.mark.parametrize("name", registry.names())
def test_keeps_the_contract(name: str) -> None:
    if (cls := registry.load(name)).foreign:
        pytest.importorskip("sb3_contrib")
    results = list(check_algorithm(cls))
    assert len(results) == (3 if cls.foreign else 11)
    assert [(result.name, result.message) for result in results if not result.passed] == []
