"""What each role may do with a console: every method of the protocol, held against one table."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from client_kit import attached, embedded, place_at

from fleetprompt.client.guarded import COMMANDS, RULES, guarded
from fleetprompt.client.identity import PERMISSIONS, ROLES, Forbidden, Identity, Role, local_identity
from fleetprompt.client.protocol import Console, StartRun
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.signal import Signal

ABOUT = {"face", "where", "holder", "taken_up", "close"}
"""What every console says about itself, to everybody."""


def members() -> dict[str, Any]:
    """What the protocol has."""
    return {name: each for name, each in vars(Console).items() if not name.startswith("_") and name != "face"}


METHODS = sorted(members().keys() - ABOUT)


class Listed:
    """A console that notes what is asked of it, and answers with what was given."""

    tenant = "acme"
    face = "cli"
    where = "none"

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(name)
        result = inspect.iscoroutinefunction(getattr(Console, name))

        def call(*args: Any, **kwargs: Any) -> Any:
            self.asked.append((name, args, kwargs))

            async def answer() -> None:
                return None

            return answer() if result else None

        return call


def identity(role: Role, **more: Any) -> Identity:
    return Identity(name="ana", tenant="acme", role=role, via="http", **more)


def arguments(name: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Something to call a method with."""
    if name == "start":
        return (StartRun(workflow="w"),), {}
    if name == "publish":
        return (Signal(id="s", type="a.b", source="", at=0.0),), {}
    if name == "command":
        return (types.CANCEL, "run"), {"by": ""}
    if name == "vote":
        return ("approval", "approved"), {"by": ""}
    return (), {"by": ""} if RULES[name].by else {}


async def call(console: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    answer = getattr(console, name)(*args, **kwargs)
    return await answer if inspect.isawaitable(answer) else answer


def test_every_method_of_a_console_is_somebodys() -> None:
    assert set(METHODS) == set(RULES)


def test_whoever_is_named_by_a_method_is_who_uses_the_console() -> None:
    names = {
        name
        for name in METHODS
        for each in inspect.signature(getattr(Console, name)).parameters.values()
        if each.name == "by" and each.annotation == "str"
    }
    assert names == {name for name, rule in RULES.items() if rule.by}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", METHODS)
async def test_what_a_role_may(name: str, role: Role) -> None:
    behind = Listed()
    console = guarded(behind, identity(role))  # type: ignore[arg-type]
    args, kwargs = arguments(name)
    if RULES[name].needs in PERMISSIONS[role]:
        await call(console, name, *args, **kwargs)
        assert [each[0] for each in behind.asked] == [name]
    else:
        with pytest.raises(Forbidden, match="ana may not"):
            await call(console, name, *args, **kwargs)
        assert not behind.asked


async def test_roles_differ() -> None:
    """The table says of every method what it is, so this says which are which."""
    may = {role: {name for name in METHODS if RULES[name].needs in PERMISSIONS[role]} for role in ROLES}
    changing = {
        "start",
        "command",
        "chat",
        "say",
        "publish",
        "replay",
        "register",
        "set_workflow",
        "remember",
        "forget",
    }
    changing |= {"read_workflow", "register_all", "translated", "keep_workflow", "keep_agent", "fire", "set_schedule"}
    changing |= {"replay_range", "replay_letter", "dismiss_letters", "set_switch"}
    assert may["operator"] - may["viewer"] == changing
    assert may["approver"] - may["viewer"] == {"vote", "escalate", "edited"}
    assert may["admin"] == set(METHODS)
    assert not may["viewer"] & (changing | {"vote", "escalate", "revoke"})


@pytest.mark.parametrize("name", sorted(name for name, rule in RULES.items() if rule.by))
async def test_nobody_acts_as_somebody_else(name: str) -> None:
    behind = Listed()
    console = guarded(behind, identity("admin"))  # type: ignore[arg-type]
    args, kwargs = arguments(name)
    await call(console, name, *args, **kwargs)
    assert behind.asked[0][2]["by"] == "ana"
    with pytest.raises(Forbidden, match="ana cannot act as ben"):
        await call(console, name, *args, **kwargs | {"by": "ben"})
    assert len(behind.asked) == 1


async def test_starts_and_signals_are_by_who_uses_the_console() -> None:
    behind = Listed()
    console = guarded(behind, identity("operator"))  # type: ignore[arg-type]
    await console.start(StartRun(workflow="w"))
    await console.publish(Signal(id="s", type="a.b", source="cli/ben", at=0.0))
    (_, (request,), _), (_, (signal,), _) = behind.asked
    assert request.by == "ana"
    assert (signal.by, signal.tenant, signal.source) == ("ana", "acme", "cli/ana")
    with pytest.raises(Forbidden):
        await console.start(StartRun(workflow="w", by="ben"))
    with pytest.raises(Forbidden):
        await console.publish(Signal(id="s", type="a.b", source="", at=0.0, by="ben"))
    with pytest.raises(Forbidden, match="not of the tenant `other`"):
        await console.publish(Signal(id="s", type="a.b", source="", at=0.0, tenant="other"))
    await console.publish(Signal(id="s", type="a.b", source="https://ci.example.org/7", at=0.0))
    assert behind.asked[-1][1][0].source == "https://ci.example.org/7"


@pytest.mark.parametrize("source", ["run/7", "trigger/deploy/0", "console/ben", "ssh/ben", "http/ben", "webhook/x"])
async def test_nobody_gives_their_signals_the_source_of_ours(source: str) -> None:
    behind = Listed()
    console = guarded(behind, identity("operator"))  # type: ignore[arg-type]
    await console.publish(Signal(id="s", type="a.b", source=source, at=0.0))
    assert behind.asked[0][1][0].source == "cli/ana"


async def test_the_operator_of_the_machine_may_act_for_others() -> None:
    behind = Listed()
    console = guarded(behind, local_identity("ana", "cli", "acme"))  # type: ignore[arg-type]
    await console.vote("x", "approved", by="colleague", via="demo")
    await console.command(types.CANCEL, "run", by="ben")
    assert [each[2]["by"] for each in behind.asked] == ["colleague", "ben"]
    assert behind.asked[0][2]["via"] == "demo"


async def test_a_vote_says_how_who_decided_came() -> None:
    behind = Listed()
    await guarded(behind, identity("approver")).vote("x", "approved", by="ana", via="cli")  # type: ignore[arg-type]
    assert behind.asked[0][2]["via"] == "http"


async def test_commands_are_more_than_one_thing() -> None:
    behind = Listed()
    console = guarded(behind, identity("operator"))  # type: ignore[arg-type]
    for type_ in COMMANDS.keys() - {types.RAISE}:
        await console.command(type_, "run", by="ana")
    assert len(behind.asked) == len(COMMANDS) - 1
    with pytest.raises(Forbidden, match="ana may not raise the limits of runs: that takes the role admin"):
        await console.command(types.RAISE, "run", by="ana")
    # A vote is no command: who may not vote cannot do it under that name.
    for type_ in (types.VOTE, types.ESCALATE, types.REVOKE, types.SET_WORKFLOW, types.START, "a.b"):
        with pytest.raises(InvalidInput):
            await console.command(type_, "run", by="ana")
    assert len(behind.asked) == len(COMMANDS) - 1


async def test_a_grant_for_every_run_is_an_administrators_to_give() -> None:
    behind = Listed()
    console = guarded(behind, identity("approver"))  # type: ignore[arg-type]
    await console.vote("x", "approved", by="ana", grant="run")
    with pytest.raises(Forbidden, match="takes the role admin"):
        await console.vote("x", "approved", by="ana", grant="workflow")
    await guarded(behind, identity("admin")).vote("x", "approved", by="ana", grant="workflow")  # type: ignore[arg-type]
    assert [each[2]["grant"] for each in behind.asked] == ["run", "workflow"]


def test_what_is_in_no_row_cannot_be_called() -> None:
    console: Any = guarded(Listed(), identity("admin"))  # type: ignore[arg-type]
    for name in ("store", "engine", "adopt", "_send", "become", "bound"):
        with pytest.raises(AttributeError):
            getattr(console, name)


async def test_many_hold_one_console_and_end_nothing_by_closing_it(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    engine = await embedded(place)
    try:
        ana = guarded(engine, Identity(name="ana", role="operator", via="http"))
        ben = guarded(engine, Identity(name="ben", tenant="acme", role="viewer", via="ssh"))
        assert (engine.tenant, engine.face) == ("default", "cli")
        assert (ana.face, ben.face) == ("http", "ssh")
        await ana.publish(Signal(id="s", type="a.b", source="", at=1.0))
        await ana.close()
        await ben.close()
        [signal] = (await engine.signals("", _page()))[0]
        assert (signal.by, signal.source) == ("ana", "http/ana")
        beside = await attached(place)
        both = [guarded(beside, Identity(name=name, role="viewer", via="http")) for name in ("ana", "ben")]
        await both[0].close()
        assert await both[1].count("") == 0
        await beside.close()
    finally:
        await engine.close()


async def test_who_is_given_a_console_closes_it(tmp_path: Path) -> None:
    beside = await attached(place_at(tmp_path))
    await guarded(beside, local_identity("ana", "cli"), own=True).close()
    assert beside.closed


def _page() -> Any:
    from fleetprompt.engine.ports import Page

    return Page()
