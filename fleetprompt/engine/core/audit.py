"""The audit log: what operators have changed, and what they were refused, as a chain of hashes for each tenant. PURE.

An entry's hash covers all that it says and the hash of the one before it, so that nothing in the middle can be changed
or left out without every later hash changing. What a chain cannot tell by itself is that its end was cut off, or that
all of it was written anew: for that its head has to be kept elsewhere, see `verified`.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

START: Final = "0" * 64
"""What the first entry of a chain follows."""
PRUNED: Final = "audit.prune"
"""Action of the entry that says up to where older ones were deleted: its object is the last of them."""
LONGEST: Final = 300
"""Characters that are kept of what an entry is about."""

Outcome = Literal["done", "refused"]


class AuditNote(Struct, frozen=True, kw_only=True):
    """What somebody did, or tried to."""

    tenant: str
    at: float
    by: str
    """Who, as they were authenticated; of who was not let in, the address."""
    role: str = ""
    via: str = ""
    """How they came: `cli`, `console`, `http` or `ssh`."""
    credential: str = ""
    """Id of the token; empty for who was known to the operating system."""
    action: str
    """The method of the console that was called."""
    kind: str = ""
    """What `object` is: `run`, `approval`, `workflow`, `token` …"""
    object: str = ""
    outcome: Outcome = "done"
    """`done`: it is durable, with whatever it changed; of a command, that it was given. `refused`: nothing changed."""
    code: str = ""
    """Why it was refused, as errors call it."""
    detail: str = ""
    """SHA-256 of the arguments: they can hold secrets, and whoever has them can compare."""
    count: int = 1
    """How often, of what was refused again within a minute."""


class AuditEntry(AuditNote, frozen=True, kw_only=True):
    """A note in its place in the chain."""

    seq: int
    prev: str
    hash: str


class Head(Struct, frozen=True, kw_only=True):
    """Where the chain of a tenant ends, and where it begins since older entries were deleted."""

    seq: int = 0
    hash: str = START
    base_seq: int = 0
    base_hash: str = START


class Verdict(Struct, frozen=True, kw_only=True):
    """What a walk through the chain has found."""

    ok: bool
    entries: int
    head: str
    """Hash of the last entry that is in order."""
    broken: int = 0
    """The first entry that is not; 0: none."""
    problem: str = ""


def digest_of(arguments: Any) -> str:
    """What an entry tells of arguments."""
    return sha256(msgspec.json.encode(arguments, order="deterministic", enc_hook=repr)).hexdigest()


def note_fields(note: AuditNote) -> dict[str, Any]:
    """The fields of a note, of an entry those that are its note's."""
    return {name: getattr(note, name) for name in AuditNote.__struct_fields__}


def hash_of(note: AuditNote, seq: int, prev: str) -> str:
    """SHA-256 over the canonical JSON (keys in order, no spaces) of the fields, the place and the hash before it."""
    whole = note_fields(note) | {"seq": seq, "prev": prev}
    return sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()


def sealed(note: AuditNote, head: Head) -> tuple[AuditEntry, Head]:
    """The next entry of a chain, and where the chain ends then."""
    note = msgspec.structs.replace(note, at=float(note.at), object=kept(note.object), by=kept(note.by))
    seq = head.seq + 1
    entry = AuditEntry(**note_fields(note), seq=seq, prev=head.hash, hash=hash_of(note, seq, head.hash))
    return entry, msgspec.structs.replace(head, seq=seq, hash=entry.hash)


def kept(text: str) -> str:
    """A text as every database keeps it: what others send can be long, and hold what is no text."""
    return text[:LONGEST].encode("utf-8", "replace").decode().replace("\0", "\ufffd")


class Walk:
    """Goes through a chain in order. `known`: a head that was kept elsewhere, and has to be met."""

    def __init__(self, head: Head, known: str = "") -> None:
        self._head = head
        self._known = known
        self._met = not known or known == head.base_hash
        self._seq: int = head.base_seq
        self._hash: str = head.base_hash
        self._base: tuple[int, str] = (0, START)
        """Up to where an entry says that older ones were deleted."""
        self._entries = 0
        self._broken: tuple[int, str] | None = None

    def take(self, entries: Iterable[AuditEntry]) -> bool:
        """Look at the entries that follow; whether there is still nothing wrong."""
        for entry in entries:
            if self._broken is None:
                self._look(entry)
        return self._broken is None

    def _look(self, entry: AuditEntry) -> None:
        expected = self._seq + 1
        if expected > self._head.seq:
            self._broken = (entry.seq, "it stands behind the end of the chain")
        elif entry.seq < expected:
            self._broken = (entry.seq, "it stands before the beginning of the chain")
        elif entry.seq != expected:
            self._broken = (expected, "it is missing")
        elif entry.prev != self._hash:
            self._broken = (entry.seq, "it does not follow the one before it")
        elif hash_of(entry, entry.seq, entry.prev) != entry.hash:
            self._broken = (entry.seq, "what it says is not what was written")
        else:
            self._seq, self._hash, self._entries = entry.seq, entry.hash, self._entries + 1
            self._met = self._met or entry.hash == self._known
            if entry.action == PRUNED:
                self._base = (int(entry.object), entry.detail)

    def verdict(self) -> Verdict:
        """What was found, once all was taken."""
        broken = self._broken
        head = self._head
        if broken is None and (self._seq, self._hash) != (head.seq, head.hash):
            broken = (self._seq + 1, f"the chain was longer: it had {head.seq} entries")
        if broken is None and self._base != (head.base_seq, head.base_hash):
            broken = (head.base_seq, "older entries are missing, and no entry says that they were deleted")
        if broken is None and not self._met:
            broken = (
                self._seq + 1,
                "the head that was kept is not in it: its end was cut off, or all was rewritten",
            )
        seq, problem = broken or (0, "")
        return Verdict(ok=broken is None, entries=self._entries, head=self._hash, broken=seq, problem=problem)
