"""`fleet --connect`: commands ask a daemon elsewhere, as whom its token says."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path

import pytest
from cli_kit import GATED, PATIENCE, QUICK, Fleet
from test_cli_serve import Serving

from fleetprompt.cli.connection import LOCAL, connection
from fleetprompt.client.http.address import address_of, read_token
from fleetprompt.client.http.console import RemoteConsole, connect
from fleetprompt.client.protocol import Disconnected, StartRun
from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.ports import Stored


class Far:
    """A project that a daemon serves, and a folder elsewhere, from which it is asked."""

    def __init__(self, fleet: Fleet, daemon: Serving, elsewhere: Path) -> None:
        self.fleet = fleet
        self.daemon = daemon
        self.elsewhere = elsewhere

    def token(self, role: str) -> Path:
        """A file with a token of that role."""
        made = json.loads(self.fleet.ok("-C", str(self.fleet.root), "token", "create", role, "--role", role, "--json"))
        file = self.elsewhere / f"{role}.token"
        file.write_text(made["token"] + "\n")
        file.chmod(0o600)
        return file


@pytest.fixture
def far(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    (fleet.root / "workflows").mkdir(exist_ok=True)
    (fleet.root / "workflows/quick.yaml").write_text(QUICK)
    (fleet.root / "workflows/gated.yaml").write_text(GATED)
    (fleet.root / "fleet.toml").write_text('[serve]\nlocal_role = "none"\n')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # It is no project, and none is looked for above it.
    (elsewhere / "fleet.toml").write_text("")
    daemon = Serving(fleet.root)
    monkeypatch.chdir(elsewhere)
    try:
        yield Far(fleet, daemon, elsewhere)
    finally:
        if daemon.process.poll() is None:
            daemon.end(signal.SIGKILL)


def test_commands_say_there_what_they_say_where_the_project_is(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, token = far.fleet, far.token("admin")
    there = ("--connect", far.daemon.url, "--token-file", str(token))
    ran = fleet(*there, "run", "quick", "-i", "name=moon", "--json")
    assert ran.code == 0, ran
    assert ran.json["output"] == {"said": "Hello, moon!", "times": 2}
    # The text of a file of here is sent.
    (far.elsewhere / "mine.yaml").write_text(QUICK.replace("name: quick", "name: mine"))
    assert fleet(*there, "run", "mine.yaml", "-q").code == 0
    assert fleet(*there, "run", "gated", "--no-wait", "-q").code == 3
    monkeypatch.setenv("FLEET_CONNECT", far.daemon.url)
    monkeypatch.setenv("FLEET_TOKEN_FILE", str(token))
    here = ("-C", str(fleet.root))
    for command in (
        ("runs", "--json"),
        ("runs", "status:completed", "--json"),
        ("show", "last", "--json"),
        ("facts", "last", "--json"),
        ("logs", "last", "--json"),
        ("approvals", "--json"),
        ("signals", "--json"),
        ("schedules", "--json"),
        ("cost", "--json"),
        ("grants", "--json"),
        ("memory", "--json"),
        ("token", "list", "--json"),
    ):
        local = fleet(*here, "--db", str(fleet.root / ".fleet/fleet.db"), *command)
        remote = fleet(*command)
        assert remote.code == local.code == 0, (command, remote, local)
        # Time goes on between the two.
        assert _still(remote.json) == _still(local.json), command
    assert fleet("approve", "last", "--yes", "-m", "fine").code == 0
    [decided] = fleet("approvals", "status:approved", "--json").json
    [vote] = fleet("approvals", "show", decided["id"], "--json").json["votes"]
    assert (vote["by"], vote["via"]) == ("admin", "cli")
    # What is about files of this folder does not look at the environment.
    assert fleet("validate", "mine.yaml").code == 0
    assert not (far.elsewhere / ".fleet").exists()


def _still(value: object) -> object:
    if isinstance(value, dict):
        return {name: _still(each) for name, each in value.items() if name not in ("duration", "last_used_at")}
    return [_still(each) for each in value] if isinstance(value, list) else value


def test_a_role_that_does_not_include_it_and_a_token_that_is_worth_nothing_are_told(far: Far) -> None:
    fleet, token = far.fleet, far.token("viewer")
    there = ("--connect", far.daemon.url, "--token-file", str(token))
    assert fleet(*there, "runs").code == 0
    refused = fleet(*there, "run", "quick")
    assert (refused.code, "viewer may not start runs" in refused.err) == (2, True)
    fleet.ok("-C", str(fleet.root), "token", "revoke", token.read_text().strip())
    ended = fleet(*there, "runs")
    assert (ended.code, "expired or revoked" in ended.err, "fleet token create" in ended.err) == (2, True, True)
    without = fleet("--connect", far.daemon.url, "runs")
    assert (without.code, "--token-file" in without.err) == (2, True)
    other = fleet(*there, "--tenant", "other", "runs")
    assert other.code == 2


def test_the_socket_of_another_users_project_is_found_and_says_who_one_is(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(far.fleet.root)
    assert far.fleet("run", "quick", "-q").code == 0
    store = far.fleet.root / ".fleet/fleet.db"
    if os.getuid() != 0:
        pytest.skip("only root can make it another user's")
    before = set(store.parent.iterdir())
    os.chown(store, 12_345, -1)
    assert far.fleet("run", "quick", "-q").code == 0
    assert [run["owner"] for run in far.fleet.runs()] == ["root", "root"]
    assert set(store.parent.iterdir()) == before


def test_nobody_there_is_told_with_what_to_look_at(fleet: Fleet) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    said = fleet("--connect", url, "runs")
    assert (said.code, f"{url} cannot be reached: connection refused" in said.err) == (2, True)
    assert "fleet serve" in said.err
    assert "no such file" in fleet("--connect", "unix:nothing.sock", "runs").err


# ---------------------------------------------------------------- what is given


@pytest.mark.parametrize(
    "url", ["ops:8377", "ftp://ops", "https://", "https://a@ops", "https://ops/x", "http://[", "unix:"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        address_of(url)


def test_a_token_does_not_travel_in_the_clear(tmp_path: Path) -> None:
    for host in ("ops.example.com", "127.evil.example", "localhost.evil.example", "192.0.2.1"):
        with pytest.raises(InvalidInput, match="in the clear"):
            address_of(f"http://{host}:8377", token_file=tmp_path / "token")
    for url in ("http://127.0.0.1:1", "http://[::1]:1", "http://localhost", "https://ops.example.com"):
        assert address_of(url, token_file=tmp_path / "token").url == url


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o610])
def test_a_token_that_others_can_read_is_not_used(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text("fleet_x")
    file.chmod(mode)
    with pytest.raises(InvalidInput, match="others can read") as refused:
        read_token(file)
    assert f"chmod 600 {file}" in refused.value.hint
    file.chmod(0o400)
    assert read_token(file) == "fleet_x"


@pytest.mark.parametrize("held", [b"", b" \n", b"two words", b"a\nb", b"\xff\xfe", b"x" * 5_000, b"a\x00b"])
def test_a_file_without_a_token_is_told(tmp_path: Path, held: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(held)
    file.chmod(0o600)
    with pytest.raises(InvalidInput, match="no token"):
        read_token(file)
    with pytest.raises(NotFound):
        read_token(tmp_path / "other")


def test_options_go_before_the_environment_and_local_commands_heed_neither() -> None:
    set_ = {"FLEET_CONNECT": "https://env", "FLEET_TOKEN_FILE": "env.token", "FLEET_CA_FILE": "env.pem"}
    assert connection("runs", environment=set_)[:3] == ("https://env", "env.token", "env.pem")
    assert connection("runs", "https://given", "t", environment=set_)[:3] == ("https://given", "t", "env.pem")
    assert connection("runs", environment={}).url == ""
    assert connection("runs", database="x.db", environment=set_).url == ""
    for command in LOCAL:
        assert connection(command, environment=set_).url == ""
        with pytest.raises(InvalidInput, match="where the project is"):
            connection(command, "https://given", environment={})
    for given in ({"url": "https://x", "database": "y"}, {"token_file": "t"}, {"ca_file": "c"}):
        with pytest.raises(InvalidInput):
            connection("runs", **given, environment={})


# ---------------------------------------------------------------- a daemon that dies


@pytest.mark.long
@pytest.mark.crash
async def test_every_fact_is_told_once_although_the_daemon_is_killed_again_and_again(far: Far) -> None:
    token = await asyncio.to_thread(far.token, "admin")
    port = int(far.daemon.url.rpartition(":")[2])
    daemon = far.daemon
    console = await connect(address_of(far.daemon.url, token_file=token))
    told: list[int] = []
    following = asyncio.create_task(_follow(console, told))
    try:
        for _ in range(3):
            runs = asyncio.create_task(_keep_starting(console))
            seen = len(told)
            await _until(lambda seen=seen: len(told) > seen + 60)
            daemon.end(signal.SIGKILL)
            runs.cancel()
            daemon = await asyncio.to_thread(Serving, far.fleet.root, "--port", str(port))
        # Those that a kill has interrupted go on, and end.
        await _until(lambda: not console.lost)
        while (await console.tally("")).keys() - {"completed"}:  # noqa: ASYNC110 nothing tells of all
            await asyncio.sleep(0.05)
        last = await console.position()
        await _until(lambda: told[-1] >= last)
        assert told == list(range(1, last + 1))
    finally:
        following.cancel()
        await console.close()
        if daemon.process.poll() is None:
            daemon.end(signal.SIGKILL)


async def _keep_starting(console: RemoteConsole) -> None:
    while True:
        with suppress(Disconnected):
            await console.start(StartRun(workflow="quick"))
        await asyncio.sleep(0.01)


async def _follow(console: RemoteConsole, told: list[int]) -> None:
    async with aclosing(console.watch()) as facts:  # pyright: ignore[reportArgumentType]
        async for each in facts:
            if isinstance(each, Stored):
                told.append(each.seq)  # noqa: PERF401 it is looked at meanwhile


async def _until(test: object) -> None:
    assert callable(test)
    async with asyncio.timeout(PATIENCE):
        while not test():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def test_views_that_are_saved_in_a_console_elsewhere_are_there_in_the_next(far: Far) -> None:
    there = ("--connect", far.daemon.url, "--token-file", str(far.token("viewer")))
    state = {"XDG_STATE_HOME": str(far.elsewhere / "state"), "XDG_CONFIG_HOME": str(far.elsewhere)}
    screen = far.fleet.terminal(*there, "--open", "runs wf:seldom", columns=140, **state)
    screen.expect("no run matches")
    screen.type(":")
    screen.expect("Command")
    screen.type("save mine\r")
    far.fleet.until(lambda: list((far.elsewhere / "state" / "fleetprompt").glob("views-*.json")))
    screen.type("q")
    assert screen.wait() == 0
    screen = far.fleet.terminal(*there, "--open", "view mine", columns=140, **state)
    screen.expect("wf:seldom")
    screen.type("q")
    assert screen.wait() == 0
    assert not (far.elsewhere / ".fleet").exists()


@pytest.mark.long
@pytest.mark.crash
def test_the_console_finds_the_daemon_of_its_project_and_takes_over_when_it_is_gone(far: Far) -> None:
    screen = far.fleet.terminal("-C", str(far.fleet.root), columns=140, XDG_CONFIG_HOME=str(far.elsewhere))
    screen.expect("attached")
    # It is told what others do.
    assert far.fleet("-C", str(far.fleet.root), "run", "gated", "--no-wait", "-q").code == 3
    screen.expect("needs you")
    far.daemon.end(signal.SIGKILL)
    screen.expect("not connected")
    screen.type("\x05")
    screen.expect("live")
    screen.type("q")
    assert screen.wait() == 0
