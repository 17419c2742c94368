"""What the source of a function says about a call of it. Nothing is imported, and no code of a module runs.

What cannot be known so is not told: modules that are not source files, names that a module makes as it runs, functions
that a decorator may have changed.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from importlib.machinery import all_suffixes
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.outside.importing import is_of_folder
from fleetprompt.engine.outside.uncollected import uncollected

MOST_BYTES = 2_000_000
"""Of a source file that is looked at."""
LISTED = 12
"""Names that are told where none of them is close."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_PLAIN = frozenset({"staticmethod", "classmethod"})
_DYNAMIC = frozenset({"globals", "locals", "vars", "exec", "eval", "setattr", "modules"})
"""Names by which a module can make others that its source does not show."""


class Fault(Struct, frozen=True):
    """Something that is wrong with a call."""

    message: str
    hint: str = ""
    argument: str = ""
    """The argument that the function does not take."""
    arguments: bool = False
    """It is about what is given, not about the function."""


def call_faults(root: Path, call: str, given: Collection[str] | None) -> Iterator[Fault]:
    """What is wrong with a call of `module:function` by a workflow of the folder `root`. `given` are the names of its
    arguments; None: they are not known."""
    module, _, attribute = call.partition(":")
    found = _find(root, module)
    if isinstance(found, Fault):
        yield found
        return
    tree = _parse(found, module)
    if isinstance(tree, Fault):
        yield tree
    elif tree is not None and found is not None:
        yield from _in_module(tree, found, call, attribute.split("."), given)


# ---------------------------------------------------------------- the file


def _find(root: Path, module: str) -> Path | Fault | None:
    """The source file of a module; None where that is not known."""
    parts = module.split(".")
    if is_of_folder(root, parts[0]):
        return _below([root], parts, f"there is no module `{module}`", f"it was looked for in {root}")
    try:
        spec = find_spec(parts[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        near = did_you_mean(parts[0], sorted({path.stem for path in root.glob("*.py")}))
        where = f"it is neither in {root} nor among the installed packages"
        return Fault(f"there is no module `{module}`", near or where)
    places = [Path(place).parent for place in spec.submodule_search_locations or ()]
    if spec.origin is not None and spec.has_location and not places:
        places = [Path(spec.origin).parent]
    # What an installed package holds may be made as it is imported: only what is there is looked at.
    found = _below(places, parts, "", "")
    return found if isinstance(found, Path) else None


def _below(places: Sequence[Path], parts: Sequence[str], message: str, hint: str) -> Path | Fault | None:
    """As the importer looks: a package before a module, and that before a plain folder."""
    for number, part in enumerate(parts, 1):
        bases: list[Path] = [place / part for place in places]
        package = next((base for base in bases if (base / "__init__.py").is_file()), None)
        if package is not None:
            if number == len(parts):
                return package / "__init__.py"
            places = [package]
            continue
        source = next((base.with_suffix(".py") for base in bases if base.with_suffix(".py").is_file()), None)
        if source is not None:
            return source if number == len(parts) else Fault(message, hint)
        if any(base.with_name(base.name + suffix).is_file() for base in bases for suffix in all_suffixes()):
            return None
        folders = [base for base in bases if base.is_dir()]
        if not folders:
            known = sorted({path.stem for place in places for path in place.glob("*.py") if path.stem != "__init__"})
            return Fault(message, did_you_mean(part, known) or hint)
        places = folders
    return None


def _parse(path: Path | None, module: str) -> ast.Module | Fault | None:
    if path is None:
        return None
    try:
        stat = path.stat()
        return _read(path, stat.st_mtime_ns, stat.st_size) if stat.st_size <= MOST_BYTES else None
    except SyntaxError as error:
        place = f"{path.name}, line {error.lineno}" if error.lineno else path.name
        return Fault(f"module `{module}` cannot be imported: SyntaxError: {error.msg} ({place})", "fix the module")
    except (OSError, ValueError, RecursionError, MemoryError):
        return None


@lru_cache(maxsize=16)
def _read(path: Path, mtime: int, size: int) -> ast.Module:
    """As it was at that time: one file may be named by many steps."""
    del mtime, size
    source = path.read_bytes()
    # CPython before 3.11.8 and 3.12.2 counts the depth of a tree for all threads at once: when finalizers let another
    # one run in the middle of two trees, it gives up with a SystemError (gh-106905).
    with uncollected():
        return ast.parse(source)


# ---------------------------------------------------------------- the names in it


class _Names(ast.NodeVisitor):
    """Names that are bound in a module or a class, with what they are bound to where that is a definition."""

    def __init__(self, body: Sequence[ast.stmt]) -> None:
        self.found: dict[str, list[ast.AST]] = {}
        self.open = False
        """There may be others."""
        self.starred = False
        """There may be others in the place of these."""
        for each in body:
            self.visit(each)

    def _bind(self, name: str, node: ast.AST) -> None:
        self.found.setdefault(name, []).append(node)
        self.open = self.open or name == "__getattr__"

    def _definition(self, node: Function | ast.ClassDef) -> None:
        self._bind(node.name, node)
        self._within(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _definition

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._within(node)

    def _within(self, node: ast.AST) -> None:
        """What is bound inside is bound there, unless it says that it means the module."""
        for each in ast.walk(node):
            self.open = self.open or _is_dynamic(each)
            for name in each.names if isinstance(each, ast.Global) else ():
                self._bind(name, each)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.open = self.starred = True
            self._bind(alias.asname or alias.name.partition(".")[0], node)

    visit_ImportFrom = visit_Import

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name, node)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self._bind(node.name, node)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.open = self.open or _is_dynamic(node)
        if not isinstance(node.ctx, ast.Load):
            self._bind(node.id, node)

    def generic_visit(self, node: ast.AST) -> None:
        self.open = self.open or _is_dynamic(node)
        super().generic_visit(node)


def _is_dynamic(node: ast.AST) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name in _DYNAMIC


def _in_module(
    tree: ast.Module, path: Path, call: str, parts: Sequence[str], given: Collection[str] | None
) -> Iterator[Fault]:
    module, owner = call.partition(":")[0], tree
    body: Sequence[ast.stmt] = owner.body
    inside: ast.ClassDef | None = None
    for number, part in enumerate(parts, 1):
        names = _Names(body)
        nodes = names.found.get(part, [])
        if not nodes:
            if not names.open and not _is_beside(path, part, number):
                yield _missing(module, ".".join(parts), part, names)
            return
        node = nodes[0]
        if len(nodes) > 1 or names.starred or not isinstance(node, Function | ast.ClassDef):
            return
        if number == len(parts):
            if isinstance(node, Function):
                yield from _of_function(node, inside, call, given)
            return
        if not isinstance(node, ast.ClassDef) or node.bases or node.keywords or node.decorator_list:
            return
        body, inside = node.body, node


def _is_beside(path: Path, part: str, number: int) -> bool:
    """A module of a package may be there as an attribute of it."""
    return (
        number == 1
        and path.name == "__init__.py"
        and ((path.parent / f"{part}.py").exists() or (path.parent / part).is_dir())
    )


def _missing(module: str, attribute: str, part: str, names: _Names) -> Fault:
    known = sorted(name for name, nodes in names.found.items() if _is_called(name, nodes))
    listed = f"it has: {', '.join(known[:LISTED])}{', …' if len(known) > LISTED else ''}" if known else ""
    return Fault(f"module `{module}` has no `{attribute}`", did_you_mean(part, known) or listed)


def _is_called(name: str, nodes: Sequence[ast.AST]) -> bool:
    return not name.startswith("_") and any(isinstance(node, Function | ast.ClassDef) for node in nodes)


# ---------------------------------------------------------------- the function


def _of_function(
    node: Function, inside: ast.ClassDef | None, call: str, given: Collection[str] | None
) -> Iterator[Fault]:
    decorators = {each.id if isinstance(each, ast.Name) else "" for each in node.decorator_list}
    if decorators - (_PLAIN if inside is not None else frozenset()):
        return
    if _yields(node):
        yield Fault(f"`{call}` is a generator", "return a list instead of yielding")
        return
    skipped = 1 if "classmethod" in decorators else 0
    yield from _misfits(_Parameters(node.args, skipped), call, given)


def _yields(node: Function) -> bool:
    """Whether there is a `yield` of its own, outside of functions and classes in it."""
    waiting: list[ast.AST] = [*node.body]
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(each, Function | ast.Lambda | ast.ClassDef):
            waiting += ast.iter_child_nodes(each)
    return False


class _Parameters:
    """How a function can be called by keywords, as `Target` has it from the function itself."""

    def __init__(self, args: ast.arguments, skipped: int) -> None:
        by_place = [*args.posonlyargs, *args.args]
        bare = len(by_place) - len(args.defaults)
        optional = {each.arg for each in by_place[bare:]}
        optional |= {each.arg for each, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default}
        self.by_position = [each.arg for each in args.posonlyargs[skipped:] if each.arg not in optional]
        after = max(0, skipped - len(args.posonlyargs))
        named = [*args.args[after:], *args.kwonlyargs]
        context = next((each.arg for each in named if _wants_context(each)), "")
        self.required = [each.arg for each in named if each.arg not in optional and each.arg != context]
        self.allowed = None if args.kwarg is not None else [each.arg for each in named]
        shown = [each.arg if each.arg not in optional else f"{each.arg}=…" for each in named if each.arg != context]
        self.told = f"its parameters: {', '.join(shown)}" if shown else "it takes no arguments"


def _misfits(parameters: _Parameters, call: str, given: Collection[str] | None) -> Iterator[Fault]:
    for name in parameters.by_position:
        yield Fault(f"`{call}` takes `{name}` by position only", "remove the `/` from its parameters")
    if given is None:
        return
    missing = [name for name in parameters.required if name not in given]
    if missing:
        needed = ", ".join(f"`{name}`" for name in missing)
        yield Fault(f"`{call}` needs {needed}", parameters.told, arguments=True)
    allowed = parameters.allowed
    for name in given if allowed is not None else ():
        if allowed is not None and name not in allowed:
            near = did_you_mean(name, allowed)
            yield Fault(f"`{call}` does not take `{name}`", near or parameters.told, argument=name, arguments=True)


def _wants_context(parameter: ast.arg) -> bool:
    annotation = parameter.annotation
    name = ""
    if isinstance(annotation, ast.Name):
        name = annotation.id
    elif isinstance(annotation, ast.Attribute):
        name = annotation.attr
    elif isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        name = annotation.value.rpartition(".")[2]
    return parameter.arg == "context" or name == "StepContext"
