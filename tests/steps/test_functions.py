"""What `fleet validate` says of functions that steps call: nothing is imported, and nothing is told that is not so."""

from __future__ import annotations

import ast
import gc
from collections.abc import Collection
from pathlib import Path

import pytest

from fleetprompt.engine.outside.functions import call_faults
from fleetprompt.engine.outside.importing import Folder, Unresolved
from fleetprompt.engine.outside.uncollected import uncollected

MODULE = """
from __future__ import annotations
import functools
from json import dumps

raise_me = 1 / 1
lam = lambda a: a

def plain(a, b=1, *, c, d=2): ...
def keywords(a, **more): ...
def context(context, a): ...
def typed(a, ctx: StepContext): ...
def quoted(a, ctx: "steps.StepContext" = None): ...
def placed(a, /, b): ...
def loosely(a=1, /): ...
def none(): ...
async def later(a): ...
def many():
    yield 1
def holds_a_generator():
    def inner():
        yield 1
    return [*inner()]
@functools.wraps(plain)
def wrapped(*args, **kwargs): ...
if raise_me:
    def either(a): ...
else:
    def either(b): ...
try:
    from missing_speedups import fast
except ImportError:
    def fast(a): ...
class Desk:
    @staticmethod
    def fixed(a): ...
    @classmethod
    def made(cls, a): ...
    def of_self(self, a): ...
class Base:
    @staticmethod
    def below(a): ...
class Desk2(Base): ...
def sets():
    global later_on
    later_on = plain
"""
GENERATED = "def __getattr__(name):\n    return lambda a: a\n"
MADE = "for name in ('x', 'y'):\n    globals()[name] = lambda a: a\n"

FAULTS: list[tuple[str, Collection[str] | None, str]] = [
    ("desk:plain", {"a", "c"}, ""),
    ("desk:plain", {"a"}, "needs `c`"),
    ("desk:plain", {"a", "c", "bb"}, "does not take `bb`"),
    ("desk:plain", None, ""),
    ("desk:keywords", {"a", "x"}, ""),
    ("desk:keywords", {"x"}, "needs `a`"),
    ("desk:context", {"a"}, ""),
    ("desk:typed", {"a"}, ""),
    ("desk:quoted", {"a"}, ""),
    ("desk:placed", {"b"}, "by position only"),
    ("desk:loosely", set(), ""),
    ("desk:none", {"a"}, "does not take `a`"),
    ("desk:later", set(), "needs `a`"),
    ("desk:many", set(), "is a generator"),
    ("desk:holds_a_generator", set(), ""),
    ("desk:wrapped", {"anything"}, ""),
    ("desk:either", {"x"}, ""),
    ("desk:fast", {"x"}, ""),
    ("desk:lam", {"x"}, ""),
    ("desk:dumps", {"x"}, ""),
    ("desk:later_on", {"x"}, ""),
    ("desk:Desk.fixed", set(), "needs `a`"),
    ("desk:Desk.fixed", {"a"}, ""),
    ("desk:Desk.made", {"a"}, ""),
    ("desk:Desk.made", {"cls", "a"}, "does not take `cls`"),
    ("desk:Desk.of_self", {"a"}, "needs `self`"),
    ("desk:Desk.gone", {"a"}, "has no `Desk.gone`"),
    ("desk:Desk2.below", {"a"}, ""),
    ("desk:plian", {"a"}, "has no `plian`"),
    ("dsk:plain", {"a"}, "there is no module `dsk`"),
    ("pkg.inner:run", {"a"}, ""),
    ("pkg.iner:run", {"a"}, "there is no module `pkg.iner`"),
    ("pkg:helper", {"a"}, ""),
    ("pkg:inner.run", {"a"}, ""),
    ("generated:anything", {"a"}, ""),
    ("made:x", {"a"}, ""),
    ("starred:plain", {"a"}, ""),
    ("starred:whatever", {"a"}, ""),
    ("broken:run", set(), "SyntaxError"),
    ("spaced.deep:run", set(), ""),
    ("json:dumps", {"obj"}, ""),
    ("json:dmups", {"obj"}, "has no `dmups`"),
    ("time:sleep", {"secs"}, ""),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, text in {
        "desk.py": MODULE,
        "generated.py": GENERATED,
        "made.py": MADE,
        "starred.py": "from desk import *\ndef plain(b): ...\nfrom desk import *\n",
        "broken.py": "def run(:\n",
        "pkg/__init__.py": "from . import inner\nfrom .inner import run as helper\n",
        "pkg/inner.py": "def run(a): ...\n",
        "spaced/deep.py": "def run(): ...\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(("call", "given", "said"), FAULTS)
def test_what_is_known_of_a_function_is_told(home: Path, call: str, given: Collection[str] | None, said: str) -> None:
    found = [f"{fault.message} ({fault.hint})" for fault in call_faults(home, call, given)]
    assert (said in found[0] and len(found) == 1) if said else not found, found
    assert not said or refused(home, call, given or ()), "what is told is what the step would fail with"


def refused(home: Path, call: str, given: Collection[str]) -> bool:
    """Whether the step would fail."""
    try:
        return not Folder(str(home)).load(call).accepts(dict.fromkeys(given))
    except Unresolved:
        return True


def test_what_may_be_meant_is_told(home: Path) -> None:
    hints = {
        ("desk:plian", "a"): "did you mean `plain`",
        ("dsk:plain", "a"): "did you mean `desk`",
        ("pkg.iner:run", "a"): "did you mean `inner`",
        ("desk:none", "a"): "it takes no arguments",
        ("desk:keywords", "x"): "its parameters: a",
    }
    for (call, argument), hint in hints.items():
        [fault] = call_faults(home, call, [argument])
        assert hint in fault.hint


def test_nothing_of_a_module_runs(home: Path) -> None:
    (home / "runs.py").write_text("import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\ndef f(): ...\n")
    assert not [*call_faults(home, "runs:f", ())]
    assert not (home / "runs.ran").exists()


def test_a_tree_is_read_whole_though_another_is_read_in_the_middle_of_it(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("\n".join(f"def f{n}(a, b={n}): return [a, b]" for n in range(500)))

    def another(phase: str, info: object) -> None:
        ast.parse("[[[1]]]")

    before = gc.get_threshold()
    gc.callbacks.append(another)
    gc.set_threshold(20)
    try:
        assert not [*call_faults(tmp_path, "long:f7", {"a"})]
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(another)


def test_garbage_is_looked_for_again_when_the_last_of_overlapping_spans_has_ended() -> None:
    first, second = uncollected(), uncollected()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()
