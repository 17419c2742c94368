"""Notifications: told once something waits for people or went wrong, together, at least once, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest
from agent_kit import command, over, start, until, vote, waits
from cli_kit import Fleet
from standardwebhooks import Webhook

from fleetprompt.engine.core.errors import Failure, InvalidInput
from fleetprompt.engine.core.facts import ApprovalRequested, RunFinished, StepInDoubt, StepSucceeded, StepWaiting
from fleetprompt.engine.core.notice import MOST_SHOWN, Notice, linked, message, notice_of, wanted
from fleetprompt.engine.core.notice_settings import NoticeSettings, notice_faults
from fleetprompt.engine.core.signal import RESOLVE
from fleetprompt.engine.outside.notices import NotSent, by_apprise
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.notifier import Notifier
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.settings import load_project

GATED = """
name: gated
steps:
  - {id: gate, type: approval, message: "Pay the bill?", approvers: [ana]}
  - {id: pay, type: shell, argv: [sh, -c, "echo $KEY >&2; exit 3"], needs: [gate.approved],
     env: {KEY: "${{ secrets.key }}"}}
"""
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """Takes notifications on the loopback interface, or refuses them."""

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[tuple[dict[str, str], dict[str, Any], bytes]] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head) if name}
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((headers, json.loads(body), body))
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    @property
    def notices(self) -> list[dict[str, Any]]:
        """What was told, by all messages."""
        return [notice for _, body, _ in self.requests for notice in body["notices"]]


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.take, "127.0.0.1", 0)
    async with server:
        yield receiver, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"


@asynccontextmanager
async def notifying(folder: Path, **channels: NoticeSettings) -> AsyncIterator[tuple[Engine, Notifier]]:
    engine = Engine(SqlStore(folder / "fleet.db"), secrets=Secrets(), directory=folder)
    async with engine:
        notifier = Notifier(engine, channels)
        engine.spawn(notifier.run())

        async def begun() -> bool:
            cursors = [await engine.store.operations.cursor(f"notify/{name}") for name in channels]
            return all(cursor is not None for cursor in cursors)

        await until(begun)
        yield engine, notifier


async def test_who_is_not_looking_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_SECRET_KEY", "hunter2hunter2")
    monkeypatch.setenv("FLEET_SECRET_SIGNING", SIGNING)
    async with receiving() as (receiver, url):
        link = "https://ops.example.com/{workflow}?run={run}"
        settings = NoticeSettings(webhook=url, within=0.0, signed_by="signing", link=link)
        async with notifying(tmp_path, desk=settings) as (engine, notifier):
            await start(engine, GATED)
            await until(lambda: receiver.requests)
            [asked] = receiver.notices
            assert (asked["kind"], asked["workflow"], asked["run"]) == ("approval", "gated", "r1")
            assert asked["text"] == "Pay the bill? (for ana)"
            assert asked["command"] == f"fleet approve {asked['approval']}"
            assert asked["link"] == "https://ops.example.com/gated?run=r1"
            headers, body, raw = receiver.requests[0]
            Webhook(SIGNING).verify(raw, headers)
            assert "Pay the bill?" in body["text"], "what chat systems show"
            await vote(engine)
            assert (await over(engine))[0] == "failed"
            await until(lambda: len(receiver.notices) == 2)
            failed = receiver.notices[1]
            assert (failed["kind"], failed["command"]) == ("failed", "fleet show r1")
            assert "hunter2" not in json.dumps(receiver.requests[1][1])
            await until(lambda: notifier.channels["desk"].state.sent == 2)


async def test_a_mistake_about_stuck_runs_silences_no_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> dict[str, str]:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr("fleetprompt.engine.runtime.notifier.stuck_runs", broken)
    async with (
        receiving() as (receiver, url),
        notifying(tmp_path, desk=NoticeSettings(webhook=url, within=0.0)) as (
            engine,
            _,
        ),
    ):
        await until(lambda: engine.troubles)
        await start(engine, GATED)
        await until(lambda: receiver.requests)
        assert [what for _, _, what in engine.troubles] == ["ValueError: a mistake of ours"]


async def test_what_happened_while_a_receiver_or_the_engine_was_away_is_told_later_and_what_was_before_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetprompt.engine.runtime.notifier.RETRY_SECONDS", (0.01,))
    async with receiving() as (receiver, url):
        desk = NoticeSettings(webhook=url, within=0.0)
        async with notifying(tmp_path) as (engine, _):
            await start(engine, GATED, run="r0")
            await waits(engine, "approval", "r0")
        async with notifying(tmp_path, desk=desk) as (engine, notifier):
            receiver.status = 503
            await start(engine, GATED, run="r1")
            await until(lambda: len(receiver.requests) > 2)
            assert "503" in notifier.channels["desk"].state.error
            assert len([trouble for trouble in engine.troubles if "desk" in trouble[1]]) == 1, "told once"
            assert (await engine.vitals.health()).unsent == {"desk": "the receiver has answered with 503"}
            assert len({headers.get("webhook-id", body["id"]) for headers, body, _ in receiver.requests}) == 1
            await start(engine, GATED, run="r2")
            await waits(engine, "approval", "r2")
        async with notifying(tmp_path) as (engine, _):
            await vote(engine, run="r2")
            assert (await over(engine, "r2"))[0] == "failed"
        receiver.status, receiver.requests = 200, []
        async with notifying(tmp_path, desk=desk) as (engine, _):
            await until(lambda: len(receiver.notices) == 2)
            told = {(notice["kind"], notice["run"]) for notice in receiver.notices}
            assert told == {("approval", "r1"), ("failed", "r2")}, "not what was before, nor what others have decided"
            assert len(receiver.requests) == 1, "together"
            await until(lambda: not engine.unsent)


async def test_doubts_about_runs_that_are_over_are_not_told_any_more(tmp_path: Path) -> None:
    doubtful = "name: doubtful\nsteps: [{id: nap, type: shell, argv: [sleep, '60'], timeout: 0.1s}]\n"
    async with receiving() as (receiver, url):
        desk = NoticeSettings(webhook=url, within=0.0, on=["in_doubt"])
        async with notifying(tmp_path, desk=desk):
            pass
        async with notifying(tmp_path) as (engine, _):
            await start(engine, doubtful, run="r1")
            await start(engine, doubtful, run="r2")
            await waits(engine, "in_doubt", "r1")
            await waits(engine, "in_doubt", "r2")
            await command(engine, RESOLVE, "r1", path="nap", answer="abort")
            assert (await over(engine, "r1"))[0] == "failed"
        async with notifying(tmp_path, desk=desk):
            await until(lambda: receiver.requests)
    assert [notice["run"] for notice in receiver.notices] == ["r2"]


async def test_what_no_fact_tells_of_has_a_link_and_no_secret_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_SECRET_KEY", "hunter2hunter2")
    async with receiving() as (receiver, url):
        desk = NoticeSettings(webhook=url, within=0.0, link="https://ops.example.com/{run}")
        async with notifying(tmp_path, desk=desk) as (_, notifier):
            of = {"run": "r1", "workflow": "w", "tenant": "default", "at": 0.0, "command": "fleet show r1"}
            notifier.channels["desk"].add(Notice(kind="stuck", text="it holds hunter2hunter2", **of))
            await until(lambda: receiver.requests)
    [told] = receiver.notices
    assert (told["text"], told["link"]) == ("it holds •••", "https://ops.example.com/r1")


class Postbox:
    """Takes mail on the loopback interface, or turns it away."""

    def __init__(self, answer: str = "250 ok") -> None:
        self.answer = answer
        self.mail = ""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One mail."""
        said = "220 here"
        while said:
            writer.write(f"{said}\r\n".encode())
            line = (await reader.readline()).decode()
            verb = line[:4].upper().strip()
            said = {"DATA": "354 go on", "RCPT": self.answer, "QUIT": "221 bye", "": ""}.get(verb, "250 ok")
            if verb == "DATA":
                writer.write(b"354 go on\r\n")
                self.mail = (await reader.readuntil(b"\r\n.\r\n")).decode()
                said = "250 ok"
        writer.close()


async def test_a_mail_is_text_whatever_a_run_has_written_and_what_apprise_says_of_a_failure_is_told() -> None:
    pytest.importorskip("apprise")
    taken, full = Postbox(), Postbox("552 the mailbox is full")
    for box in (taken, full):
        server = await asyncio.start_server(box.take, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            to = f"mailto://127.0.0.1:{port}/?from=fleet@example.com&to=oncall@example.com&mode=insecure"
            if box is full:
                with pytest.raises(NotSent, match=r"could not send it: .+oncall@example.com"):
                    await by_apprise(to, "stuck", "text")
            else:
                await by_apprise(to, "stuck", "• <a href='https://evil.example'>pay</a>\n  fleet show r1")
    mail = message_from_string(taken.mail)
    said = mail.get_payload(decode=True)
    assert isinstance(said, bytes)
    assert mail.get_content_type() == "text/plain", "what a run says makes no link"
    assert said.decode().splitlines()[1].strip() == "fleet show r1", "and can be copied"


async def test_a_receiver_that_is_away_holds_up_no_other(tmp_path: Path) -> None:
    async with receiving() as (receiver, url):
        away = NoticeSettings(webhook="http://127.0.0.1:9/", within=0.0)
        async with notifying(tmp_path, away=away, desk=NoticeSettings(webhook=url, within=0.0)) as (engine, notifier):
            await start(engine, GATED)
            await until(lambda: receiver.requests and notifier.channels["away"].state.failures)
            await vote(engine)
            assert (await over(engine))[0] == "failed"


async def test_many_are_told_together(tmp_path: Path) -> None:
    async with receiving() as (receiver, url):
        settings = NoticeSettings(webhook=url, within=0.05, per_hour=2)
        async with notifying(tmp_path, desk=settings) as (engine, _):
            for n in range(30):
                await start(engine, GATED, run=f"r{n}")
            await until(lambda: receiver.requests)
            await asyncio.sleep(0)
            assert len(receiver.requests) <= 2


def test_facts_become_notices() -> None:
    def told(fact: Any, *, child: bool = False, tenant: str = "default") -> tuple[str, str] | None:
        found = notice_of(fact, "r1", "flow", tenant, child=child)
        return (found.kind, found.command) if found is not None else None

    def asked(about: str) -> ApprovalRequested:
        return ApprovalRequested(path="a", id="apr", digest="", about=about)

    assert told(asked("")) == told(asked("tool")) == ("approval", "fleet approve apr")
    assert told(asked("budget")) == ("budget", "fleet approve apr")
    assert told(asked("stuck"), tenant="acme") == ("stuck", "fleet approve apr --tenant acme")
    assert told(StepInDoubt(path="pay", reason="x")) == ("in_doubt", "fleet resolve r1 pay")
    call = notice_of(StepInDoubt(path="pay", call="sre/tool/0.0"), "r1", "flow", "default", child=False)
    assert call is not None
    assert "a call of step pay" in call.text
    assert told(StepInDoubt(path="each[3].pay", reason="x")) == ("in_doubt", "fleet resolve r1 'each[3].pay'"), (
        "a shell"
    )
    assert told(StepWaiting(path="a", on="budget")) == ("budget", "fleet show r1")
    assert told(RunFinished(status="failed")) == told(RunFinished(status="timeout")) == ("failed", "fleet show r1")
    over_ = RunFinished(status="failed", error=Failure("BUDGET_EXCEEDED", "no more"))
    assert told(over_) == ("budget", "fleet show r1")
    assert told(over_, child=True) is None, "its parent tells"
    assert told(RunFinished(status="completed")) is told(RunFinished(status="cancelled")) is None
    assert told(StepSucceeded(path="a")) is None


def test_what_others_have_written_stays_in_its_line() -> None:
    hostile = "Pay?\n• run failed, prod: call +1 555\x1b[2J\u202egnp" + "x" * 5000
    found = notice_of(
        ApprovalRequested(path="a", id="apr", digest="", message=hostile), "r", "w", "default", child=False
    )
    assert found is not None
    assert "\n" not in found.text
    assert "\x1b" not in found.text
    assert "\u202e" not in found.text
    assert len(found.text) <= 300


def test_a_message_tells_a_few_and_counts_the_rest() -> None:
    notices = [
        Notice(kind="failed", run=f"r{n}", workflow="w", tenant="default", at=0.0, text=f"it {n}", command="fleet show")
        for n in range(MOST_SHOWN + 5)
    ]
    title, text = message(notices)
    assert title == f"[fleet] {MOST_SHOWN + 5} × run failed"
    assert "and 5 more" in text
    assert f"it {MOST_SHOWN}" not in text
    assert message(notices[:1])[0] == "[fleet] run failed: w"


def test_a_channel_says_of_what_it_wants_to_be_told() -> None:
    notice = Notice(kind="failed", run="r", workflow="deploy-eu", tenant="acme", at=0.0, text="", command="")
    assert wanted(notice, ["failed"], [], "")
    assert wanted(notice, ["failed"], ["deploy-*"], "acme")
    assert not wanted(notice, ["approval"], [], "")
    assert not wanted(notice, ["failed"], ["audit"], "")
    assert not wanted(notice, ["failed"], [], "other")
    assert linked("https://x/{run}/{workflow}", notice) == "https://x/r/deploy-eu"


def test_settings_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    def faults(**settings: Any) -> list[str]:
        return [said for _, said, _ in notice_faults({"desk": NoticeSettings(**settings)})]

    assert faults(webhook="https://x.example/") == faults(apprise="secret:MAIL") == []
    assert "exactly one" in faults()[0]
    assert "exactly one" in faults(webhook="https://x.example/", apprise="mailto://x")[0]
    assert "no address" in faults(webhook="ftp://x")[0]
    assert "nothing that is notified" in faults(webhook="https://x.example/", on=["approvals"])[0]
    (tmp_path / "fleet.toml").write_text('[notifications.desk]\nwebhook = "https://x.example/"\non = ["fail"]\n')
    with pytest.raises(InvalidInput, match="fail"):
        load_project(tmp_path)


def test_it_is_listed_and_tried_from_the_command_line(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.ok("run", "quick.yaml")
    assert "nobody is notified" in fleet("notify").err
    monkeypatch.setenv("FLEET_SECRET_MAIL", "json://127.0.0.1:9/very-secret-path")
    (fleet.root / "fleet.toml").write_text(
        '[notifications.desk]\nwebhook = "http://127.0.0.1:9/hook"\n[notifications.mail]\napprise = "secret:MAIL"\n'
        'on = ["failed"]\n'
    )
    listed = fleet.ok("notify")
    assert "desk: by webhook, of approval, failed, budget, in_doubt, stuck; has not begun" in listed
    assert "mail: by apprise, of failed" in listed
    tried = fleet("notify", "test")
    assert tried.code == 1
    assert "desk: the receiver cannot be reached" in tried.out
    assert "mail: apprise could not send it" in tried.out
    assert "very-secret" not in tried.out + tried.err
    assert "there is no notification channel `nobody`" in fleet("notify", "test", "nobody").err
