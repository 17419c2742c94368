"""Functions as tools; notices; decisions."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.outside import importing
from fleetprompt.engine.ports.world import Done, Failed, Unknown
from fleetprompt.engine.tools.python import PythonTool
from tests.tools.test_tools_http import Server
from tests.tools.toolkit import Room, call, done, find, preview, problem, refusal

CODE = '''
import json as plain
from typing import Annotated, Literal
from pydantic import Field
from fleetprompt.tools import DidNotHappen, OutcomeUnknown, ToolContext, tool

seen = []

def was_refunded(order, amount, currency="EUR", context=None):
    if order == 1:
        return {"refunded": amount}
    if order == 2:
        raise DidNotHappen("no refund of order 2")
    raise OutcomeUnknown("the bank is closed")

@tool(effect="write", reconcile=was_refunded, name="billing.refund")
def refund(
    order: int, amount: Annotated[float, Field(gt=0)], context: ToolContext, currency: Literal["EUR", "USD"] = "EUR"
):
    """Refund an order,
    or a part of it.

    Args:
        order: Number of the order.
        amount (float): How much,
            with tax.
    Returns:
        What was done.
    """
    context.log(f"refunding with {context.secret('BANK')[:2]}")
    if order == 13:
        raise OutcomeUnknown("the bank did not answer")
    if order == 14:
        raise ValueError("no such order")
    if order == 15:
        raise SystemExit(1)
    return {"order": order, "amount": amount, "currency": currency, "key": context.key}

@tool(effect="read", untrusted=True, action="api_call")
async def lookup(json: str, copy: list[int] | None = None):
    """Look."""
    return {"json": json, "copy": copy}

@tool(effect="write", repeat="safe")
def odd():
    return object()

@tool(effect="read")
def rest(*names: str): ...

@tool(effect="read", name="Bad Name")
def named(): ...

@tool(effect="read")
def foreign(x: plain.JSONDecoder): ...

def unmarked(): ...
'''


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(importing, "CHECK_EVERY", 0.0)
    folder = tmp_path / "workflows"
    folder.mkdir()
    (folder / "billing.py").write_text(CODE)
    return folder


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path, secrets={"BANK": "CANARY-bank"})


def test_the_schema_is_the_signature(code: Path) -> None:
    info = PythonTool("billing:refund", str(code)).info
    assert info.spec.name == "billing.refund"
    assert info.spec.description == "Refund an order, or a part of it."
    parameters = info.spec.parameters
    assert parameters["required"] == ["order", "amount"]
    assert parameters["additionalProperties"] is False
    assert parameters["properties"]["amount"] == {
        "description": "How much, with tax.",
        "exclusiveMinimum": 0,
        "type": "number",
    }
    assert parameters["properties"]["currency"]["enum"] == ["EUR", "USD"]
    assert (info.reach, info.repeat, info.verdict, info.reconciles) == ("write", "never", "ask", True)
    look = PythonTool("billing:lookup", str(code)).info
    assert (look.reach, look.repeat, look.verdict, look.untrusted) == ("read", "safe", "allow", True)
    assert (look.action, info.action) == ("api_call", "tool_execution")
    assert PythonTool("billing:odd", str(code)).info.repeat == "safe"
    assert look.origin == "python billing:lookup"


async def test_functions_are_called(code: Path, room: Room) -> None:
    refund = PythonTool("billing:refund", str(code))
    outcome = await refund.call({"order": 1, "amount": 2.5}, room)  # type: ignore[arg-type]
    assert outcome == Done({"order": 1, "amount": 2.5, "currency": "EUR", "key": room.key})
    assert ("info", "refunding with CA", None) in room.logged
    shown = await refund.preview({"order": 1, "amount": 2.5}, room)  # type: ignore[arg-type]
    assert (shown.summary, shown.subject) == ('billing.refund {"order":1,"amount":2.5}', {"order": 1, "amount": 2.5})
    looked = await PythonTool("billing:lookup", str(code)).call({"json": "x"}, room)  # type: ignore[arg-type]
    assert looked == Done({"json": "x", "copy": None})
    odd = await PythonTool("billing:odd", str(code)).call({}, room)  # type: ignore[arg-type]
    assert isinstance(odd, Done)
    assert "the call succeeded" in odd.output["note"]


async def test_what_functions_raise(code: Path, room: Room) -> None:
    refund = PythonTool("billing:refund", str(code))
    unknown = await refund.call({"order": 13, "amount": 1.0}, room)  # type: ignore[arg-type]
    assert unknown == Unknown("the bank did not answer")
    failed = await refund.call({"order": 14, "amount": 1.0}, room)  # type: ignore[arg-type]
    assert isinstance(failed, Failed)
    assert failed.error.message == "ValueError: no such order"
    assert "billing.py" in failed.error.data["traceback"]
    assert "engine/tools" not in failed.error.data["traceback"]
    ended = await refund.call({"order": 15, "amount": 1.0}, room)  # type: ignore[arg-type]
    assert isinstance(ended, Failed)


async def test_arguments_that_do_not_fit_do_not_reach_the_function(code: Path, room: Room) -> None:
    refund = PythonTool("billing:refund", str(code))
    for arguments, said in [
        ({"order": "1", "amount": 1.0}, "`order` should be a valid integer"),
        ({"order": 1, "amount": 0}, "`amount` should be greater than 0"),
        ({"order": 1, "amount": 1, "curency": "EUR"}, "there is no argument `curency`, did you mean `currency`?"),
        ({"order": 1, "amount": 1, "context": 5}, "there is no argument `context`"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            refund.check(arguments)
        assert said in caught.value.message
        outcome = await refund.call(arguments, room)  # type: ignore[arg-type]
        assert isinstance(outcome, Failed)
    assert room.logged == []


async def test_whether_it_took_effect_is_asked(code: Path, room: Room) -> None:
    refund = PythonTool("billing:refund", str(code))

    async def ask(order: int) -> Any:
        return await refund.reconcile({"order": order, "amount": 2.0}, room)  # type: ignore[arg-type]

    assert await ask(1) == Done({"refunded": 2.0})
    no = await ask(2)
    assert isinstance(no, Failed)
    assert no.error.message == "no refund of order 2"
    assert await ask(3) is None


async def test_a_changed_file_is_loaded_again(code: Path, room: Room) -> None:
    lookup = PythonTool("billing:lookup", str(code))
    assert isinstance(await lookup.call({"json": "x"}, room), Done)  # type: ignore[arg-type]
    (code / "billing.py").write_text(CODE.replace('return {"json": json', 'return {"now": json'))
    os.utime(code / "billing.py", ns=(1, 1))
    assert await lookup.call({"json": "x"}, room) == Done({"now": "x", "copy": None})  # type: ignore[arg-type]
    (code / "billing.py").write_text("syntax error")
    os.utime(code / "billing.py", ns=(2, 2))
    broken = await lookup.call({"json": "x"}, room)  # type: ignore[arg-type]
    assert isinstance(broken, Failed)
    assert "cannot be imported" in broken.error.message


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("billing:unmarked", "is not marked as a tool"),
        ("billing:rest", "takes `*names"),
        ("billing:named", "cannot be a tool's name"),
        ("billing:foreign", "have no JSON Schema"),
        ("billing:none", "has no `none`"),
        ("nothing:none", "there is no module"),
        ("os.system('x')", "is not the name of a function"),
        ("os:system", "is not marked as a tool"),
    ],
)
def test_what_cannot_be_a_tool(code: Path, call: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        PythonTool(call, str(code))
    assert said in caught.value.message


async def test_a_decision_is_recorded(tmp_path: Path) -> None:
    room = Room(tmp_path)
    decision = {
        "question": "Restart?",
        "options": ["restart", "wait"],
        "chosen": "wait",
        "reasoning": "It recovers.",
        "confidence": 0.8,
        "rejected": {"restart": "loses sessions"},
    }
    recorded = await done(room, "record_decision", **decision)
    assert recorded == {**decision, "type": "choice", "index": 1, "recorded": True}
    assert "word for word" in problem("record_decision", {**decision, "chosen": "Wait"})
    assert "less than or equal to 1" in problem("record_decision", {**decision, "confidence": 80})
    assert find("record_decision").info.verdict == "allow"


async def test_notices_in_a_file(tmp_path: Path) -> None:
    room = Room(tmp_path, {"desk": {"file": "out/notices.jsonl"}, "both": {"file": "x", "webhook": "http://x"}})
    tool = find("notify")
    arguments = {"channel": "desk", "text": "Done.\nReally.", "level": "warning"}
    assert (await preview(room, "notify", **arguments)).verdict == "allow"
    assert isinstance(await tool.reconcile(arguments, room), Failed)  # type: ignore[arg-type]
    await done(room, "notify", **arguments)
    await done(room, "notify", **{**arguments, "text": "Again."})
    lines = [json.loads(line) for line in (tmp_path / "out" / "notices.jsonl").read_text().splitlines()]
    assert [(line["text"], line["key"]) for line in lines] == [("Done.\nReally.", room.key), ("Again.", room.key)]
    assert isinstance(await tool.reconcile(arguments, room), Done)  # type: ignore[arg-type]
    assert "channels: both, desk" in await refusal(room, "notify", channel="dsk", text="x")
    assert "`file`, `webhook` or `webhook_secret`" in await refusal(room, "notify", channel="both", text="x")
    (tmp_path / "away").symlink_to("/tmp")
    away = Room(tmp_path, {"desk": {"file": "away/x"}})
    assert "symbolic link" in await refusal(away, "notify", channel="desk", text="x")


async def test_notices_by_webhook(tmp_path: Path) -> None:
    server = Server()
    secret = f"http://{server.at}/CANARY-hook"
    settings = {
        "desk": {"webhook": f"http://{server.at}/ok"},
        "chat": {"webhook_secret": "HOOK"},
        "down": {"webhook": f"http://{server.at}/500"},
        "gone": {"webhook": f"http://{server.at}/404"},
        "cloud": {"webhook": "http://169.254.169.254/latest"},
    }
    room = Room(tmp_path, settings, secrets={"HOOK": secret})
    try:
        assert (await preview(room, "notify", channel="desk", text="x")).verdict is None
        await done(room, "notify", channel="desk", text="x")
        method, _, headers, body = server.requests[-1]
        assert (method, headers["Idempotency-Key"], json.loads(body)["text"]) == ("POST", room.key, "x")
        shown = await preview(room, "notify", channel="chat", text="x")
        assert shown.show["to"] == "secret HOOK"
        outcome = await call(room, "notify", channel="chat", text="x")
        assert isinstance(outcome, Done)
        assert server.requests[-1][1] == "/CANARY-hook"
        assert "CANARY" not in f"{shown}{outcome}{room.logged}"
        assert isinstance(await call(room, "notify", channel="down", text="x"), Unknown)
        assert isinstance(await call(room, "notify", channel="gone", text="x"), Failed)
        assert isinstance(await call(room, "notify", channel="cloud", text="x"), Failed)
    finally:
        server.close()


async def test_what_a_tool_prints_is_logged(code: Path, room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    (code / "noisy.py").write_text(
        "import sys\nfrom fleetprompt.tools import tool\nprint('imported')\n"
        "@tool(effect='read')\ndef there():\n    print('in a thread')\n    print('wrong', file=sys.stderr)\n"
        "@tool(effect='read')\nasync def here():\n    print('in the loop')\n"
    )
    for name in ("there", "here"):
        await PythonTool(f"noisy:{name}", str(code)).call({}, room)  # type: ignore[arg-type]
    lines = [(level, text) for level, text, _ in room.logged]
    assert lines == [("stdout", "in a thread"), ("stderr", "wrong"), ("stdout", "in the loop")]
    said = capsys.readouterr()
    assert said.out == "", "not even what its module says as it is imported to see which tools there are"
