"""Secrets are found by name, given only to who may have them, and never seen again: not in any sink there is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from world import load

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Done
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.secrets import MASK, Secrets
from fleetprompt.engine.store.memory import MemoryStore

VALUE = "hunter2-and-more"
LINES = "first-line-of-it\nsecond-line-of-it"

# ---------------------------------------------------------------- where they come from


def file_of(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "secrets.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_that_is_kept_is_read_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_of(tmp_path, 'TOKEN = "first"\n')
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    secrets = Secrets(file)
    assert secrets.get("TOKEN") == "first"
    file_of(tmp_path, 'TOKEN = "second"\n')
    assert secrets.get("TOKEN") == "second"
    # Put in its place, as editors do, and of the same size.
    (tmp_path / "new").write_text('TOKEN = "other!"\n')
    (tmp_path / "new").chmod(0o600)
    (tmp_path / "new").replace(file)
    assert secrets.get("TOKEN") == "other!"
    file.chmod(0o640)
    with pytest.raises(InvalidInput):
        secrets.get("TOKEN")
    file.unlink()
    with pytest.raises(NotFound):
        secrets.get("TOKEN")


def test_the_environment_comes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = Secrets(file_of(tmp_path, 'TOKEN = "from the file"\nPORT = 8080\n'))
    assert secrets.get("TOKEN") == "from the file"
    assert secrets.get("PORT") == "8080"
    monkeypatch.setenv("FLEET_SECRET_TOKEN", "from the environment")
    assert secrets.get("TOKEN") == "from the environment"
    assert secrets.get("token") == "from the environment"


def test_a_secret_that_nobody_defined_says_where_it_could_be(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="`NOPE` is not defined") as found:
        Secrets(file_of(tmp_path, "")).get("NOPE")
    assert "FLEET_SECRET_NOPE" in found.value.hint
    with pytest.raises(NotFound):
        Secrets(tmp_path / "no such file").get("NOPE")
    with pytest.raises(NotFound):
        Secrets().get("NOPE")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_file_that_others_can_read_is_not_used(tmp_path: Path, mode: int) -> None:
    with pytest.raises(InvalidInput, match="by others") as found:
        Secrets(file_of(tmp_path, 'TOKEN = "x"', mode)).get("TOKEN")
    assert "chmod 600" in found.value.hint


def test_a_file_that_is_no_toml_says_so_and_shows_nothing_of_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"secrets\.toml") as found:
        Secrets(file_of(tmp_path, f'TOKEN = "{VALUE}')).get("TOKEN")
    assert VALUE not in found.value.message


# ---------------------------------------------------------------- redaction by value


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Secrets:
    secrets = Secrets()
    for name, value in {"A": VALUE, "B": LINES, "C": "abc", "D": VALUE + "-longer", "E": "a.*b["}.items():
        monkeypatch.setenv(f"FLEET_SECRET_{name}", value)
        secrets.get(name)
    return secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"<{VALUE}>", f"<{MASK}>"),
        (f"{VALUE}{VALUE}", MASK * 2),
        (f"{VALUE}-longer", MASK),
        (LINES, MASK),
        ("x first-line-of-it y", f"x {MASK} y"),
        ("second-line-of-it", MASK),
        ("abc is too short to be blanked out", "abc is too short to be blanked out"),
        ("a.*b[", MASK),
        ("axxb[", "axxb["),
        ("", ""),
    ],
)
def test_texts_are_redacted_by_value(known: Secrets, text: str, shown: str) -> None:
    assert known.redact(text) == shown


def test_every_string_and_every_key_of_a_value_is_redacted(known: Secrets) -> None:
    value = {f"key {VALUE}": [VALUE, {"x": f"-{VALUE}-"}, 1, None, True, 2.5], "fine": "fine"}
    assert known.redact_value(value) == {f"key {MASK}": [MASK, {"x": f"-{MASK}-"}, 1, None, True, 2.5], "fine": "fine"}


def test_a_value_is_redacted_however_deeply_it_is_nested(known: Secrets) -> None:
    deep: Any = VALUE
    for n in range(10_000):
        deep = {f"of {VALUE}": deep} if n % 2 else [deep]
    found = known.redact_value(deep)
    while not isinstance(found, str):
        found = found[f"of {MASK}"] if isinstance(found, dict) else found[0]
    assert found == MASK


def test_nothing_is_looked_through_before_a_secret_was_handed_out() -> None:
    secrets = Secrets()
    value = {"a": [VALUE]}
    assert secrets.known is False
    assert secrets.redact_value(value) is value
    assert secrets.redact(VALUE) == VALUE


def test_a_secret_that_changed_is_redacted_in_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotated while the engine runs: the old one is still in the output of programs that were started with it."""
    secrets = Secrets()
    for value in ("the-old-one", "the-new-one"):
        monkeypatch.setenv("FLEET_SECRET_A", value)
        assert secrets.get("A") == value
    assert secrets.redact("the-old-one the-new-one") == f"{MASK} {MASK}"


# ---------------------------------------------------------------- every sink


FILE = """
name: leaky
steps:
  - id: out
    type: shell
    argv: [sh, -c, 'echo "to stdout $TOKEN"; echo "to stderr $TOKEN" >&2']
    env: {TOKEN: "Bearer ${{ secrets.API }}"}
  - id: json
    type: shell
    output: json
    argv: [sh, -c, 'echo "{\\"$TOKEN\\": [\\"$TOKEN\\"]}"']
    env: {TOKEN: "${{ secrets.API }}"}
  - id: bad
    type: shell
    on_error: continue
    argv: [sh, -c, 'echo "why: $TOKEN" >&2; exit 3']
    env: {TOKEN: "${{ secrets.API }}"}
  - {id: tell, type: emit, signal: told.you, data: {all: "${{ steps.out.output }}", json: "${{ steps.json.output }}"}}
  - {id: show, type: approval, message: "${{ steps.out.output.stdout }}", show: "${{ steps.json.output }}"}
"""
DOUBTFUL = """
name: doubtful
steps:
  - id: slow
    type: shell
    argv: [sh, -c, 'sleep 30']
    timeout: 50ms
    reconcile:
      type: shell
      argv: [sh, -c, 'echo "checked with $TOKEN" >&2; exit 3']
      env: {TOKEN: "${{ secrets.API }}"}
      happened: "false"
"""


@pytest.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setenv("FLEET_SECRET_API", VALUE)
    engine = Engine(MemoryStore(), directory=tmp_path)
    await engine.open()
    yield engine
    await engine.close()


async def run(engine: Engine, text: str, until: str) -> str:
    loaded = load(text)
    await engine.workflows.register(loaded.plan, source=loaded.source)
    start = Signal(id="run", type=types.START, source="t", at=0.0, data={"workflow": loaded.plan.name})
    await engine.bus.submit(start)
    for _ in range(12_000):
        head = await engine.store.runs.get("run")
        if head is not None and until in (head.waiting_on, head.status):
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError(f"it did not come to {until}")
    await engine.store.logs.flush()
    return everything(engine)


def everything(engine: Engine) -> str:
    """All that is on disk, as one text."""
    store: Any = engine.store
    state = store.journal.state
    parts: list[Any] = [row.data.decode() for row in state.journal.values()]
    for table in (state.runs, state.signals, state.approvals, state.results, state.waits, state.logs, state.votes):
        parts += [repr(value) for value in table.values()]
    parts += [data.decode() for data in state.blobs.values()]
    parts += [msgspec.json.encode(engine.troubles).decode()]
    return "\n".join(parts)


async def test_no_sink_shows_a_secret_that_a_step_has_used(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    async def look() -> None:
        async for entry in engine.feed.watch(engine.store.journal):
            seen.append(entry)  # noqa: PERF401 it never ends

    watcher = asyncio.get_running_loop().create_task(look())
    with caplog.at_level(logging.DEBUG):
        text = await run(engine, FILE, "approval")
    watcher.cancel()
    assert VALUE not in text
    assert VALUE not in repr(seen)
    assert VALUE not in caplog.text
    # It went where it was meant to go, and what was shown of it is masked.
    for shown in (f"to stdout Bearer {MASK}", f"to stderr Bearer {MASK}", f"why: {MASK}", "told.you"):
        assert shown in text, shown


async def test_a_reconcile_check_that_fails_shows_no_secret_either(engine: Engine) -> None:
    text = await run(engine, DOUBTFUL, "in_doubt")
    for _ in range(12_000):
        if "checked with" in (text := everything(engine)):
            break
        await asyncio.sleep(0.01)
    assert f"checked with {MASK}" in text
    assert VALUE not in text


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
async def test_what_a_step_type_raises_is_shown_without_secrets_and_ends_no_engine(
    engine: Engine, kind: type[BaseException]
) -> None:
    from fleetprompt.engine.registry import STEPS

    shell = STEPS._items["shell"]

    class Careless(shell):
        @classmethod
        async def perform(cls, ctx: Any) -> None:
            value = engine.secrets.get("API")
            ctx.log(f"using {value}", data={"token": value})
            await ctx.note("message", "k", {"said": value})
            raise kind(f"cannot connect with {value}")

    STEPS._items["shell"] = Careless
    try:
        text = await run(engine, FILE, "in_doubt")
    finally:
        STEPS._items["shell"] = shell
    assert VALUE not in text
    for shown in (f"using {MASK}", f"said':{MASK}".replace("'", '"').replace(":", ':"'), f"cannot connect with {MASK}"):
        assert shown in text, shown


async def test_what_a_step_type_gives_and_nobody_can_look_through_is_told_of_nobody_and_ends_the_step(
    engine: Engine,
) -> None:
    from fleetprompt.engine.registry import STEPS

    shell = STEPS._items["shell"]

    class Odd(shell):
        @classmethod
        async def perform(cls, ctx: Any) -> Done:
            return Done({1: engine.secrets.get("API")})

    STEPS._items["shell"] = Odd
    try:
        text = await run(engine, FILE, "in_doubt")
    finally:
        STEPS._items["shell"] = shell
    assert "cannot be looked through for secrets: TypeError" in text
    assert VALUE not in text


async def test_a_secret_that_is_missing_fails_the_step_and_not_in_doubt(engine: Engine) -> None:
    text = await run(engine, FILE.replace("secrets.API", "secrets.OTHER"), "failed")
    assert "secret `OTHER` is not defined" in text
    assert "StepInDoubt" not in text


@pytest.mark.parametrize("text", ["abcdefgh", "xabcdabcdefghy", "wxabcdefg", "wxabwxab", "abcdwxabc", "aabcdefgh-"])
def test_a_text_that_comes_in_parts_shows_what_the_whole_does(text: str) -> None:
    secrets = Secrets()
    for value in ("abcd", "abcdefgh", "wxab"):
        secrets.learn(value)
    for one in range(len(text) + 1):
        for two in range(one, len(text) + 1):
            shown, rest = "", ""
            for part in (text[:one], text[one:two], text[two:]):
                more, rest = secrets.redact_part(rest + part)
                shown += more
            assert shown + secrets.redact(rest) == secrets.redact(text)
