"""What is replayed is what autograd gives, for every replica by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rlbench import Algorithm, hyper, registry
from rlbench.algorithm import stack
from rlbench.functional import clip
from rlbench.improve.replay import Replay, record

Array = npt.NDArray[Any]
Run = Callable[..., tuple[Array, dict[str, Array]]]
Draw = Callable[..., dict[str, Array]]
Make = Callable[[Any], type[Algorithm]]
BUILT_IN = ("actor-critic", "ppo-adaptive", "ppo-clip", "ppo-penalty", "random", "reinforce", "trpo")
PLUGINS = (
    "asymmetric clip", "dual clip", "clipped value", "k3", "entropy", "tanh", "sigmoid", "softplus", "sign", "relu",
    "standardised", "by the batch's mean", "weighted mean", "powers", "logarithms", "deviation",
    "log of a negative number", "a leaf", "no leaf", "a field", "a constant", "in place", "masks", "flat", "constants",
)  # fmt: skip


@pytest.fixture(params=[*BUILT_IN, *PLUGINS])
def kind(request: pytest.FixtureRequest, surrogates: dict[str, Any], plugin: Make) -> type[Algorithm]:
    name = request.param
    return registry.load(name) if name in BUILT_IN else plugin(surrogates[name])


def varied(kind: type[Algorithm], replicas: int) -> Algorithm:
    """Return replicas whose fields differ, of those that have them."""
    names = [name for name in ("clip", "beta", "bonus") if hasattr(kind, name)]
    return stack([kind(**dict.fromkeys(names, 0.1 + 0.1 * r)) for r in range(replicas)])


def recorded(algorithm: Algorithm, size: int, *, weighted: bool = False) -> Replay:
    replay = record(algorithm, size, weighted=weighted)
    assert isinstance(replay, Replay), replay
    return replay


def share(replicas: int, size: int, *, weighted: bool) -> Array:
    """Return upstream gradients as a mean over samples makes them; those of a replica do not depend on the others."""
    row = np.linspace(0.5, 1.5, size if weighted else 1) / size
    return np.repeat(row.astype(np.float32)[None], replicas, 0)


def compare(found: tuple[Array, dict[str, Array]], expected: tuple[Array, dict[str, Array]]) -> None:
    assert found[1].keys() == expected[1].keys()
    for one, other in ((found[0], expected[0]), *((found[1][name], expected[1][name]) for name in expected[1])):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_every_surrogate_is_tried(surrogates: dict[str, Any]) -> None:
    assert set(PLUGINS) == set(surrogates)
    assert set(BUILT_IN) <= set(registry.names())


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")  # torch's, of the deviation of one sample
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("replicas", "size", "weighted"), [(5, 64, False), (3, 7, True), (2, 1, False)])
def test_replay_is_autograd(
    kind: type[Algorithm], replicas: int, size: int, weighted: bool, ties: bool, draw: Draw, autograd: Run
) -> None:
    if ties and size == 1:
        return
    algorithm = varied(kind, replicas)
    inputs = draw(replicas, size, weighted=weighted, ties=ties)
    upstream = share(replicas, size, weighted=weighted)
    replay = recorded(algorithm, size, weighted=weighted)
    found = replay(algorithm, inputs, upstream)
    compare(found, autograd(algorithm, inputs, upstream))
    assert set(found[1]) == set(replay.grads)


@pytest.mark.parametrize("size", [50, 64])  # 50: no multiple of a vector register, where unequal rounding shows
@pytest.mark.parametrize("weighted", [False, True])
def test_a_replica_is_the_same_to_the_bit_in_any_company(
    kind: type[Algorithm], size: int, weighted: bool, draw: Draw
) -> None:
    replicas = 7
    inputs = draw(replicas, size, weighted=weighted)
    upstream = share(replicas, size, weighted=weighted)
    replay = recorded(varied(kind, replicas), size, weighted=weighted)
    whole, grads = replay(varied(kind, replicas), inputs, upstream)
    for r in range(replicas):
        own = slice(r, r + 1)
        columns = {
            name: value[own] for name, value in vars(varied(kind, replicas)).items() if isinstance(value, torch.Tensor)
        }
        alone = varied(kind, replicas).replace(**columns)
        part, partial = replay(alone, {name: values[own] for name, values in inputs.items()}, upstream[own])
        assert np.array_equal(part, whole[own], equal_nan=True)
        for name in replay.grads:
            assert np.array_equal(partial[name], grads[name][own], equal_nan=True)


def test_a_nan_stays_in_its_replica(kind: type[Algorithm], draw: Draw) -> None:
    algorithm, inputs, upstream = varied(kind, 3), draw(3, 16), share(3, 16, weighted=False)
    replay = recorded(algorithm, 16)
    clean, grads = replay(algorithm, inputs, upstream)
    for values in inputs.values():
        values[1] = np.nan
    dirty, stained = replay(algorithm, inputs, upstream)
    for one, other in ((clean, dirty), *((grads[name], stained[name]) for name in grads)):
        np.testing.assert_array_equal(one[[0, 2]], other[[0, 2]])


def test_what_is_returned_is_kept(kind: type[Algorithm], draw: Draw) -> None:
    algorithm, inputs, upstream = varied(kind, 3), draw(3, 16), share(3, 16, weighted=False)
    replay = recorded(algorithm, 16)
    before = {name: values.copy() for name, values in inputs.items()}
    first, grads = replay(algorithm, inputs, upstream)
    kept = [one.copy() for one in (first, *grads.values())]
    replay(algorithm, draw(3, 16, ties=True), 2 * upstream)
    np.testing.assert_array_equal([first, *grads.values()], kept)
    for values in (first, *grads.values()):
        values[:] = 7.0  # the caller's own
    for name, values in inputs.items():
        np.testing.assert_array_equal(values, before[name])


def test_fields_that_adapt_has_replaced_count(draw: Draw, autograd: Run) -> None:
    algorithm, inputs, upstream = varied(registry.load("ppo-clip"), 5), draw(5, 64), share(5, 64, weighted=False)
    replay = recorded(algorithm, 64)
    first, _ = replay(algorithm, inputs, upstream)
    wider = algorithm.replace(clip=3 * algorithm.clip)  # type: ignore[attr-defined]
    second = replay(wider, inputs, upstream)
    compare(second, autograd(wider, inputs, upstream))
    assert not np.array_equal(first, second[0])
    np.testing.assert_array_equal(replay(algorithm, inputs, upstream)[0], first)


def test_only_what_is_needed_is_asked_for(draw: Draw) -> None:
    algorithm = varied(registry.load("ppo-clip"), 2)
    replay = recorded(algorithm, 8)
    assert set(replay.inputs) == {"log_prob", "old_log_prob", "advantage"}
    inputs = {name: values for name, values in draw(2, 8).items() if name in replay.inputs}
    assert set(replay(algorithm, inputs, share(2, 8, weighted=False))[1]) == {"log_prob"}


def test_static_fields_and_sizes_are_recorded_anew(draw: Draw, autograd: Run, plugin: Make) -> None:
    class Scaled(plugin(lambda self, x: x.ratio * self.gamma / self.horizon)):  # type: ignore[misc]
        pass

    for size in (4, 8):
        for horizon in (2, 3):
            algorithm = stack([Scaled(horizon=horizon)] * 2)
            inputs, upstream = draw(2, size), share(2, size, weighted=False)
            compare(recorded(algorithm, size)(algorithm, inputs, upstream), autograd(algorithm, inputs, upstream))


def test_a_recording_serves_all_that_differ_in_hyper_fields_only() -> None:
    kind = registry.load("ppo-clip")
    replay = record(varied(kind, 2), 32, weighted=False)
    assert isinstance(replay, Replay)
    assert record(varied(kind, 5), 32, weighted=False) is replay
    assert record(varied(kind, 5), 32, weighted=True) is not replay


def test_a_formula_may_take_many_hyper_fields(draw: Draw, autograd: Run) -> None:
    class Banded(Algorithm):
        low: float = hyper(0.7)
        high: float = hyper(1.4)

        def surrogate(self, x: Any) -> torch.Tensor:
            middle = (self.low + self.high) / 2
            return clip(x.ratio, self.low, self.high) * x.advantage - (x.ratio - middle).abs() * self.gamma

    algorithm = stack([Banded(low=0.7, gamma=0.9), Banded(high=1.1), Banded()])
    inputs, upstream = draw(3, 9), share(3, 9, weighted=False)
    compare(recorded(algorithm, 9)(algorithm, inputs, upstream), autograd(algorithm, inputs, upstream))


def test_recording_is_light() -> None:
    """Parts of torch that trace and compile take longer to import than many a training takes."""
    code = (
        "import sys; from rlbench import registry; from rlbench.algorithm import stack;"
        "from rlbench.improve.replay import Replay, record;"
        "assert isinstance(record(stack([registry.load('ppo-clip')()] * 2), 8, weighted=False), Replay);"
        "print(*{'sympy', 'torch._dynamo'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    assert not done.stdout.split()
