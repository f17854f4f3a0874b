"""The contract suite: what every algorithm must keep, ours and anybody's; `rlbench check` runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from rlbench.algorithm import Algorithm, configure
from rlbench.checks import formulas
from rlbench.checks.formulas import Broken, require
from rlbench.errors import RlbenchError
from rlbench.fields import fields_of

__all__ = ["CheckResult", "broken_promise", "check_algorithm"]


@dataclass(frozen=True)
class CheckResult:
    """One check's outcome; `message` says in one sentence what to change, and is empty if the check passed."""

    name: str
    passed: bool
    message: str = ""


def check_algorithm(cls: type[Algorithm]) -> Iterator[CheckResult]:
    """Run the contract suite on an algorithm, cheapest checks first, and yield each result as it is known.

    A check that raises counts as failed, with the exception as its message. If the algorithm cannot be constructed
    without arguments, nothing else is tried.
    """
    built = _result("constructs without arguments", partial(_check_constructs, cls))
    yield built
    if not built.passed:
        return
    algorithm = configure(cls, {}, cls.name)
    for name, check in _CHECKS.items():
        yield _result(name, partial(check, algorithm))


def broken_promise(algorithm: Algorithm) -> str:
    """Return in one sentence how formulas mix replicas or differ from one time to the next; nothing where they do not.

    A part of the contract suite, for one setting of an algorithm, in a fraction of a second. What raises is left to
    training, which records it.
    """
    for check in (formulas.check_same_twice, formulas.check_replicas, formulas.check_alone, formulas.check_adapt):
        try:
            check(algorithm)
        except Broken as broken:
            return str(broken)
        except Exception:  # a plugin may raise anything
            continue
    return ""


def _result(name: str, check: Callable[[], None]) -> CheckResult:
    try:
        check()
    except Broken as broken:
        return CheckResult(name, False, str(broken))
    except Exception as error:  # a plugin may raise anything
        return CheckResult(name, False, f"It raised {type(error).__name__}: {error}")
    return CheckResult(name, True)


def _check_constructs(cls: type[Algorithm]) -> None:
    require(bool(cls.name), "Give the class a name, such as name = 'my-variant'.")
    try:
        configure(cls, {name: field.default for name, field in fields_of(cls).items()}, cls.name)
    except RlbenchError as error:
        raise Broken(f"Its own defaults are refused: {error}") from error
    cls()


def _by_training(check: str, algorithm: Algorithm) -> None:
    # Imported where it is needed: it loads the engine, which who asks for `broken_promise` may leave to its workers.
    from rlbench.checks import trainings

    getattr(trainings, check)(algorithm)


_CHECKS: dict[str, Callable[[Algorithm], None]] = {
    "surrogate is one finite number per sample": formulas.check_surrogate,
    "advantages keep their shape": formulas.check_advantages,
    "the same numbers twice": formulas.check_same_twice,
    "replicas are independent": formulas.check_replicas,
    "stacked equals single": formulas.check_stacking,
    "policy gradient at ratio 1": formulas.check_policy_gradient,
    "adapt keeps class, static fields and shapes": formulas.check_adapt,
    "one seed, one result": partial(_by_training, "check_repeats"),
    "alone equals in a pack": partial(_by_training, "check_packs"),
    "solves a probe environment": partial(_by_training, "check_learns"),
}
