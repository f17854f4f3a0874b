"""Discovery of algorithms: entry points of group `rlbench.algorithms`, files named by the user, classes.

The built-ins come in through the same door as anybody's: an entry point names a module or a package, whose modules are
imported and searched for `Algorithm` subclasses that are defined there and have a name.
"""

import hashlib
import importlib
import inspect
import pkgutil
import traceback
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from rlbench.algorithm import Algorithm
from rlbench.errors import RlbenchError, nearest
from rlbench.userfiles import forget, import_file, source_of

GROUP = "rlbench.algorithms"

_classes: dict[str, type[Algorithm]] = {}
_broken: dict[str, str] = {}
_fingerprints: dict[type[Algorithm], str] = {}
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
    raise RlbenchError(f"There is no algorithm {name!r}.{nearest(name, names())}{broken}")


def broken() -> dict[str, str]:
    """Return, by module name, the traceback of every installed plugin that cannot be imported, or that it is empty."""
    _discover()
    return dict(_broken)


def add_class(cls: type[Algorithm]) -> None:
    """Make a class known by its name; a different class of that name is an error that names both files."""
    _discover()
    _add(cls)


def add_file(path: str | Path) -> list[type[Algorithm]]:
    """Import a plugin file and return the algorithms defined in it, now known by their names.

    The file is code and runs. Raises RlbenchError if it is missing, raises, or defines no algorithm.
    """
    _discover()
    module = import_file(path, "plugin")
    defined = _algorithms_in(module)
    try:
        if not defined:
            raise RlbenchError(
                f"Plugin {str(path)!r} defines no Algorithm subclass with a name, such as name = 'my-variant'."
            )
        for cls in defined:
            _refuse_duplicate(cls)
    except RlbenchError:
        forget(module)
        raise
    for cls in defined:
        _add(cls)
    return defined


def origin(cls: type[Algorithm]) -> str:
    """Return the file that defines `cls`, or its module's name where there is no file."""
    try:
        return str(Path(inspect.getfile(cls)).resolve())
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
    bases = [base for base in cls.__mro__ if base not in (Algorithm, object)]
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
