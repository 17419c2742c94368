"""Finds the function that `module:function` names: in the workflow's folder first, then among installed modules.

A workflow folder is imported as a package with a private name, so that folders cannot disturb one another, the engine
or `sys.path`: two of them may hold a `helpers.py`, and one may hold a `queue.py`. A folder whose files have changed
becomes a new package, whole; calls that are running keep the old one.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from fleetprompt.engine.outside.printed import importing
from fleetprompt.engine.outside.traceback import describe, tail_of

CHECK_EVERY = 1.0
"""Seconds between two looks at the files of a folder."""
_PREFIX = "_fleet_folder_"


class Unresolved(Exception):
    """A call that cannot be made: what is wrong, and what can be done."""

    def __init__(self, message: str, hint: str = "", data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.data = data


class Target:
    """A function that is ready to be called with keyword arguments."""

    __slots__ = ("allowed", "context", "function", "is_async", "name", "required", "signature")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
        try:
            self.signature: inspect.Signature | None = inspect.signature(function)
        except (TypeError, ValueError):
            self.signature = None
        parameters = self.signature.parameters.values() if self.signature is not None else ()
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        self.context = next((p.name for p in named if _wants_context(p)), "")
        self.required = frozenset(p.name for p in named if p.default is p.empty and p.name != self.context)
        open_ended = self.signature is None or any(p.kind is p.VAR_KEYWORD for p in parameters)
        self.allowed = None if open_ended else frozenset(p.name for p in named)
        for p in parameters:
            if p.kind is p.POSITIONAL_ONLY and p.default is p.empty:
                raise Unresolved(f"`{name}` takes `{p.name}` by position only", "remove the `/` from its parameters")

    def accepts(self, arguments: Mapping[str, Any]) -> bool:
        """Whether it can be called with these."""
        names = arguments.keys()
        return self.required <= names and (self.allowed is None or names <= self.allowed)

    def mismatch(self, arguments: Mapping[str, Any]) -> Unresolved:
        """What is wrong with arguments that are not accepted."""
        missing = sorted(self.required - arguments.keys())
        surplus = sorted(arguments.keys() - (self.allowed or frozenset()))
        parts = [f"needs {_quoted(missing)}"] * bool(missing) + [f"does not take {_quoted(surplus)}"] * bool(surplus)
        known = [p for p in (self.signature.parameters.values() if self.signature else ()) if p.name != self.context]
        hint = f"its parameters: {', '.join(map(str, known))}" if known else "it takes no arguments"
        return Unresolved(f"`{self.name}` {' and '.join(parts)}", hint)


class Folder:
    """A workflow folder and the functions that its workflows call."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._targets: dict[str, Target] = {}
        self._check_at = 0.0
        self._package = _Package(root) if root else None

    def known(self, call: str) -> Target | None:
        """The function, if it was loaded before and no file of the folder has changed since."""
        now = time.monotonic()
        if now >= self._check_at:
            self._check_at = now + CHECK_EVERY
            if self._package is not None and self._package.changed():
                self._package.forget()
                self._package = _Package(self.root)
                self._targets = {}
        return self._targets.get(call)

    def load(self, call: str) -> Target:
        """Import the function. Slow, and runs the module's code; raises `Unresolved` whatever that code raises."""
        module_name, _, attribute = call.partition(":")
        targets, package = self._targets, self._package
        found: Any = self._module(module_name, package)
        for name in attribute.split("."):
            try:
                found = getattr(found, name)
            except AttributeError:
                raise Unresolved(f"module `{module_name}` has no `{attribute}`", _functions_of(found)) from None
        target = targets[call] = Target(call, _callable(call, found))
        return target

    def _module(self, name: str, package: _Package | None) -> ModuleType:
        full = name
        if package is not None and package.owns(name.partition(".")[0]):
            full = f"{package.name}.{name}"
        try:
            with importing():
                return importlib.import_module(full)
        except ModuleNotFoundError as error:
            if error.name and (full == error.name or full.startswith(f"{error.name}.")):
                where = f"looked in {self.root} and among installed packages" if self.root else ""
                raise Unresolved(f"there is no module `{name}`", where) from None
            raise _broken(name, error, package) from None
        except BaseException as error:
            # Nothing that a user's module does when it is imported may end the engine, `sys.exit()` included.
            raise _broken(name, error, package) from None


_folders: dict[str, Folder] = {}


def folder(root: str) -> Folder:
    """The folder with that path; empty: no folder, installed modules only."""
    found = _folders.get(root)
    if found is None:
        found = _folders[root] = Folder(root)
    return found


def is_of_folder(root: Path, top: str) -> bool:
    """Whether a top-level name means a module of that folder, before any that is installed."""
    if (root / f"{top}.py").is_file() or (root / top / "__init__.py").is_file():
        return True
    # Any folder could be a namespace package: `workflows/numpy/` with data in it must not hide numpy.
    folder = root / top
    return folder.is_dir() and (not _is_installed(top) or (_is_namespace(top) and any(folder.rglob("*.py"))))


class _Package:
    """One generation of a folder: the name it is imported under, and the files that were read."""

    _count = 0

    def __init__(self, root: str) -> None:
        _Package._count += 1
        self.name = f"{_PREFIX}{_Package._count}"
        self.root = Path(root)
        self.builtins = {**vars(builtins), "__import__": self._import}
        self._stamps: dict[str, tuple[int, int] | None] = {}
        self._foreign: set[str] = set()
        _Finder.packages[self.name] = self
        if _Finder not in sys.meta_path:
            sys.meta_path.insert(0, _Finder)

    def read(self, path: str) -> bytes:
        """The file's bytes; its stamp is taken first, so that a change while it is read counts as one."""
        self._stamps[path] = _stamp(path)
        return Path(path).read_bytes()

    def changed(self) -> bool:
        """Whether a file that was imported is different now."""
        return any(_stamp(path) != stamp for path, stamp in list(self._stamps.items()))

    def forget(self) -> None:
        """Let its modules go. Functions of them that still run can import more: the finder keeps knowing the name."""
        for name in [name for name in sys.modules if name == self.name or name.startswith(f"{self.name}.")]:
            sys.modules.pop(name, None)

    def owns(self, top: str) -> bool:
        """Whether a top-level name means a module of this folder."""
        return f"{self.name}.{top}" in sys.modules or is_of_folder(self.root, top)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """`import` as the folder's modules see it: their neighbours come first."""
        top = name.partition(".")[0]
        if level or top in self._foreign or not self.owns(top):
            module = builtins.__import__(name, globals, locals, fromlist or (), level)
            if not level:
                self._foreign.add(top)
            return module
        module = builtins.__import__(f"{self.name}.{name}", globals, locals, fromlist or (), 0)
        return module if fromlist else sys.modules[f"{self.name}.{top}"]


class _Finder:
    """Finds the modules of folders; every other import passes by."""

    packages: dict[str, _Package] = {}  # noqa: RUF012  (one table for the process, as `sys.modules` is)

    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if not name.startswith(_PREFIX):
            return None
        top, _, rest = name.partition(".")
        package = cls.packages[top]
        if not rest:
            return _package_spec(name, package.root)
        for folder in map(Path, path or ()):
            base = folder / name.rpartition(".")[2]
            for file, inside in ((base / "__init__.py", [str(base)]), (base.with_suffix(".py"), None)):
                if file.is_file():
                    loader = _Loader(name, str(file), package)
                    return importlib.util.spec_from_file_location(
                        name, file, loader=loader, submodule_search_locations=inside
                    )
            if base.is_dir():
                return _package_spec(name, base)
        return PathFinder.find_spec(name, path)


class _Loader(SourceFileLoader):
    """Reads a source file of a folder, never a `.pyc`: those tell versions apart by whole seconds only."""

    def __init__(self, name: str, path: str, package: _Package) -> None:
        super().__init__(name, path)
        self._package = package

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError("no byte code here")

    def get_data(self, path: str) -> bytes:
        return self._package.read(path)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._package.builtins
        super().exec_module(module)


def _is_installed(top: str) -> bool:
    return top in sys.modules or importlib.util.find_spec(top) is not None


def _is_namespace(top: str) -> bool:
    """Whether it is no more than a folder somewhere on the path, as good or as bad as the one beside the workflow."""
    spec = sys.modules[top].__spec__ if top in sys.modules else importlib.util.find_spec(top)
    return spec is not None and spec.origin is None and spec.submodule_search_locations is not None


def _package_spec(name: str, folder: Path) -> ModuleSpec:
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _broken(name: str, error: BaseException, package: _Package | None) -> Unresolved:
    reason, trace = describe(error), tail_of(error)
    if package is not None:
        reason = reason.replace(f"{package.name}.", "")
    hint = "install it where the engine runs" if isinstance(error, ModuleNotFoundError) else "fix the module"
    if isinstance(error, SyntaxError) and error.filename:
        reason = f"SyntaxError: {error.msg} ({Path(error.filename).name}, line {error.lineno})"
    return Unresolved(f"module `{name}` cannot be imported: {reason}", hint, {"traceback": trace})


def _callable(call: str, found: Any) -> Callable[..., Any]:
    if not callable(found):
        raise Unresolved(f"`{call}` is not a function but {type(found).__name__}")
    if inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        raise Unresolved(f"`{call}` is a generator", "return a list instead of yielding")
    return cast("Callable[..., Any]", found)


def _functions_of(owner: Any) -> str:
    members = cast("dict[str, Any]", getattr(owner, "__dict__", {}))
    names = [name for name, value in members.items() if callable(value) and not name.startswith("_")]
    return f"it has: {', '.join(sorted(names)[:20])}" if names else ""


def _wants_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return parameter.name == "context" or name.rpartition(".")[2] == "StepContext"


def _quoted(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
