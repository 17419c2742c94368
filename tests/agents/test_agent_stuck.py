"""Whether an agent goes in circles, by its calls and what came of them."""

from __future__ import annotations

from typing import Any

import pytest

from fleetprompt.engine.agents.stuck import stuck
from fleetprompt.engine.agents.transcript import Call
from fleetprompt.engine.core.agent import Stuck


def made(tool: str, arguments: Any, output: Any = "", *, reach: str = "read", error: str = "") -> Call:
    call = Call("k", 0, {"tool": tool, "arguments": arguments, "reach": reach})
    call.status, call.output = ("failed" if error else "done"), output
    call.error = {"code": error} if error else None
    return call


A, B = made("fs.read", "a", 1), made("fs.read", "b", 2)


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ([A, A, A], "3 times in a row with the same arguments"),
        ([made("http.request", n, error="TIMEOUT") for n in range(3)], "failed 3 times"),
        ([A, B] * 3, "the same 2 calls"),
        ([made("fs.grep", n, []) for n in range(4)], "results were all the same"),
        ([A, A, B], ""),
        ([made("shell.run", n, {"exit_code": 0}, reach="write") for n in range(6)], ""),
        ([made("vars.set", n, "set") for n in range(6)], ""),
        ([made("fs.grep", 0, []), made("human.ask", 1, []), made("fs.grep", 2, []), made("fs.grep", 3, [])], ""),
    ],
)
def test_what_counts_as_a_circle(calls: list[Call], why: str) -> None:
    found = stuck(calls, Stuck(), waiting=["human.ask"])
    assert (why in found) if why else not found
