"""The contract suite itself: each check fails for a plugin that breaks just that, and says what to change."""

from __future__ import annotations

import inspect
import itertools
import re
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from rlbench import Algorithm, Estimates, Params, Problem, Samples, hyper, static
from rlbench.checks import check_algorithm
from rlbench.functional import clip, gae, mean, standardise

CONSTRUCTS = "constructs without arguments"
SURROGATE = "surrogate is one finite number per sample"
INDEPENDENT = "replicas are independent"
STACKED = "stacked equals single"
GRADIENT = "policy gradient at ratio 1"
ADAPT = "adapt keeps class, static fields and shapes"
ADVANTAGES = "advantages keep their shape"
REPEATS = "one seed, one result"
PACKS = "alone equals in a pack"
LEARNS = "solves a probe environment"
SAME = "the same numbers twice"
ALL = [CONSTRUCTS, SURROGATE, ADVANTAGES, SAME, INDEPENDENT, STACKED, GRADIENT, ADAPT, REPEATS, PACKS, LEARNS]


class Quick(Algorithm):
    """Keeps the contract, in small rollouts."""

    name = "quick"

    lr: float = hyper(1e-2, low=0.0)
    clip: float = hyper(0.2, low=0.0)
    horizon: int = static(16, low=1)
    num_envs: int = static(32, low=1)
    epochs: int = static(2, low=1)
    minibatches: int = static(4, low=1)
    hidden: tuple[int, ...] = static((16,), low=1)

    def surrogate(self, x: Samples) -> torch.Tensor:
        return x.ratio * x.advantage


class Nameless(Quick):
    name = ""


class RefusedDefault(Quick):
    strength: float = hyper(2.0, high=1.0)


class UnevenMinibatches(Quick):
    minibatches: int = static(7)


class ReducesEverything(Quick):
    def surrogate(self, x: Samples) -> torch.Tensor:
        return (x.ratio * x.advantage).mean()


class KeepsTheReducedAxis(Quick):
    def surrogate(self, x: Samples) -> torch.Tensor:
        return mean(x.ratio * x.advantage)


class Infinite(Quick):
    def surrogate(self, x: Samples) -> torch.Tensor:
        return x.ratio * x.advantage + torch.log(0 * x.ratio)


class MixesThroughTheRatio(Quick):
    def surrogate(self, x: Samples) -> torch.Tensor:
        return x.ratio * x.advantage * (x.ratio.mean() - x.ratio.mean().detach() + 1)


class MixesThroughTheAdvantage(Quick):
    def surrogate(self, x: Samples) -> torch.Tensor:
        return x.ratio * (x.advantage - x.advantage.mean() + mean(x.advantage))


class FirstReplicasCoefficient(Quick):
    """Right for floats, and for replicas of equal settings."""

    def surrogate(self, x: Samples) -> torch.Tensor:
        width = torch.as_tensor(self.clip).reshape(-1)[0]
        return torch.minimum(x.ratio * x.advantage, clip(x.ratio, 1 - width, 1 + width) * x.advantage)


class WrongSign(Quick):
    def surrogate(self, x: Samples) -> torch.Tensor:
        return -x.ratio * x.advantage


class Doubled(Quick):
    def surrogate(self, x: Samples) -> torch.Tensor:
        return 2 * x.ratio * x.advantage


class DeliberatelyWrongSign(WrongSign):
    is_policy_gradient: ClassVar[bool] = False


class NoPolicy(Quick):
    def surrogate(self, x: Samples) -> torch.Tensor:
        return 0 * x.advantage


class AdaptReduces(Quick):
    def adapt(self, stats: Any) -> Any:
        return self.replace(clip=torch.where(stats.kl.mean() > 0.01, 0.5, 2.0) * self.clip.mean())  # type: ignore[attr-defined]


class AdaptMakesAFloat(Quick):
    def adapt(self, stats: Any) -> Any:
        return self.replace(clip=0.1)


class AdaptChangesAStatic(Quick):
    def adapt(self, stats: Any) -> Any:
        return self.replace(normalize_advantage="none")


class AdaptChangesTheClass(Quick):
    def adapt(self, stats: Any) -> Any:
        return Algorithm()


class AdaptMixesReplicas(Quick):
    def adapt(self, stats: Any) -> Any:
        return self.replace(clip=torch.where(stats.kl.mean() > 0.01, 0.5, 2.0) * self.clip)


class FlatAdvantages(Quick):
    def advantages(self, tr: Any) -> Any:
        advantage, target = super().advantages(tr)  # type: ignore[misc]
        return advantage.flatten(), target


class NanTargets(Quick):
    def advantages(self, tr: Any) -> Any:
        advantage, target = super().advantages(tr)  # type: ignore[misc]
        return Estimates(advantage, target / 0 * 0)


class GlobalTorchNoise(Quick):
    def surrogate(self, x: Samples) -> torch.Tensor:
        return x.ratio * x.advantage + 1e-3 * torch.rand(()) * x.entropy


class GlobalNumpyNoise(Quick):
    def advantages(self, tr: Any) -> Any:
        noisy = tr.reward + 1e-3 * np.random.random()  # noqa: NPY002
        return gae(noisy, tr.value, tr.next_value, tr.terminated, tr.ended, gamma=self.gamma, lam=self.gae_lambda)


class CountsOnTheClass(Quick):
    """State that outlives the training."""

    calls: ClassVar[Any] = itertools.count()

    def advantages(self, tr: Any) -> Any:
        scaled = tr.reward * (1 + 0.01 * next(self.calls))
        return gae(scaled, tr.value, tr.next_value, tr.terminated, tr.ended, gamma=self.gamma, lam=self.gae_lambda)


class NoisyStep(Quick):
    """Chance where no formula shows it."""

    def improve(self, problem: Problem) -> Params:
        return super().improve(problem) * (1 + 1e-3 * torch.rand(()))


class StandardisesOverThePack(Quick):
    """The statistics of one replica leak into the others, where no gradient shows it."""

    def advantages(self, tr: Any) -> Any:
        scale = tr.reward.abs().mean() + tr.value.abs().mean()
        reward = tr.reward / scale
        return gae(reward, tr.value, tr.next_value, tr.terminated, tr.ended, gamma=self.gamma, lam=self.gae_lambda)


class RoundsByPosition(Quick):
    """A number's last bit depends on where in the array it stands, as that of a sigmoid does on many processors."""

    def surrogate(self, x: Samples) -> torch.Tensor:
        value = x.ratio * x.advantage
        in_the_upper_half_of_a_register = torch.arange(value.numel()).reshape(value.shape) % 8 >= 4
        return torch.where(in_the_upper_half_of_a_register, value * (1 + 2**-23), value)


class LearnsNothing(Quick):
    lr: float = hyper(0.0, low=0.0)


class DeliberatelyLearnsNothing(LearnsNothing):
    learns: ClassVar[bool] = False


BROKEN: dict[type[Algorithm], tuple[str, str]] = {
    Nameless: (CONSTRUCTS, "Give the class a name"),
    RefusedDefault: (CONSTRUCTS, "Its own defaults are refused: quick: strength must be at most 1, not 2.0"),
    UnevenMinibatches: (CONSTRUCTS, "cannot be split into 7 equal minibatches"),
    ReducesEverything: (SURROGATE, r"one number per sample, \(50,\), not \(\); reduce only with"),
    KeepsTheReducedAxis: (SURROGATE, r"one number per sample, \(50,\), not \(1,\)"),
    Infinite: (SURROGATE, "finite numbers for finite samples"),
    MixesThroughTheRatio: (INDEPENDENT, "mixes replicas: a reduction runs over a leading axis"),
    MixesThroughTheAdvantage: (INDEPENDENT, "mixes replicas: a reduction runs over a leading axis"),
    FirstReplicasCoefficient: (STACKED, r"other numbers for hyper-parameters \[R, 1\] than for floats"),
    WrongSign: (GRADIENT, "is not the policy gradient"),
    Doubled: (GRADIENT, "is not the policy gradient"),
    NoPolicy: (GRADIENT, "does not depend on the policy"),
    AdaptReduces: (ADAPT, r"adapt made the field clip \(\); every hyper-parameter must stay \[..., 1\]"),
    AdaptMakesAFloat: (ADAPT, "adapt made the field clip float"),
    AdaptChangesAStatic: (ADAPT, "adapt must not change static fields"),
    AdaptChangesTheClass: (ADAPT, "adapt must return an algorithm of the same class"),
    AdaptMixesReplicas: (ADAPT, "adapt mixes replicas: the field clip of one depends on the others"),
    FlatAdvantages: (ADVANTAGES, r"advantages must return advantage \(20, 2\), not \(40,\)"),
    NanTargets: (ADVANTAGES, "advantages must return a finite target"),
    GlobalTorchNoise: (SAME, "surrogate must return the same numbers for the same samples: draw no random numbers"),
    GlobalNumpyNoise: (SAME, "advantages must return the same numbers"),
    CountsOnTheClass: (SAME, "advantages must return the same numbers"),
    NoisyStep: (REPEATS, "draw no random numbers in the algorithm"),
    StandardisesOverThePack: (INDEPENDENT, "advantages mixes replicas: a reduction runs over the axis between"),
    RoundsByPosition: (PACKS, r"rounding depends on the position \(pow, sigmoid, softplus\)"),
    LearnsNothing: (LEARNS, "It does not solve the probe"),
    DeliberatelyWrongSign: (LEARNS, "Look at the sign of the surrogate"),
}

# What a defect breaks besides: a surrogate of a wrong shape also trains on wrong numbers, and so on.
FOLLOWS = {
    SURROGATE: {INDEPENDENT, STACKED, GRADIENT, REPEATS, PACKS, LEARNS},
    INDEPENDENT: {STACKED, GRADIENT, PACKS},
    STACKED: {PACKS},
    GRADIENT: {LEARNS, REPEATS, PACKS},
    ADAPT: {REPEATS, PACKS, LEARNS},
    ADVANTAGES: {INDEPENDENT, REPEATS, PACKS, LEARNS},
    SAME: {INDEPENDENT, STACKED, GRADIENT, REPEATS, PACKS, LEARNS},
    REPEATS: {PACKS},
}


def test_a_sound_plugin_passes_every_check() -> None:
    results = list(check_algorithm(Quick))
    assert [result.name for result in results] == ALL
    assert [result for result in results if not result.passed or result.message] == []


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_defect_is_caught_by_its_own_check(cls: type[Algorithm]) -> None:
    expected, message = BROKEN[cls]
    failed = [result for result in check_algorithm(cls) if not result.passed]
    assert failed[0].name == expected, failed
    assert pytest.RaisesExc
    assert {result.name for result in failed[1:]} <= FOLLOWS.get(expected, set()), failed
    assert "\n" not in failed[0].message
    assert re.search(message, failed[0].message), failed[0].message


def test_every_check_can_fail() -> None:
    assert {name for name, _ in BROKEN.values()} == set(ALL)


def test_a_deliberate_exception_is_respected() -> None:
    results = {result.name: result.passed for result in check_algorithm(DeliberatelyLearnsNothing)}
    assert results[LEARNS]
    results = {result.name: result.passed for result in check_algorithm(DeliberatelyWrongSign)}
    assert results[GRADIENT]


def test_nothing_is_tried_on_what_cannot_be_constructed() -> None:
    assert [result.name for result in check_algorithm(Nameless)] == [CONSTRUCTS]


def test_an_exception_in_the_plugin_is_a_failed_check() -> None:
    class Raises(Quick):
        def surrogate(self, x: Samples) -> torch.Tensor:
            return standardise(x.nonsense)  # type: ignore[attr-defined]

    results = {result.name: result for result in check_algorithm(Raises)}
    assert not results[SURROGATE].passed
    said = results[SURROGATE].message
    assert re.match(r"It raised AttributeError: .* \(.*test_suite\.py, line \d+\) Known: advantage, entropy, ", said)
    assert results[ADVANTAGES].passed
    # What fails by the same line says so, and is no second thing to mend.
    assert {name for name, result in results.items() if result.follows == SURROGATE} >= {INDEPENDENT, STACKED, REPEATS}


def test_a_failed_check_says_where_the_formula_stands_and_each_is_announced() -> None:
    announced: list[str] = []
    results = list(check_algorithm(WrongSign, starts=announced.append))
    (failed,) = (result for result in results if result.name == GRADIENT)
    lines, first = inspect.getsourcelines(WrongSign.surrogate)
    assert lines
    assert failed.message.endswith(f"({__file__}, line {first})")
    assert announced == [result.name for result in results] == ALL
