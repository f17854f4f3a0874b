"""Python files that the user names: plugins and experiments. They are code, and importing them runs it.

While such a file runs, the other Python files of its folder can be imported by their names, as by a script that lies
there. Each of them, named or imported, is one module whose name holds the content of the file and of those that it
imports: an unchanged file is imported once, an edited one, or one whose helper was edited, is another module, and files
of the same name in two folders never meet. What they define travels whole to worker processes, which cannot import it
by name.
"""

import ast
import contextlib
import hashlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import cloudpickle

from rlbench.errors import RlbenchError, nearest

PREFIX = "rlbench_file_"


def import_file(path: str | Path, kind: str) -> ModuleType:
    """Import a Python file as a module of its own and return it; `kind`, such as "plugin", is for the messages.

    Raises RlbenchError, with the file and the line where there is one, if it is missing or raises.
    """
    if not os.path.isfile(path):  # of pathlib's own test, a path that the system cannot take is an error
        raise RlbenchError(f"There is no {kind} file {str(path)!r}.")
    file = Path(path).resolve()
    if file.suffix != ".py":
        raise RlbenchError(f"{kind.capitalize()} {str(path)!r} is not a Python file.")
    try:
        with importable(file.parent):
            return _load(file)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # user code may raise anything
        if isinstance(error, RlbenchError):
            message = str(error)
        elif isinstance(error, SystemExit):
            message = "it ends the program instead of being read."
        else:
            text = error.msg if isinstance(error, SyntaxError) else str(error)
            message = f"{type(error).__name__}: {text}{_meant(text)}"
        raise RlbenchError(f"{place_of(error, Path(path))}: {message}") from error


def _meant(message: str) -> str:
    """Return which keyword argument of a class of rlbench is meant by one that it does not have."""
    rlbench = sys.modules["rlbench"]
    found = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", message)
    if not found or found[1] not in rlbench.__all__:
        return ""
    return f".{nearest(found[2], list(inspect.signature(getattr(rlbench, found[1])).parameters))}"


def forget(module: ModuleType) -> None:
    """Undo an import that turned out to be of no use, so that trying again says the same."""
    cloudpickle.unregister_pickle_by_value(module)
    del sys.modules[module.__name__]


@contextlib.contextmanager
def importable(folder: Path | None) -> Iterator[None]:
    """Let the Python files of a folder be imported by their names meanwhile; of None, nothing."""
    if folder is None:
        yield
        return
    names = _names(folder)
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    finder = _Finder(folder, names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)


def folder_of(module: str) -> Path | None:
    """Return the folder of a module that was imported here, by its name; None for any other."""
    return Path(str(sys.modules[module].__file__)).parent if module.startswith(PREFIX) else None


def folders_of_files() -> list[Path]:
    """Return the folders of all modules that were imported here."""
    files = (getattr(module, "__file__", None) for name, module in [*sys.modules.items()] if name.startswith(PREFIX))
    return list(dict.fromkeys(Path(file).parent for file in files if file))


def with_helpers(file: Path) -> list[Path]:
    """Return a file and after it, sorted, the files of its folder that it imports, directly or through each other."""
    names = _names(file.parent)
    files, waiting = {file}, [file]
    while waiting:
        imported = _imported(waiting.pop().read_bytes(), file.parent.name)
        new = {file.with_name(f"{name}.py") for name in imported & names} - files
        files |= new
        waiting += new
    return [file, *sorted(files - {file})]


def source_of(thing: type | FunctionType, *, helpers: bool = False) -> str:
    """Return the source that defines a class or function: its module's.

    The files of its folder that it imports belong to it, if a user named it or with `helpers`. Without a file (defined
    at a prompt) it is the compiled code.
    """
    home = thing.__globals__["__name__"] if isinstance(thing, FunctionType) else thing.__module__
    try:
        text = inspect.getsource(sys.modules[home])
        if helpers or home.startswith(PREFIX):
            for file in with_helpers(Path(str(sys.modules[home].__file__)))[1:]:
                text += file.read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError, KeyError):
        text = _source_without_file(thing)
    return text.replace("\r\n", "\n")


def assigns(file: Path, name: str) -> bool:
    """Return whether a Python file gives a value to `name`, as far as can be seen without running it."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # importing it says what is wrong
        return True
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store) for node in ast.walk(tree)
    )


class _Finder(MetaPathFinder, Loader):
    # Finds the files of a folder by their names, and gives each out as the module that it is here.

    def __init__(self, folder: Path, names: frozenset[str]) -> None:
        self._folder, self._names = folder, names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._names:
            return None
        return importlib.util.spec_from_file_location(name, self._folder / f"{name}.py", loader=self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _load(Path(str(spec.origin)))

    def exec_module(self, module: ModuleType) -> None:
        # It has run by now. The import system gave it the specification of its short name.
        module.__spec__ = importlib.util.spec_from_file_location(module.__name__, module.__file__)


def _load(file: Path) -> ModuleType:
    content = b"".join(each.name.encode() + each.read_bytes() for each in with_helpers(file))
    name = f"{PREFIX}{file.stem}_{hashlib.sha256(str(file).encode() + content).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    cloudpickle.register_pickle_by_value(module)
    return module


def _names(folder: Path) -> frozenset[str]:
    # Python's modules and this package come first. Of a folder that is none, there are no files.
    files = {file.stem for file in folder.glob("*.py") if file.stem.isidentifier() and file.is_file()}
    return frozenset(files - sys.stdlib_module_names - {"rlbench"})


@lru_cache(maxsize=1024)
def _imported(source: bytes, package: str) -> frozenset[str]:
    # What a source imports that may lie beside it: the first part of every module's name; of a module of its `package`,
    # which is called like its folder, the second part.
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level <= 1:
            module = ".".join(filter(None, [package if node.level else "", node.module]))
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    parts = [name.split(".") for name in names]
    return frozenset(part[1] if part[0] == package and len(part) > 1 else part[0] for part in parts)


def place_of(error: BaseException, path: Path) -> str:
    """Return `FILE, line 12`: where in the files of the folder of `path` an exception came from."""
    folder = path.resolve().parent
    if isinstance(error, SyntaxError):
        places = [(error.filename or "", error.lineno)]
    else:
        places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    inside = [(Path(file).name, line) for file, line in places if Path(file).parent == folder]
    name, line = inside[-1] if inside else (path.name, None)
    return f"{path.with_name(name)}, line {line}" if line else str(path.with_name(name))


def _source_without_file(thing: type | FunctionType, seen: frozenset[int] = frozenset()) -> str:
    # The source, if that is kept. Else the compiled code, the values of attributes and defaults, and what else was
    # defined at the prompt and is used.
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        seen |= {id(thing)}
    if isinstance(thing, FunctionType):
        home = thing.__globals__["__name__"]
        used = [thing.__globals__[name] for name in _names_in(thing.__code__) if name in thing.__globals__]
        values = [*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values(), *used]
        return "\n".join([_code_text(thing.__code__), *(_text_of(value, home, seen) for value in values)])
    methods = [_source_without_file(method, seen) for _, method in inspect.getmembers(thing, inspect.isfunction)]
    members = [f"{name} {_text_of(value, thing.__module__, seen)}" for name, value in sorted(vars(thing).items())]
    return "\n".join([*methods, *members])


def _text_of(value: object, home: str, seen: frozenset[int]) -> str:
    # Of a plain value and of what the module `home` defines; of everything else nothing.
    value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    value = value.fget if isinstance(value, property) else value
    if isinstance(value, type | FunctionType):
        return _source_without_file(value, seen) if value.__module__ == home and id(value) not in seen else ""
    plain = value is None or isinstance(value, bool | int | float | str | tuple)
    return repr(value) if plain and " at 0x" not in repr(value) else ""


def _names_in(code: CodeType) -> list[str]:
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names_in(constant)]
    return sorted({*code.co_names, *inner})


def _code_text(code: CodeType) -> str:
    # The same in every process: without addresses, and sets in order.
    constants = []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            constants.append(_code_text(constant))
        else:
            constants.append(str(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant))
    return f"{code.co_code.hex()} {constants} {code.co_names!r}"
