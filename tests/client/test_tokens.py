"""Making tokens, and knowing who shows one: expired, revoked, forged and foreign ones are worth nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from client_kit import attached, place_at
from hypothesis import given
from hypothesis import strategies as st

from fleetprompt.client.guarded import guarded
from fleetprompt.client.identity import Forbidden, Identity
from fleetprompt.client.tokens import FORMAT, USED_SECONDS, Authenticator, Unauthenticated, digest_of, new_token
from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.ports.token import Token
from fleetprompt.engine.runtime.secrets import MASK, Secrets
from fleetprompt.engine.store.memory import MemoryStore

NOW = 1_800_000_000.0


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> float:
        return self.at


class World:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = Hand()
        self.secrets = Secrets()
        self.door = Authenticator(self.store, self.clock, self.secrets.learn)

    async def token(self, **more: Any) -> str:
        id_, shown = new_token()
        values: dict[str, Any] = {"tenant": "default", "name": "ci", "role": "operator", "created_at": NOW}
        await self.store.tokens.add(Token(id=id_, created_by="ana", **(values | more)), digest_of(shown))
        return shown

    async def refused(self, shown: str, **more: Any) -> Unauthenticated:
        with pytest.raises(Unauthenticated) as caught:
            await self.door.authenticate(shown, **more)
        return caught.value


async def test_who_shows_a_token_is_who_it_was_made_for() -> None:
    world = World()
    shown = await world.token(name="ci", role="approver", tenant="acme", expires_at=NOW + 10)
    who = await world.door.authenticate(shown)
    assert (who.name, who.role, who.tenant, who.via) == ("ci", "approver", "acme", "http")
    assert who.credential == shown.split("_")[1]
    assert not who.acts_for_others
    assert (await world.door.authenticate(shown, via="ssh", tenant="acme")).via == "ssh"


async def test_why_somebody_is_not_let_in_is_told_the_log_and_not_them() -> None:
    world = World()
    right = await world.token()
    old = await world.token(expires_at=NOW)
    gone = await world.token(revoked_at=NOW - 1)
    forged = right[:-1] + ("a" if right[-1] != "a" else "b")
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("malformed", "", {}),
        ("malformed", "Bearer " + right, {}),
        ("malformed", right + "\n", {}),
        ("malformed", right + "a", {}),
        ("malformed", "x" * 100_000, {}),
        ("malformed", right.replace("fleet_", "FLEET_"), {}),
        ("unknown", new_token()[1], {}),
        ("wrong", forged, {}),
        ("expired", old, {}),
        ("revoked", gone, {}),
        ("foreign", right, {"tenant": "acme"}),
    ]
    errors = [await world.refused(shown, **more) for _, shown, more in cases]
    assert [error.reason for error in errors] == [reason for reason, *_ in cases]
    assert len({(error.message, error.hint, error.where) for error in errors}) == 1
    assert "token is not valid" in errors[0].message
    assert [error.token is not None for error in errors[-5:]] == [False, True, True, True, True]


async def test_a_token_ends_at_its_time_and_when_it_is_revoked() -> None:
    world = World()
    shown = await world.token(expires_at=NOW + 10)
    world.clock.at = NOW + 9.999
    await world.door.authenticate(shown)
    world.clock.at = NOW + 10
    assert (await world.refused(shown)).reason == "expired"
    world.clock.at = NOW
    who = await world.door.authenticate(shown)
    world.clock.at = NOW + 10
    assert not await world.door.counts(who.credential)
    world.clock.at = NOW
    assert await world.door.counts(who.credential)
    assert not await world.door.counts("nobody")
    await world.store.tokens.revoke(who.credential, by="ana", at=NOW)
    assert (await world.refused(shown)).reason == "revoked"
    assert not await world.door.counts(who.credential)


async def test_it_is_known_to_the_hour_when_it_was_used() -> None:
    world = World()
    shown = await world.token()

    async def used() -> float | None:
        return (await world.store.tokens.list())[0].last_used_at

    assert await used() is None
    await world.door.authenticate(shown)
    assert await used() == NOW
    world.clock.at += USED_SECONDS - 1
    await world.door.authenticate(shown)
    assert await used() == NOW
    world.clock.at += 1
    await world.door.authenticate(shown)
    assert await used() == NOW + USED_SECONDS
    await world.refused(shown, tenant="acme")
    world.clock.at += USED_SECONDS
    await world.refused(shown, tenant="acme")
    assert await used() == NOW + USED_SECONDS


async def test_what_was_shown_is_never_written_anywhere() -> None:
    world = World()
    shown = await world.token()
    await world.door.authenticate(shown)
    assert world.secrets.redact(f"Authorization: Bearer {shown}") == f"Authorization: Bearer {MASK}"
    other = new_token()[1]
    await world.refused(other)
    # Whatever somebody sends is not learned: it would fill the memory, and blank out texts of their choice.
    assert world.secrets.redact(other) == other


async def test_a_role_that_is_not_known_here_may_only_look() -> None:
    world = World()
    assert (await world.door.authenticate(await world.token(role="owner"))).role == "viewer"


@given(st.text(max_size=80))
def test_nothing_but_a_token_looks_like_one(text: str) -> None:
    assert FORMAT.fullmatch(text) is None


def test_a_token_can_be_found_where_it_leaked() -> None:
    id_, shown = new_token()
    match = FORMAT.search(f'{{"authorization": "Bearer {shown}"}}')
    assert match is not None
    assert (match[0], match[1]) == (shown, id_)
    assert new_token()[1] != new_token()[1]


async def test_the_store_has_nothing_that_could_be_shown(tmp_path: Path) -> None:
    console = await attached(place_at(tmp_path))
    issued = await console.create_token("ci", role="operator", lasts=60.0, by="ana")
    who = await Authenticator(console.store, console.clock).authenticate(issued.secret)
    assert (who.name, who.role) == ("ci", "operator")
    await console.close()
    secret = issued.secret.rpartition("_")[2].encode()
    assert not [file for file in (tmp_path / ".fleet").iterdir() if file.is_file() and secret in file.read_bytes()]


async def test_an_administrator_looks_after_the_tokens_of_one_tenant(tmp_path: Path) -> None:
    owner = await attached(place_at(tmp_path))
    try:
        acme = guarded(owner, Identity(name="root", tenant="acme", role="admin", via="http"))
        other = guarded(owner, Identity(name="eve", tenant="other", role="admin", via="http"))
        issued = await acme.create_token("ci", role="viewer", lasts=None, by="root")
        assert (issued.token.tenant, issued.token.created_by, issued.token.expires_at) == ("acme", "root", None)
        assert [each.id for each in await acme.tokens()] == [issued.token.id]
        assert await other.tokens() == []
        for text in (issued.token.id, issued.secret, "", "fleet_"):
            with pytest.raises(NotFound):
                await other.revoke_token(text, by="eve")
        viewer = guarded(owner, await Authenticator(owner.store, owner.clock).authenticate(issued.secret))
        with pytest.raises(Forbidden, match="ci may not make tokens"):
            await viewer.create_token("x", role="admin", lasts=None, by="")
        ended = await acme.revoke_token(issued.token.id[:6], by="root")
        assert (ended.revoked_by, ended.revoked_at is None) == ("root", False)
        with pytest.raises(InvalidInput, match="revoked already"):
            await acme.revoke_token(issued.token.id, by="root")
        for name, lasts in (("group:x", 1.0), ("", 1.0), ("ci", 0.0), ("ci", -1.0)):
            with pytest.raises(InvalidInput):
                await acme.create_token(name, role="viewer", lasts=lasts, by="root")
        role: Any = "root"
        with pytest.raises(InvalidInput, match="there is no role"):
            await acme.create_token("ci", role=role, lasts=1.0, by="root")
    finally:
        await owner.close()
