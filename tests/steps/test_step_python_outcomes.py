"""`python`: what becomes of what a function returns or raises."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from steplab import done, failure, until

# ---------------------------------------------------------------- results


async def test_results_become_json(call: Any) -> None:
    source = """
        import dataclasses, datetime, decimal, enum, uuid, pathlib
        import msgspec, pydantic
        class Colour(enum.Enum): RED = "red"
        @dataclasses.dataclass
        class Point: x: int; when: datetime.date
        class Row(msgspec.Struct): a: int
        class Model(pydantic.BaseModel): n: int; at: datetime.datetime
        async def f():
            return {
                "d": [Point(1, datetime.date(2026, 1, 2))], "s": Row(2), "e": Colour.RED, "t": (1, 2), "n": None,
                "m": [Model(n=3, at=datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc))],
                "u": uuid.UUID(int=0), 5: {1}, "big": 2**70, "text": "\\u2028ü",
            }
    """
    assert done(await call(source)) == {
        "d": [{"x": 1, "when": "2026-01-02"}],
        "s": {"a": 2},
        "e": "red",
        "t": [1, 2],
        "n": None,
        "m": [{"n": 3, "at": "2026-01-02T00:00:00Z"}],
        "u": "00000000-0000-0000-0000-000000000000",
        "5": [1],
        "big": 2**70,
        "text": "\u2028ü",
    }


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("object()", "it is object"),
        ("{'a': [1, {'b': object()}]}", "`a[1].b` is object"),
        ("{'rows': (x for x in 'ab')}", "`rows` is generator"),
        ("[lambda: 1]", "`[0]` is function"),
        ("{'a': {'b': float('nan')}}", "`a.b` is nan"),
        ("float('-inf')", "it is -inf"),
        ("{(1, 2): 3}", "a key of it is"),
        ("{'p': __import__('pathlib').Path('/x')}", "`p` is pathlib.PosixPath"),
        ("loop", "refers to itself"),
        ("'\\ud800'", "it is text with broken Unicode"),
        ("{'\\ud800': 1}", "text with broken Unicode"),
        ("int", "it is type"),
        ("Box(float('nan'))", "is nan"),
    ],
)
async def test_results_that_are_not_json(call: Any, expression: str, message: str) -> None:
    source = "\n".join(
        [
            "import dataclasses",
            "@dataclasses.dataclass",
            "class Box: value: object",
            "loop = []",
            "loop.append(loop)",
            f"async def f(): return {expression}",
        ]
    )
    error = failure(await call(source))
    assert error.message.startswith("the result of `mod1:f` is not JSON: ")
    assert message in error.message
    assert error.retryable is False


async def test_null_in_a_result_is_fine(call: Any) -> None:
    assert done(await call("async def f(): return {'a': [None, 1.5, 'null', True]}")) == {
        "a": [None, 1.5, "null", True]
    }


# ---------------------------------------------------------------- exceptions


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_exceptions(call: Any, kind: str) -> None:
    source = f"""
        def inner(): raise KeyError("no such row")
        {kind} f():
            try: inner()
            except KeyError as error: raise ValueError("bad row 7") from error
    """
    error = failure(await call(source))
    assert (error.code, error.message, error.retryable) == ("TOOL_ERROR", "ValueError: bad row 7", True)
    trace = error.data["traceback"]
    assert error.data["exception"] == "ValueError"
    assert "mod1.py" in trace
    assert "in inner" in trace
    assert "direct cause" in trace
    assert "engine/steps" not in trace
    assert "thread.py" not in trace


@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize(
    "statement",
    ["raise SystemExit(1)", "raise BaseException('x')", "raise asyncio.CancelledError", "raise StopAsyncIteration"],
)
async def test_nothing_that_is_raised_ends_the_engine(call: Any, kind: str, statement: str) -> None:
    assert failure(await call(f"import asyncio\n{kind} f(): {statement}")).code == "TOOL_ERROR"


@pytest.mark.parametrize("statement", ["raise StopIteration", "raise KeyboardInterrupt", "raise GeneratorExit"])
async def test_nor_in_a_thread(call: Any, statement: str) -> None:
    assert failure(await asyncio.wait_for(call(f"def f(): {statement}"), 120)).retryable is True


async def test_permanent_and_retry_after(call: Any) -> None:
    head = "from fleetprompt.engine.steps.python import Permanent, RetryAfter\n"
    error = failure(await call(head + "async def f(): raise Permanent('no such customer')"))
    assert (error.message, error.retryable, error.data) == ("no such customer", False, {"exception": "Permanent"})
    outcome = await call(head + "def f(): raise RetryAfter(2.5)")
    assert (outcome.retry_after, outcome.error.retryable) == (2.5, True)
    assert (outcome.error.message, outcome.error.data) == ("try again in 2.5 s", {"exception": "RetryAfter"})
    assert failure(await call(head + "def f(): raise Permanent")).message == "Permanent"
    assert (await call(head + "def f(): raise RetryAfter(-1, 'soon')")).retry_after == 0


async def test_exceptions_that_misbehave(call: Any) -> None:
    source = """
        class Evil(Exception):
            def __str__(self): raise RuntimeError("no")
        def deep(n): return deep(n + 1)
        async def evil(): raise Evil
        async def long(): raise ValueError("x" * 1_000_000)
        async def recursion(): return deep(0)
        async def group(): raise ExceptionGroup("two", [ValueError("a"), KeyError("b")])
    """
    assert "cannot be read" in failure(await call(source, "evil")).message
    for name in ("long", "recursion", "group"):
        error = failure(await call(source, name))
        assert len(error.message) <= 1000
        assert len(error.data["traceback"]) <= 4096


async def test_cancelling_is_passed_on(make: Any, tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text(
        "import asyncio\nasync def f(context): context.log('in'); await asyncio.sleep(600)"
    )
    ctx = make("python", {"call": "mod:f"})
    task = asyncio.ensure_future(ctx.perform())
    await until(lambda: ctx.lines)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_many_first_calls_at_once_import_once(make: Any, tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text(
        "import sys, time\nsys._fleet_imports = getattr(sys, '_fleet_imports', 0) + 1\ntime.sleep(0.05)\n"
        "async def f(): return sys._fleet_imports"
    )
    outcomes = await asyncio.gather(*(make("python", {"call": "mod:f"}).perform() for _ in range(8)))
    assert {done(outcome) for outcome in outcomes} == {1}
