"""Discovery of algorithms: entry points of group `rlbench.algorithms`, files named by the user, classes.

The built-ins come in through the same door as anybody's: an entry point names a module or a package, whose modules are
imported and searched for `Algorithm` subclasses that are defined there and have a name.

Importing one takes more than a second, since it imports torch. What is asked of its name and its fields only, as by a
wrong argument, is answered by `sketch`, which reads the source without running it.
"""

import __future__

import ast
import builtins
import hashlib
import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from rlbench.algorithm import Algorithm, Peer
from rlbench.errors import RlbenchError, nearest
from rlbench.fields import hyper, static
from rlbench.userfiles import forget, import_file, source_of

GROUP = "rlbench.algorithms"
_OWN = "rlbench.algorithms"  # the package

_classes: dict[str, type[Algorithm]] = {}
_broken: dict[str, str] = {}
_fingerprints: dict[type[Algorithm], str] = {}
_origins: dict[Any, str] = {}  # files of sketches
_with_environments: set[str] = set()  # modules of plugin files that register any
_discovered = False


def names() -> list[str]:
    """Return the names of all known algorithms, sorted."""
    _discover()
    return sorted(_classes)


def load(name: str) -> type[Algorithm]:
    """Return the algorithm called `name`; RlbenchError names the nearest one, or the file that is broken."""
    _discover()
    if name in _classes:
        return _classes[name]
    broken = f" Broken plugins: {', '.join(_broken)}." if _broken else ""
    raise _unknown(name, names(), broken)


def _unknown(name: str, known: Iterable[str], broken: str = "") -> RlbenchError:
    usual = name.lower().replace("_", "-").replace(" ", "-")
    hint = f" {_ELSEWHERE[usual]}" if usual in _ELSEWHERE else nearest(usual, [*known])
    if hint.startswith(" Known"):
        hint += " One that a file of yours defines needs --plugin FILE."
    return RlbenchError(f"There is no algorithm {name!r}.{hint}{broken}")


# What other libraries and papers call what rlbench has as a setting of one of its own.
_PG = "That is reinforce; its baseline is none, mean, or value (`--set reinforce.baseline=mean`)."
_ELSEWHERE = {
    **dict.fromkeys(("a3c", "ac"), "That is a2c; actor-critic is the same with PPO's epochs and minibatches."),
    "dapo": "That is ppo-clip-higher.",
    **dict.fromkeys(("pg", "vpg", "policy-gradient", "vanilla-policy-gradient"), _PG),
    "ppo-kl": "That is ppo-penalty; `--set ppo-penalty.adaptive=true` lets its coefficient follow the KL divergence.",
    "ppo2": "That is ppo-clip; `--set ppo-clip.value_clip=0.2` clips the value as PPO2 does.",
    "trpo-lite": "That is trpo.",
}


def sketch(name: str, files: Iterable[str | Path] = ()) -> type[Algorithm] | None:
    """Return a class with the name, the fields and the docstring of an algorithm, and none of its methods.

    It is read in milliseconds from the source of rlbench's own algorithms and of plugin `files`. None where only
    importing can tell: another package may define it, or a source cannot be understood without running it. Raises
    RlbenchError, as `load` does, for a name that there is not.
    """
    given = [str(file) for file in files]
    known = sketches(given)
    if known is not None and name not in known:
        if {*given} - {_origins.get(cls) for cls in known.values()}:
            return None  # a file without an algorithm: importing it says so
        raise _unknown(name, known)
    return known[name] if known else None


def sketches(files: Iterable[str | Path] = ()) -> Mapping[str, type[Algorithm]] | None:
    """Return the sketches of all algorithms by name, of those that are imported themselves; None where one has none."""
    sketched = _sketches(tuple(map(str, files))) if _only_own() else None
    return sketched and {**sketched, **_classes}


def listed() -> Mapping[str, type[Algorithm]]:
    """Return all known algorithms by name, as sketches where that will do."""
    return sketches() or {name: load(name) for name in names()}


def _only_own() -> bool:
    """Return whether no other package of algorithms is installed, so that none can be broken either."""
    return {point.value for point in entry_points(group=GROUP)} == {_OWN}


@cache
def _sketches(files: tuple[str, ...]) -> Mapping[str, type[Algorithm]] | None:
    own = [str(file) for folder in importlib.import_module(_OWN).__path__ for file in Path(folder).glob("*.py")]
    try:
        modules = {file: ast.parse(Path(file).read_bytes()) for file in [*own, *files]}
        return _sketched([(node, file) for file in modules for node in modules[file].body])
    except Exception:  # who imports them says what is wrong with them
        return None


def _sketched(statements: list[tuple[ast.stmt, str]]) -> dict[str, type[Algorithm]]:
    scope: dict[str, Any] = {
        "Algorithm": Algorithm,
        "Peer": Peer,
        "hyper": hyper,
        "static": static,
        "__name__": __name__,
    }
    scope["__builtins__"] = {"float": float, "__build_class__": builtins.__build_class__}
    classes = [(node, file) for node, file in statements if isinstance(node, ast.ClassDef)]
    while classes:
        # A class comes after its bases; StopIteration where they are not known.
        node, file = next(each for each in classes if all(getattr(base, "id", "") in scope for base in each[0].bases))
        classes.remove((node, file))
        node.body = [each for each in node.body if _declares(each)] or [ast.Pass()]
        code = ast.fix_missing_locations(ast.Module([node], []))
        exec(compile(code, file, "exec", __future__.annotations.compiler_flag), scope)
        _origins[scope[node.name]] = file
    named = [cls for cls in scope.values() if isinstance(cls, type) and cls.__dict__.get("name")]
    return {cls.__dict__["name"]: cls for cls in named}


def _declares(node: ast.stmt) -> bool:
    """Return whether a statement of a class gives its docstring, its name or a field, so that nothing happens in it."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
        return isinstance(node.value.func, ast.Name) and node.value.func.id in ("hyper", "static")
    return isinstance(node, ast.Assign | ast.Expr) and isinstance(node.value, ast.Constant)


def broken() -> dict[str, str]:
    """Return, by module name, the traceback of every installed plugin that cannot be imported, or that it is empty."""
    if not _only_own():
        _discover()
    return dict(_broken)


def add_class(cls: type[Algorithm]) -> None:
    """Make a class known by its name; a different class of that name is an error that names both files."""
    _discover()
    _add(cls)


def add_file(path: str | Path) -> list[type[Algorithm]]:
    """Import a plugin file and return the algorithms defined in it, now known by their names.

    The file is code and runs. Raises RlbenchError if it is missing, raises, or defines no algorithm and registers no
    environment either.
    """
    _discover()
    before = _registered()
    module = import_file(path, "plugin")
    defined = _algorithms_in(module)
    if _registered() != before:
        _with_environments.add(module.__name__)
    try:
        if not defined and module.__name__ not in _with_environments:
            raise RlbenchError(
                f"Plugin {str(path)!r} defines no Algorithm subclass with a name, such as name = 'my-variant', and "
                "registers no environment."
            )
        for cls in defined:
            _refuse_duplicate(cls)
    except RlbenchError:
        forget(module)
        raise
    for cls in defined:
        _add(cls)
    return defined


def _registered() -> set[str]:
    """Return the ids of the environments that Gymnasium knows, if it was imported."""
    gymnasium = sys.modules.get("gymnasium")
    return set(gymnasium.registry) if gymnasium else set()


def origin(cls: type[Algorithm]) -> str:
    """Return the file that defines `cls`, or its module's name where there is no file."""
    try:
        return str(Path(_origins.get(cls) or inspect.getfile(cls)).resolve())
    except (TypeError, OSError):
        return cls.__module__


def fingerprint(cls: type[Algorithm]) -> str:
    """Return a hash of the plugin's own source: the files of `cls` and of its bases, up to `Algorithm`.

    Of a file that the user names, the files of its folder that it imports belong to it. The source is that when the
    class became known, even if a file is edited later. A class without a file (defined at a prompt) is hashed by its
    methods' compiled code.
    """
    return _fingerprints.get(cls) or _hash_source(cls)


def is_own(cls: type) -> bool:
    """Return whether an algorithm comes with rlbench itself."""
    return cls.__module__.startswith("rlbench.")


def _hash_source(cls: type[Algorithm]) -> str:
    bases = [base for base in cls.__mro__ if base not in (Algorithm, Peer, object)]
    text = "".join(base.__qualname__ + source_of(base) for base in bases)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _discover() -> None:
    global _discovered
    if _discovered:
        return
    _discovered = True  # set first: a plugin that asks the registry while it is imported must not start over
    try:
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.value):
            package = _import(point.value)
            inside = pkgutil.iter_modules(getattr(package, "__path__", []))
            modules = [package, *(_import(f"{point.value}.{info.name}") for info in inside)]
            classes = [cls for module in modules if module for cls in _algorithms_in(module)]
            for cls in classes:
                _add(cls)
            if not classes:
                _broken.setdefault(point.value, "It defines no Algorithm subclass with a name.")
    except RlbenchError:
        _discovered = False  # or the next call would quietly go without the rest
        raise


def _import(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except Exception:  # a plugin may raise anything, and must not break the others
        _broken[name] = traceback.format_exc()
        return None


def _algorithms_in(module: ModuleType) -> list[type[Algorithm]]:
    classes = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__]
    return [cls for cls in classes if issubclass(cls, Algorithm) and cls.__dict__.get("name")]


def _add(cls: type[Algorithm]) -> None:
    _refuse_duplicate(cls)
    _classes[cls.name] = cls
    _fingerprints.setdefault(cls, _hash_source(cls))


def _refuse_duplicate(cls: type[Algorithm]) -> None:
    known = _classes.get(cls.name)
    if known is not None and (origin(known), known.__qualname__) != (origin(cls), cls.__qualname__):
        raise RlbenchError(
            f"Two algorithms are called {cls.name!r}: one in {origin(known)}, one in {origin(cls)}; rename one of them."
        )
