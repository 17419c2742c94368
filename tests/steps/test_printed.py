"""What functions print: lines of the log of the step that called them, and of no other."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from steplab import done, failure

from fleetprompt.engine.outside.printed import MOST_BYTES

SOURCE = """
import asyncio, logging, subprocess, sys, threading, warnings
meet = threading.Barrier(2, timeout=60)
print("being imported")
def side(name):
    for i in range(3):
        print(name, end="-")
        meet.wait()
        print(i)
    print("error", file=sys.stderr)
    sys.stdout.buffer.write(b"bytes \\xff and no end")
    return [sys.stdout.isatty(), sys.stdout.encoding.lower()]
async def slow(name, other=""):
    print("start", name)
    await asyncio.sleep(0)
    sys.stdout.write("end ")
    await asyncio.sleep(0)
    print(name)
def asked():
    try:
        return sys.stdout.fileno()
    except OSError:
        return "none"
def much(n):
    for i in range(n):
        print("x" * 1023)
def fails():
    print("before it broke")
    raise ValueError("broke")
"""


@pytest.fixture
def printing(make: Any, tmp_path: Path) -> Any:
    (tmp_path / "noisy.py").write_text(SOURCE)
    return lambda function, **given: make("python", {"call": f"noisy:{function}", "with": given})


async def test_threads_side_by_side_print_to_their_own_logs(printing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = printing("side", name="a"), printing("side", name="b")
    said = await asyncio.gather(first.perform(), second.perform())
    assert [done(each) for each in said] == [[False, "utf-8"]] * 2
    for ctx, name in ((first, "a"), (second, "b")):
        lines = [line for line in ctx.lines if line != ("stdout", "being imported")]
        assert lines == [
            *(("stdout", f"{name}-{i}") for i in range(3)),
            ("stderr", "error"),
            ("stdout", "bytes \ufffd and no end"),
        ]
    assert ("stdout", "being imported") in first.lines + second.lines
    print("of nobody")
    assert capsys.readouterr() == ("of nobody\n", "")


async def test_functions_of_one_loop_do_too(printing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = printing("slow", name="a"), printing("slow", name="b")
    first.on_log = lambda level, text: print("told", text) or first.lines.append((level, text))
    await asyncio.gather(first.perform(), second.perform())
    assert [text for _, text in first.lines if "imported" not in text] == ["start a", "end a"]
    assert [text for _, text in second.lines if "imported" not in text] == ["start b", "end b"]
    assert "told end a\n" in capsys.readouterr().out, "who takes a line may print as before"


async def test_a_log_has_no_file_descriptor(printing: Any) -> None:
    assert done(await printing("asked").perform()) == "none"


async def test_what_was_printed_before_a_failure_is_kept(printing: Any) -> None:
    ctx = printing("fails")
    assert "broke" in failure(await ctx.perform()).message
    assert ("stdout", "before it broke") in ctx.lines


async def test_what_is_printed_is_bounded(printing: Any) -> None:
    ctx = printing("much", n=MOST_BYTES // 1024 + 3)
    done(await ctx.perform())
    assert sum(len(text) + 1 for level, text in ctx.lines if text.startswith("x")) == MOST_BYTES
    assert ctx.lines[-1] == ("warning", "3.1 kB more were printed and are not kept")


async def test_a_stream_that_was_put_there_since_is_kept(
    printing: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await printing("asked").perform()
    there = sys.stdout
    await printing("asked").perform()
    assert sys.stdout is there, "put there once"
    assert sys.stdout.encoding.lower() == "utf-8"
