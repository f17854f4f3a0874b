"""The contract suite: what every algorithm must keep, rlbench's and anybody's; `rlbench check` runs it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rlbench import registry
from rlbench.algorithm import Algorithm, configure
from rlbench.checks import formulas
from rlbench.checks.formulas import Broken, require
from rlbench.errors import RlbenchError
from rlbench.fields import fields_of
from rlbench.userfiles import place_of

__all__ = ["CheckResult", "broken_promise", "check_algorithm"]


@dataclass(frozen=True)
class CheckResult:
    """One check's outcome; `message` says in one sentence what to change and where, and is empty if the check passed.

    `follows` names the check before that failed by the very same exception, if one did.
    """

    name: str
    passed: bool
    message: str = ""
    follows: str = ""


def check_algorithm(
    cls: type[Algorithm], *, starts: Callable[[str], None] = lambda name: None
) -> Iterator[CheckResult]:
    """Run the contract suite on an algorithm, cheapest checks first, and yield each result as it is known.

    A check that raises counts as failed, with the exception as its message. If the algorithm cannot be constructed
    without arguments, nothing else is tried. `starts` gets the name of each check when it begins.
    """
    first: dict[str, str] = {}  # the check that failed first, by what was raised

    def result(name: str, check: Callable[[], None]) -> CheckResult:
        starts(name)
        try:
            check()
        except Broken as broken:
            return CheckResult(name, False, f"{broken}{_where(cls, str(broken))}")
        except Exception as error:  # a plugin may raise anything
            kind, place = type(error).__name__, place_of(error, Path(registry.origin(cls)))
            follows = first.setdefault(f"{kind}, {place}", name)
            said = f"It raised {kind}: {error} ({place}){formulas.hint_at_error(error)}"
            return CheckResult(name, False, said, follows if follows != name else "")
        return CheckResult(name, True)

    built = result("constructs without arguments", partial(_check_constructs, cls))
    yield built
    if not built.passed:
        return
    algorithm = configure(cls, {}, cls.name)
    for name, check in formulas.CHECKS.items():
        if not cls.foreign:
            yield result(name, partial(check, algorithm))
    # Imported here, since it loads the engine, which a process that asks for `broken_promise` may not need.
    from rlbench.checks import trainings

    for name, check in trainings.CHECKS.items():
        if not (cls.foreign and check is trainings.check_packs):
            yield result(name, partial(check, algorithm))


def _where(cls: type[Algorithm], message: str) -> str:
    """Return the place of the method that a message speaks of, where the algorithm has one of its own."""
    for name in ("surrogate", "advantages", "adapt"):
        method = getattr(cls, name)
        if name in message and method is not getattr(Algorithm, name):
            return f" ({method.__code__.co_filename}, line {method.__code__.co_firstlineno})"
    return ""


def broken_promise(algorithm: Algorithm) -> str:
    """Return in one sentence how formulas mix replicas or differ from one time to the next; "" where they do not.

    Or why its surrogate cannot be used at all. A part of the contract suite, for one setting of an algorithm, in a
    fraction of a second. What else it raises is left to training, which records it.
    """
    for check in () if algorithm.foreign else formulas.PROMISES:
        try:
            check(algorithm)
        except Broken as broken:
            return str(broken)
        except Exception:  # a plugin may raise anything
            continue
    return ""


def _check_constructs(cls: type[Algorithm]) -> None:
    require(bool(cls.name), "Give the class a name, such as name = 'my-variant'.")
    try:
        configure(cls, {name: field.default for name, field in fields_of(cls).items()}, cls.name)
    except RlbenchError as error:
        raise Broken(f"Its own defaults are refused: {error}") from error
    cls()
