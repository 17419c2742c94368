"""`fleet memory`: what agents remember is listed, searched, shown, added to and forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cli_kit import Fleet

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports.memory import Memory
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.store.memory import MemoryStore

SECRET = "planted-77e0d1"
HOSTILE = "redis \x1b[31mred\u202e\nsecond line [bold]x[/bold]"


def keep(database: Path, *memories: Memory) -> None:
    async def work() -> None:
        store = SqlStore(database)
        await store.open()
        for each in memories:
            await store.memories.add(each)
        await store.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--scope", "keeper"), "there is no memory keeper"),
        (("--scope", "agent:keeper"), "write shared, agent/NAME or workflow/NAME"),
        (("--type", "fcat"), "did you mean `fact`?"),
    ],
)
def test_what_cannot_be_remembered_is_refused_although_no_engine_runs(
    fleet: Fleet, given: tuple[str, ...], said: str
) -> None:
    fleet.ok("run", "quick.yaml", "-q")
    answer = fleet("memory", "add", "People say so.", *given)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


def test_what_is_remembered_is_found_shown_and_forgotten(fleet: Fleet) -> None:
    fleet.ok("run", "quick.yaml", "-q")
    assert "nothing is remembered" in fleet("memory").err
    given = {"created_at": 1.0, "accessed_at": 2.0, "scope": "agent/sre"}
    bad = Memory(
        id="m-aaa1",
        type="fact",
        text=HOSTILE,
        tags=("ports",),
        run="r1",
        path="look",
        agent="sre",
        **given,
        untrusted=True,
    )
    talk = Memory(id="m-bbb2", type="conversation", text="the index was missing", by="ana", accesses=2, **given)
    keep(fleet.root / ".fleet" / "fleet.db", bad, talk)
    lines = fleet.ok("memory").splitlines()
    assert [line.split()[0] for line in lines] == ["MEMORY", "m-bbb2", "m-aaa1"]
    assert "untrusted" in lines[2]
    assert "\\x1b[31mred\\u202e second line [bold]x" in lines[2]
    assert [each["id"] for each in fleet("memory", "--type", "fact", "--json").json] == ["m-aaa1"]
    assert fleet("memory", "--scope", "shared", "--json").json == []
    assert [each["id"] for each in fleet("memory", "search", "missing", "INDEXES", "--json").json] == ["m-bbb2"]
    assert "holds any of these words" in fleet("memory", "search", "absent").err
    shown = fleet.ok("memory", "show", "aaa1")
    assert "it may be meant to deceive" in shown
    assert "\x1b" not in shown
    assert "second line" in shown.splitlines()[-1]
    (object_,) = [fleet("memory", "show", "m-bbb2", "--json").json]
    assert (object_["by"], object_["accesses"], object_["untrusted"]) == ("ana", 2, False)
    assert "means several memories" in fleet("memory", "show", "m-").err
    assert "there is no memory nope" in fleet("memory", "show", "nope").err
    assert "recorded" in fleet("memory", "forget", "m-aaa1", "--yes").err
    fleet.ok("run", "quick.yaml", "-q")
    assert [each["id"] for each in fleet("memory", "--json").json] == ["m-bbb2"]


def test_what_a_person_adds_holds_no_secret_anywhere(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_SECRET_PLANTED", SECRET)
    fleet.ok("run", "quick.yaml", "-q")
    added = ("memory", "add", "the token", f"is {SECRET}", "--scope", "agent/sre", "--tag", "token")
    assert fleet(*added, "--json").json == {"id": None, "new": None, "queued": True}
    fleet.ok(*added)
    fleet.ok("run", "quick.yaml", "-q")
    [kept] = fleet("memory", "--json").json
    assert (kept["text"], kept["scope"], kept["tags"], kept["run"]) == ("the token is •••", "agent/sre", ["token"], "")
    assert kept["by"]
    assert not [file for file in fleet.root.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"text": "x", "scope": "agent/../x"}, "there is no memory agent/../x"),
        ({"text": "x", "scope": "shared", "type": "fakt"}, "there is no type of memory fakt"),
        ({"text": " \x00 ", "scope": "shared"}, "between 1 and 8,000 characters"),
        ({"text": "x" * 8001, "scope": "shared"}, "between 1 and 8,000 characters"),
        ({"text": "x", "scope": "shared", "tags": [" "]}, "up to 10 tags"),
        ({"text": "x", "scope": "shared", "tags": [str(n) for n in range(11)]}, "up to 10 tags"),
        ({}, "between 1 and 8,000 characters"),
    ],
)
async def test_an_engine_keeps_only_what_can_be_meant(tmp_path: Path, data: object, said: str) -> None:
    async with Engine(MemoryStore(), secrets=Secrets(), directory=tmp_path) as engine:
        sent = Signal(id="s1", type=types.REMEMBER, source="test", at=1.0, data=data, by="ana")
        result = await engine.bus.submit(sent)
        assert result.status == "refused"
        assert said in result.reason
        forgot = await engine.bus.submit(Signal(id="s2", type=types.FORGET, source="test", at=1.0, data=data))
        assert (forgot.status, forgot.reason) == ("refused", "there is no such memory")
        good = {"text": "x", "scope": "shared"}
        first = await engine.bus.submit(Signal(id="s3", type=types.REMEMBER, source="test", at=1.0, data=good))
        second = await engine.bus.submit(Signal(id="s4", type=types.REMEMBER, source="test", at=2.0, data=good))
        assert first.data["new"]
        assert second.data == {"memory": first.data["memory"], "new": False}


def test_a_long_memory_makes_no_other_line_longer(fleet: Fleet) -> None:
    fleet.ok("run", "quick.yaml", "-q")
    given = {"created_at": 1.0, "accessed_at": 2.0, "scope": "shared", "type": "fact"}
    short = Memory(id="m-aaa1", text="short", **given)
    keep(fleet.root / ".fleet" / "fleet.db", short, Memory(id="m-bbb2", text="long " * 300, **given))
    lines = fleet.ok("memory").splitlines()
    assert sorted(len(line) > 1000 for line in lines) == [False, False, True], "it is whole, and alone so long"
    assert all(len(line) < 160 for line in lines if "long" not in line)
