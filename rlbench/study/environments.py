"""What an environment's id stands for: what was registered for it when its experiment was read, and what that is.

Registrations are a table of the process in which the last one wins: two files may register one id, and a worker process
imports none of them. So an environment carries the specifications that its experiment saw to wherever it is made, and
its identity holds all that is in its own one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import json
import pickle
import runpy
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbench.errors import RlbenchError, brief, nearest
from rlbench.records import Environment
from rlbench.userfiles import PREFIX, folders_of_files, importable, source_of

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec, WrapperSpec


def bound(environment: Environment, folder: Path | None = None, *, imports: bool = True) -> Environment:
    """Return an environment that carries its specification as it is registered now; one that does already as it is.

    Entry points that are given as text are also looked for in `folder`, in the working folder, and beside the files
    that the user named. Without `imports` no module is imported that the environment names and this process has not:
    RlbenchError where that would be needed. So a document of unknown origin may name any environment.
    """
    if environment.registered is not None:
        return environment
    module, _, name = environment.id.rpartition(":")
    folders = [*([folder] if folder else []), Path.cwd(), *folders_of_files()]
    if module and imports:
        with _beside(module, folders), contextlib.suppress(Exception):  # who makes it says what is wrong with it
            importlib.import_module(module)
    if environment.wrappers:
        importlib.import_module("gymnasium.wrappers")
    gymnasium = sys.modules.get("gymnasium")  # not imported: then nobody has registered anything
    registry: Mapping[str, EnvSpec] = gymnasium.registry if gymnasium else {}
    with importable(folder):
        known: dict[str, Any] = {
            label: _with_class(spec, folders) for label, spec in registry.items() if not _is_gymnasiums(spec)
        }
        for wrapper, arguments in environment.wraps:
            spec = known.get(name) or registry.get(name)
            if spec is not None:  # who makes the environment says that there is none
                added = _wrapper(wrapper, arguments, folders, imports=imports)
                known[name] = replace(spec, additional_wrappers=(*spec.additional_wrappers, added))
        # Wrappers are always named in text, by modules that a worker may not be able to import.
        for wrapper in known[name].additional_wrappers if name in known else ():
            if wrapper.entry_point.startswith((PREFIX, "__main__")):
                known[wrapper.entry_point] = _loaded(wrapper.entry_point)
    if module and not imports and name not in known:
        raise RlbenchError(f"Nothing that was imported here registers {name}; import {module} first.")
    return replace(environment, registered=known)


@contextlib.contextmanager
def registered(environment: Environment) -> Iterator[None]:
    """Let Gymnasium know, meanwhile, what an environment carries of specifications, whatever was registered since."""
    import gymnasium

    carried = environment.registered or {}
    specs = {name: spec for name, spec in carried.items() if ":" not in name}
    for module, _, name in (key.partition(":") for key in carried.keys() - specs.keys()):
        home = sys.modules.setdefault(module, ModuleType(module))
        if not hasattr(home, name):  # a worker has not run the file that defines it
            setattr(home, name, carried[f"{module}:{name}"])
    before = dict(gymnasium.registry)
    gymnasium.registry.update(specs)
    try:
        yield
    finally:
        if environment.registered is not None:  # what the environment itself registers meanwhile is undone, too
            gymnasium.registry.clear()
            gymnasium.registry.update(before)


def specification_of(environment: Environment) -> dict[str, Any]:
    """Return what decides beside id and options how a bound environment is stepped, as JSON.

    Of what Gymnasium registers itself that is nothing, since it has a version, which the manifest records. Of others it
    is a hash of the source that makes them (of the module and what it imports from its own folder), and of their
    specification all that is not the default. Of either it is also a hash of the model of MuJoCo's that `xml_file`
    names, without what the model includes.

    Raises RlbenchError for an argument that cannot be written down.
    """
    spec = (environment.registered or {}).get(environment.id.rpartition(":")[2])
    model = environment.options.get("xml_file")
    file = Path(model) if isinstance(model, str) else None
    own = {"xml_file": hashlib.sha256(file.read_bytes()).hexdigest()[:16]} if file and file.is_file() else {}
    if spec is None:
        return own
    try:
        return own | _specification(
            spec, {name: other for name, other in (environment.registered or {}).items() if other is not spec}
        )
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as problem:
        raise RlbenchError(
            f"Environment {environment.id!r} is registered with an argument that cannot be written down, so that its "
            f"runs could not be told from others ({brief(problem)}); use numbers, texts, functions and classes."
        ) from problem


def _specification(spec: EnvSpec, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that is not the default in a specification, as JSON; `known` are the others that users registered."""
    document: dict[str, Any] = {}
    maker = _loaded(spec.entry_point)
    if isinstance(maker, type | FunctionType) and not _is_installed(maker) and not _holds(maker):
        document["source"] = _source(maker)
    else:
        document["entry_point"] = _described(maker, known)
    if spec.kwargs:
        document["arguments"] = _described(spec.kwargs, known)
    if spec.max_episode_steps is not None:
        document["max_episode_steps"] = spec.max_episode_steps
    if not spec.order_enforce:
        document["order_enforce"] = False
    if spec.additional_wrappers:
        document["wrappers"] = [
            [_described(_loaded(wrapper.entry_point), known), _described(wrapper.kwargs, known)]
            for wrapper in spec.additional_wrappers
        ]
    return document


def _described(value: Any, known: Mapping[str, Any]) -> Any:
    """Return as JSON what a value is, the same in every process; pickle's errors where that cannot be said.

    A text that is the id of another environment that users registered, `known`, stands for what that is.
    """
    describe = functools.partial(_described, known=known)
    if isinstance(value, str) and ":" not in value and value in known:  # the others are classes of wrappers
        return {"environment": _specification(known[value], {other: known[other] for other in known if other != value})}
    if value is None or isinstance(value, bool | int | float | str):
        return value if type(value).__module__ == "builtins" else [type(value).__qualname__, repr(value)]
    if isinstance(value, bytes | bytearray):
        return {"bytes": value.hex()}
    if type(value) is list or type(value) is tuple:
        return {type(value).__name__: [describe(item) for item in value]}
    if type(value) is dict:
        return {"mapping": [[describe(key), describe(item)] for key, item in value.items()]}
    if type(value) is set or type(value) is frozenset:
        return {"set": sorted(json.dumps(describe(item), sort_keys=True) for item in value)}
    if isinstance(value, functools.partial):
        return {"partial": [describe(part) for part in (value.func, value.args, value.keywords)]}
    if isinstance(value, MethodType):
        return {"method": value.__func__.__qualname__, "of": describe(value.__self__)}
    if isinstance(value, BuiltinFunctionType) and not isinstance(value.__self__, ModuleType | NoneType):
        return {"method": value.__qualname__, "of": describe(value.__self__)}
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        if _is_installed(value) or isinstance(value, BuiltinFunctionType):
            return {"name": f"{value.__module__}:{value.__qualname__}"}
        held = _holds(value)
        return {"source": _source(value)} | ({"holds": describe(held)} if held else {})
    if hasattr(value, "detach") and hasattr(value, "numpy"):  # a tensor of torch, which need not be imported for that
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        return {"array": [value.dtype.str, list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()[:16]]}
    # As pickle would make it anew: a function, its arguments, and a state; but by content and not by name.
    reduced = value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return {"name": f"{type(value).__module__}:{reduced}"}
    return {"made": [describe(list(part) if isinstance(part, Iterator) else part) for part in reduced]}


def _holds(maker: type | FunctionType) -> list[Any]:
    """Return what a function was made with that its source does not say: variables around it, and defaults."""
    if not isinstance(maker, FunctionType):
        return []
    cells = [cell.cell_contents for cell in maker.__closure__ or ()]
    return [part for part in (cells, maker.__defaults__, maker.__kwdefaults__) if part]


def _source(maker: type | FunctionType) -> str:
    name = maker.__code__.co_qualname if isinstance(maker, FunctionType) else maker.__qualname__
    return hashlib.sha256(f"{name}\n{source_of(maker, helpers=True)}".encode()).hexdigest()[:16]


def _is_installed(maker: Any) -> bool:
    """Return whether something belongs to Gymnasium or Python, of which the version is recorded."""
    # Of a function the module that it lies in: `functools.wraps` says that it lies where what it wraps does.
    module = maker.__globals__["__name__"] if isinstance(maker, FunctionType) else getattr(maker, "__module__", "")
    top = str(module).partition(".")[0]
    return top == "gymnasium" or top in sys.stdlib_module_names - {"__main__"}


def _loaded(entry_point: Any) -> Any:
    """Return what an entry point names; the text itself where that cannot be imported."""
    if not isinstance(entry_point, str):
        return entry_point
    from gymnasium.envs.registration import load_env_creator

    try:
        return load_env_creator(entry_point)
    except Exception:  # who makes the environment says what is wrong with it
        return entry_point


def _with_class(spec: EnvSpec, folders: Sequence[Path]) -> EnvSpec:
    """Return a specification whose entry point, where that is text about a file of a folder, is what it names."""
    text = spec.entry_point
    if not isinstance(text, str) or _home(module := text.partition(":")[0], folders) is None:
        return spec
    with _beside(module, folders):
        maker = _loaded(text)
    return replace(spec, entry_point=maker) if getattr(maker, "__module__", "").startswith(PREFIX) else spec


def _home(module: str, folders: Sequence[Path]) -> Path | None:
    """Return the first folder that has a file of a module."""
    return next((folder for folder in folders if (folder / f"{module}.py").is_file()), None)


def _beside(module: str, folders: Sequence[Path]) -> contextlib.AbstractContextManager[None]:
    """Let a module be imported meanwhile from the first folder that has it, with the others there; else as always."""
    return importable(_home(module, folders))


_wrappers: dict[str, Any] = {}  # that were imported, by their names; files beside an experiment do not stay in modules


def _wrapper(name: str, arguments: Mapping[str, Any], folders: Sequence[Path], *, imports: bool) -> WrapperSpec:
    """Return the specification of a wrapper; RlbenchError where there is none of that name, see `bound`."""
    from gymnasium.envs.registration import WrapperSpec, load_env_creator

    module, _, attribute = name.rpartition(":")
    if not module:
        known = sys.modules["gymnasium.wrappers"].__all__
        if name not in known:
            raise RlbenchError(
                f"gymnasium.wrappers has no {name!r}, and others are named module:Class.{nearest(name, known)}"
            )
        return WrapperSpec(name, f"gymnasium.wrappers:{name}", dict(arguments))
    made: Any = _wrappers.get(name) or getattr(sys.modules.get(module), attribute, None)
    if not imports and not (isinstance(made, type) and issubclass(made, sys.modules["gymnasium"].Wrapper)):
        raise RlbenchError(f"Nothing that was imported here is the wrapper {name}; import {module} first.")
    try:
        if imports:
            with _beside(module, folders):
                made = _wrappers[name] = load_env_creator(name)
    except Exception as problem:
        shipped = sys.modules["gymnasium.wrappers"]
        hint = nearest(attribute, shipped.__all__) if module == shipped.__name__ else ""
        raise RlbenchError(f"The wrapper {name!r} cannot be imported: {brief(problem)}.{hint}") from problem
    return WrapperSpec(attribute, f"{made.__module__}:{made.__qualname__}", dict(arguments))


def _is_gymnasiums(spec: EnvSpec) -> bool:
    """Return whether a specification is the one that Gymnasium itself registers under its id."""
    shipped = _shipped().get(spec.id)
    if shipped is None or callable(shipped.entry_point) != callable(spec.entry_point):
        return False
    if callable(spec.entry_point):  # it only raises that something is missing
        return _is_installed(spec.entry_point)
    return repr(shipped) == repr(spec)  # as text: arguments may be arrays, which are not simply equal


@cache
def _shipped() -> Mapping[str, EnvSpec]:
    """Return what Gymnasium registers itself, whatever was registered over it since."""
    import gymnasium

    before = dict(gymnasium.registry)
    gymnasium.registry.clear()
    try:
        runpy.run_path(str(gymnasium.envs.__file__))
        return dict(gymnasium.registry)
    finally:
        gymnasium.registry.clear()
        gymnasium.registry.update(before)
