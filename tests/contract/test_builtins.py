"""The contract suite on every algorithm that is installed."""

from __future__ import annotations

import pytest

from rlbench import registry
from rlbench.checks import check_algorithm


@pytest.mark.parametrize("name", registry.names())
def test_keeps_the_contract(name: str) -> None:
    results = list(check_algorithm(registry.load(name)))
    assert len(results) == 11
    assert [(result.name, result.message) for result in results if not result.passed] == []
