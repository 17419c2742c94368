"""Tokens: making them, and knowing who shows one.

`fleet_<id>_<secret>`: the beginning is for tools that look for leaked secrets, the id for people, and the secret is
kept nowhere. What the store has is the SHA-256 of the whole: at 238 bits there is nothing to guess, so that nothing
slower is needed.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final, Literal

from msgspec import Struct

from fleetprompt.client.auditing import Auditing
from fleetprompt.client.identity import ROLES, Face, Identity, Role, checked_name
from fleetprompt.engine.core.errors import FleetError, InvalidInput, NotFound, StoreUnavailable
from fleetprompt.engine.ports import Clock, Store
from fleetprompt.engine.ports.token import Token

_LOWER: Final = "abcdefghijklmnopqrstuvwxyz234567"
_ANY: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID: Final = 10
SECRET: Final = 40
FORMAT: Final = re.compile(rf"fleet_([{_LOWER}]{{{ID}}})_[{_ANY}]{{{SECRET}}}")
"""What a token looks like, with its id as the group; a pattern for scanners, too."""
USED_SECONDS: Final = 3600.0
"""How exactly it is known when a token was used last."""
NOBODY: Final = "0" * 64
"""A digest of nothing."""

Reason = Literal["malformed", "unknown", "wrong", "revoked", "expired", "foreign"]
"""Why somebody is not let in: for the audit log, never for them."""


class Unauthenticated(FleetError):
    """The token is not valid."""

    def __init__(self, reason: Reason, token: Token | None = None) -> None:
        """What is told is the same for every reason; `reason` and `token` are for the audit log."""
        self.reason: Reason = reason
        self.token = token
        super().__init__(hint="ask an administrator for a new one: `fleet token create`")


class Issued(Struct, frozen=True):
    """A token that was just made."""

    token: Token
    secret: str
    """What is to be shown. It can be told this once."""


def digest_of(shown: str) -> str:
    """What is kept of a token."""
    return sha256(shown.encode()).hexdigest()


def new_token(id_: str = "") -> tuple[str, str]:
    """An id, and the token that begins with it."""
    id_ = id_ or "".join(secrets.choice(_LOWER) for _ in range(ID))
    return id_, f"fleet_{id_}_{''.join(secrets.choice(_ANY) for _ in range(SECRET))}"


class Issuing(Auditing):
    """The part of a console that looks after tokens: those of its tenant."""

    async def tokens(self) -> list[Token]:
        """All tokens, the newest first."""
        return await self.store.tokens.list(self.tenant)

    async def create_token(self, name: str, *, role: Role, lasts: float | None, by: str) -> Issued:
        """Make a token for somebody called `name`; it lasts so many seconds (None: for good)."""
        if role not in ROLES:
            raise InvalidInput(f"there is no role `{role}`", hint=f"roles are {', '.join(ROLES)}")
        if lasts is not None and lasts <= 0:
            raise InvalidInput("a token has to last a while", hint="for example 30d")
        now = self.clock.now()
        id_, secret = new_token()
        token = Token(
            id=id_,
            tenant=self.tenant,
            name=checked_name(name, "the name of a token"),
            role=role,
            created_at=now,
            created_by=by,
            expires_at=None if lasts is None else now + lasts,
        )
        told = {"name": token.name, "role": role, "lasts": lasts}
        await self.store.tokens.add(token, digest_of(secret), self.noted("create_token", "token", id_, told, by))
        return Issued(token, secret)

    async def revoke_token(self, text: str, *, by: str) -> Token:
        """Make a token worth nothing: the one whose id this is, or begins so. Raises `NotFound`, `InvalidInput`."""
        found = _meant(await self.store.tokens.list(self.tenant), text)
        if found.revoked_at is not None:
            raise InvalidInput(f"the token {found.id} is revoked already")
        note = self.noted("revoke_token", "token", found.id, None, by)
        await self.store.tokens.revoke(found.id, by=by, at=self.clock.now(), tenant=self.tenant, audit=note)
        return next(token for token in await self.tokens() if token.id == found.id)


def _meant(tokens: list[Token], text: str) -> Token:
    id_ = text.removeprefix("fleet_").partition("_")[0]
    found = [token for token in tokens if id_ and token.id.startswith(id_)]
    if not found:
        raise NotFound(f"there is no token {id_[:80]}", hint="`fleet token list` lists them")
    if len(found) > 1:
        raise InvalidInput(f"{id_} means several tokens: {', '.join(token.id for token in found[:5])}")
    return found[0]


class Authenticator:
    """Tells who shows a token."""

    def __init__(self, store: Store, clock: Clock, learn: Callable[[str], Any] | None = None) -> None:
        """`learn` is told what was shown and is valid, so that it is never written anywhere: `Secrets.learn`."""
        self._store = store
        self._clock = clock
        self._learn = learn

    async def counts(self, id_: str) -> bool:
        """Whether the token of an id, whose secret was shown before, is still worth something. Raises
        `StoreUnavailable`."""
        token, _ = await self._store.tokens.find(id_) or (None, NOBODY)
        return token is not None and not self._worthless(token)

    def _worthless(self, token: Token) -> Reason | None:
        if token.revoked_at is not None:
            return "revoked"
        return "expired" if token.expires_at is not None and token.expires_at <= self._clock.now() else None

    async def authenticate(self, shown: str, *, via: Face = "http", tenant: str = "") -> Identity:
        """Who shows a token; with a `tenant` only somebody of that one. Raises `Unauthenticated`, which says the same
        to everybody, and `StoreUnavailable`."""
        match = FORMAT.fullmatch(shown)
        if match is None:
            raise Unauthenticated("malformed")
        token, digest = await self._store.tokens.find(match[1]) or (None, NOBODY)
        # Compared in any case, and in a time that does not tell how much of it is right.
        right = hmac.compare_digest(digest_of(shown), digest)
        if token is None:
            raise Unauthenticated("unknown")
        if not right:
            raise Unauthenticated("wrong", token)
        if self._learn is not None:
            self._learn(shown)
        now = self._clock.now()
        if (why := self._worthless(token)) is not None:
            raise Unauthenticated(why, token)
        if tenant and tenant != token.tenant:
            raise Unauthenticated("foreign", token)
        if token.last_used_at is None or now - token.last_used_at >= USED_SECONDS:
            with suppress(StoreUnavailable):
                await self._store.tokens.used(token.id, now)
        # A role of a newer version of ours is none that is known here.
        role: Role = token.role if token.role in ROLES else "viewer"
        return Identity(name=token.name, tenant=token.tenant, role=role, via=via, credential=token.id)
