"""`python`: which function is called, with what, and which module it comes from."""

from __future__ import annotations

import asyncio
import importlib
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from steplab import done, failure, until

from fleetprompt.engine.outside import importing
from fleetprompt.engine.steps.python import Python


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at files on every call, not once per second."""
    monkeypatch.setattr(importing, "CHECK_EVERY", 0.0)


# ---------------------------------------------------------------- calling


async def test_async_functions_run_in_the_loop_and_others_in_a_thread(call: Any, make: Any, tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text(
        "import threading\nasync def here(a, *, b=2): return [a, b, threading.get_ident()]\n"
        "def there(a): return [a, threading.get_ident()]\n"
    )
    ctx = make("python", {"call": "mod:here", "with": {"a": 1}})
    assert done(await ctx.perform()) == [1, 2, threading.get_ident()]
    assert ctx.threads == 1, "for the import"
    again = make("python", {"call": "mod:here", "with": {"a": 1, "b": 3}})
    assert done(await again.perform())[1] == 3
    assert again.threads == 0
    a, ident = done(await make("python", {"call": "mod:there", "with": {"a": "x"}}).perform())
    assert a == "x"
    assert ident != threading.get_ident()


async def test_what_can_be_called(call: Any) -> None:
    source = """
        import functools
        class Tool:
            def __init__(self, a=1): self.a = a
            async def __call__(self, b): return ["object", b]
            @classmethod
            def make(cls, a): return ["class", a]
            @staticmethod
            async def run(a): return ["static", a]
        tool = Tool()
        part = functools.partial(Tool.make, 5)
        def wrapped(**more):
            return tool(more["b"])
        async def anything(**more): return more
    """
    assert done(await call(source, "tool", b=1)) == ["object", 1]
    assert done(await call(source, "Tool.make", a=2)) == ["class", 2]
    assert done(await call(source, "Tool.run", a=3)) == ["static", 3]
    assert done(await call(source, "part")) == ["class", 5]
    assert done(await call(source, "wrapped", b=4)) == ["object", 4]
    assert done(await call(source, "anything", x=1, y=[2])) == {"x": 1, "y": [2]}


async def test_installed_modules(make: Any) -> None:
    step = {"call": "json:loads", "with": {"s": "[1]"}}
    assert done(await make("python", step).perform()) == [1]
    assert done(await make("python", step, directory="").perform()) == [1]
    assert done(await make("python", {"call": "os.path:basename", "with": {"p": "/a/b"}}).perform()) == "b"


async def test_arguments_are_copies(make: Any, tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text("async def f(items): items.append(9); items[0]['a'] = 0; return items")
    ctx = make("python", {"call": "mod:f", "with": {"items": [{"a": 1}]}})
    assert done(await ctx.perform()) == [{"a": 0}, 9]
    assert ctx.effect.input["with"] == {"items": [{"a": 1}]}


async def test_context(call: Any, make: Any, tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text(
        textwrap.dedent("""
        from fleetprompt.engine.steps.python import StepContext
        async def by_name(context, a):
            context.log("hello", "warning")
            return [context.key, context.run, context.path, context.attempt, str(context.directory), a]
        def by_type(a, where: "StepContext" = None):
            for i in range(3):
                where.log(f"line {i}")
            return [where.key, a, where.cancelled.is_set()]
        async def mine(context): return context
        """)
    )
    ctx = make("python", {"call": "mod:by_name", "with": {"a": 1}}, attempt=3)
    assert done(await ctx.perform()) == ["key-1", "r1", "audit[3].deps", 3, str(tmp_path), 1]
    assert ctx.lines == [("warning", "hello")]
    ctx = make("python", {"call": "mod:by_type", "with": {"a": 1}})
    assert done(await ctx.perform()) == ["key-1", 1, False]
    await asyncio.sleep(0)
    assert ctx.lines == [("info", f"line {i}") for i in range(3)]
    assert done(await make("python", {"call": "mod:mine", "with": {"context": "own"}}).perform()) == "own"


async def test_a_thread_learns_that_it_was_cancelled(make: Any, tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text(
        "def f(context, path):\n    context.log('started')\n"
        "    open(path, 'w').write(str(context.cancelled.wait(20)))\n"
    )
    ctx = make("python", {"call": "mod:f", "with": {"path": str(tmp_path / "seen")}})
    task = asyncio.ensure_future(ctx.perform())
    await until(lambda: ctx.lines)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    seen = tmp_path / "seen"
    await until(lambda: seen.exists() and seen.read_text() == "True")


# ---------------------------------------------------------------- modules and folders


async def test_two_folders_with_the_same_names_do_not_meet(make: Any, tmp_path: Path) -> None:
    before = list(sys.path)
    for name in ("a", "b"):
        package = tmp_path / name / "demo"
        package.mkdir(parents=True)
        (tmp_path / name / "shared.py").write_text(f"NAME = {name!r}")
        (tmp_path / name / "queue.py").write_text(f"MINE = {name!r}")
        (package / "deep.py").write_text("from . import near\nimport shared\nVALUE = [shared.NAME, near.NEAR]")
        (package / "near.py").write_text(f"NEAR = 'near {name}'")
        (tmp_path / name / "flow.py").write_text(
            "import demo.deep, queue, json\nfrom demo import near as n\nfrom demo.deep import VALUE\n"
            "def f():\n    import shared as late\n"
            "    return [demo.deep.VALUE, n.NEAR, queue.MINE, late.NAME, VALUE, json.loads('1')]\n"
        )
    for name in ("a", "b"):
        outcome = await make("python", {"call": "flow:f"}, directory=str(tmp_path / name)).perform()
        assert done(outcome) == [[name, f"near {name}"], f"near {name}", name, name, [name, f"near {name}"], 1]
    assert sys.path == before
    import queue

    assert hasattr(queue, "SimpleQueue"), "a folder's module hides nothing from the engine"
    assert "shared" not in sys.modules
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.parametrize("loaded", [False, True])
async def test_a_folder_elsewhere_on_the_path_hides_none_of_the_workflow(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    """Neither has an `__init__.py`; of two such, the one that is nearer and holds code is meant."""
    for place in ("elsewhere", "here"):
        (tmp_path / place / "parts_of_it").mkdir(parents=True)
        (tmp_path / place / "parts_of_it" / "one.py").write_text(f"def f():\n    return {place!r}\n")
    (tmp_path / "data" / "parts_of_it").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    if loaded:
        importlib.import_module("parts_of_it")
    for place, found in (("here", "here"), ("data", "elsewhere")):
        call = {"call": "parts_of_it.one:f"}
        assert done(await make("python", call, directory=str(tmp_path / place)).perform()) == found
    for name in [name for name in sys.modules if name.startswith("parts_of_it")]:
        del sys.modules[name]


@pytest.mark.usefixtures("no_wait")
async def test_changed_files_are_loaded_again(make: Any, tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text("import part\nasync def f(): return part.V + 10")
    (tmp_path / "part.py").write_text("V = 1")
    ctx = make("python", {"call": "flow:f"})
    assert done(await ctx.perform()) == 11
    assert done(await ctx.perform()) == 11
    (tmp_path / "part.py").write_text("V = 2")
    assert done(await ctx.perform()) == 12
    (tmp_path / "flow.py").write_text("import part\nasync def f(): return part.V + 20")
    assert done(await ctx.perform()) == 22
    (tmp_path / "part.py").write_text("V = ")
    assert "SyntaxError: invalid syntax (part.py, line 1)" in failure(await ctx.perform()).message
    (tmp_path / "part.py").write_text("V = 33")
    assert done(await ctx.perform()) == 53
    (tmp_path / "flow.py").unlink()
    assert "there is no module `flow`" in failure(await ctx.perform()).message


@pytest.mark.usefixtures("no_wait")
async def test_a_call_that_runs_keeps_the_code_it_began_with(make: Any, tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "import asyncio\ngo = asyncio.Event()\nV = 1\n"
        "async def f(context):\n    context.log('in')\n    await go.wait()\n    import part\n    return [V, part.V]\n"
        "async def release(): go.set()\n"
    )
    (tmp_path / "part.py").write_text("V = 1")
    first = make("python", {"call": "flow:f"})
    task = asyncio.ensure_future(first.perform())
    await until(lambda: first.lines)
    release = [module for name, module in sys.modules.items() if name.endswith(".flow")][-1].go
    (tmp_path / "flow.py").write_text("V = 22\nasync def f(): return V\n")
    assert done(await make("python", {"call": "flow:f"}).perform()) == 22
    release.set()
    assert done(await task) == [1, 1]


async def test_files_are_looked_at_once_a_second(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flow.py").write_text("async def f(): return 1")
    ctx = make("python", {"call": "flow:f"})
    await ctx.perform()
    monkeypatch.setattr(importing, "_stamp", lambda path: pytest.fail("a look at the file"))
    for _ in range(50):
        assert done(await ctx.perform()) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("class Odd(BaseException): pass\nraise Odd('x')", "Odd: x"),
        ("import no_such_thing_here", "No module named 'no_such_thing_here'"),
        ("from json import nothing_like_it", "cannot import name 'nothing_like_it'"),
        ("1/0", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError"),
        ("\0", "cannot contain null bytes"),
        ("x = '\xe9'", "SyntaxError"),
    ],
)
async def test_a_module_that_cannot_be_imported(make: Any, tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "bad.py").write_bytes(source.encode("latin-1"))
    error = failure(await make("python", {"call": "bad:f"}).perform())
    assert error.message.startswith("module `bad` cannot be imported: ")
    assert message in error.message
    assert "_fleet_folder" not in error.message
    assert (error.code, error.retryable) == ("TOOL_ERROR", False)
    assert error.hint
    assert "traceback" in error.data


async def test_names_that_lead_nowhere(make: Any, call: Any) -> None:
    missing = failure(await make("python", {"call": "nowhere.at.all:f"}).perform())
    assert missing.message == "there is no module `nowhere.at.all`"
    assert "looked in" in missing.hint
    inside = failure(await make("python", {"call": "json.nowhere:f"}).perform())
    assert inside.message == "there is no module `json.nowhere`"
    function = failure(await call("def other(): pass\n_hidden = len", "f"))
    assert "has no `f`" in function.message
    assert function.hint == "it has: other"
    value = failure(await call("f = 3"))
    assert "is not a function but int" in value.message
    for source in ("def f(): yield 1", "async def f(): yield 1"):
        assert "is a generator" in failure(await call(source)).message
    assert not any(error.retryable for error in (missing, inside, function, value))


async def test_wrong_arguments(call: Any) -> None:
    source = "async def f(path, *, limit: int = 5, context=None): pass"
    missing = failure(await call(source))
    assert "needs `path`" in missing.message
    assert missing.hint == "its parameters: path, limit: int = 5"
    surplus = failure(await call(source, path=1, pth=2, z=1))
    assert "does not take `pth`, `z`" in surplus.message
    both = failure(await call(source, x=1))
    assert "needs `path` and does not take `x`" in both.message
    assert "position only" in failure(await call("def f(a, /): pass")).message
    assert "it takes no arguments" in failure(await call("def f(): pass", "f", a=1)).hint
    assert not any(error.retryable for error in (missing, surplus, both))


async def test_arguments_that_are_no_mapping(make: Any) -> None:
    ctx = make("python", {"call": "json:loads", "with": "${{ inputs.all }}"}, input={"call": "json:loads", "with": [1]})
    assert "`with` has to be a mapping" in failure(await ctx.perform()).message


@pytest.mark.parametrize("text", ["json", "json:", ":f", "a b:f", "os:system('x')", "../x:f", "a.b", "a:b:c", "a:1"])
def test_calls_that_are_refused_at_validation(text: str) -> None:
    with pytest.raises(ValidationError):
        Python.model_validate({"type": "python", "call": text})


def test_what_it_declares() -> None:
    model = Python.model_validate({"type": "python", "call": "a.b:c", "with": {"x": "${{ inputs.y }}"}})
    assert model.repeats() == "never"
    assert model.config() == {"call": "a.b:c", "with": {"x": "${{ inputs.y }}"}}
    assert (Python.pool_name, Python.secret_fields) == ("python", ())
