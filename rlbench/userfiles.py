"""Python files that the user names: plugins and experiments. They are code, and importing them runs it."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

import cloudpickle

from rlbench.errors import RlbenchError


def import_file(path: str | Path, kind: str) -> ModuleType:
    """Import a Python file as a module of its own and return it; `kind`, such as "plugin", is for the messages.

    The content is part of the module's name: an unchanged file is imported once, an edited one is another module. What
    it defines travels whole to worker processes, which cannot import it by name. Raises RlbenchError, with the line
    where there is one, if the file is missing or raises.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise RlbenchError(f"There is no {kind} file {str(path)!r}.")
    content = hashlib.sha256(str(file).encode() + file.read_bytes()).hexdigest()[:8]
    name = f"rlbench_{kind}_{file.stem}_{content}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise RlbenchError(f"{kind.capitalize()} {str(path)!r} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # user code may raise anything
        del sys.modules[name]
        message = str(error) if isinstance(error, RlbenchError) else f"{type(error).__name__}: {error}"
        raise RlbenchError(f"{path}{_line(error, file)}: {message}") from error
    cloudpickle.register_pickle_by_value(module)
    return module


def forget(module: ModuleType) -> None:
    """Undo an import that turned out to be of no use, so that trying again says the same."""
    cloudpickle.unregister_pickle_by_value(module)
    del sys.modules[module.__name__]


def _line(error: Exception, file: Path) -> str:
    """Return `, line 12`: where in the file an exception came from."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}" if error.lineno else ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {lines[-1]}" if lines else ""
