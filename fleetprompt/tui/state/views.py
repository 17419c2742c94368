"""Saved views: a filter and an order under a name, called up by a digit. Kept with the state of the project; those of a
project elsewhere with the user's own state, by its address."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.query import MAX_QUERY
from fleetprompt.engine.ports import Order
from fleetprompt.tui.state.runs import ordered_by

FILE = "views.json"
MOST = 9
MOST_BYTES = 1_000_000
"""A longer file is none of ours."""
LONGEST_NAME = 40
Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]


class View(Struct, frozen=True, omit_defaults=True):
    """One view of the list of runs."""

    name: Name
    filter: Annotated[str, Meta(max_length=MAX_QUERY)] = ""
    by: Annotated[str, Meta(max_length=20)] = "created"
    descending: bool = True

    @property
    def order(self) -> Order:
        """How it is sorted; the newest first where the file says something else."""
        return ordered_by(self.by, descending=self.descending)


BUILT_IN = (
    View("needs you", "waiting:approval,in_doubt"),
    View("active", "status:running,pending,waiting"),
    View("failed today", "status:failed,timeout since:today"),
    View("most expensive", "since:7d", by="cost"),
)


def file_of(address: str, tenant: str) -> str:
    """The file in which the views of a project are kept that a daemon serves at this address, of a tenant."""
    digest = blake2b(f"{address}\n{tenant}".encode(), digest_size=4).hexdigest()
    return f"views-{re.sub('[^A-Za-z0-9.-]+', '-', address)[-60:].strip('-.')}-{digest}.json"


class Views:
    """The views of a project: 0 shows everything, 1 to 9 are those that people have saved and, behind them, ours."""

    def __init__(self, path: Path | None) -> None:
        """Without a path nothing is kept beyond this console."""
        self._path = path
        self.saved: list[View] = []
        self.problem = ""
        """Why the saved views could not be read."""
        self.aside = ""
        """Where the file is that could not be read, once another has taken its place."""
        self._kept_here = False
        """The file could not be written: what it says is older than what is known here."""
        self._read()

    def _read(self) -> None:
        """Take up what the file says: another console may have written it."""
        if self._path is None or self._kept_here:
            return
        self.problem = ""
        try:
            self.saved = _decoded(self._path)
        except FileNotFoundError:
            self.saved = []
        except (OSError, ValueError, RecursionError, msgspec.DecodeError) as error:
            said = (error.strerror or "").lower() if isinstance(error, OSError) else str(error)
            self.problem = f"the saved views cannot be read: {said or type(error).__name__} ({self._path})"

    def all(self) -> list[View]:
        """Every view that has a digit, from 1 on."""
        names = {view.name for view in self.saved}
        return [*self.saved, *(view for view in BUILT_IN if view.name not in names)][:MOST]

    def at(self, digit: int) -> View | None:
        """The view of a digit; 0 is every run."""
        if digit == 0:
            return View("every run")
        views = self.all()
        return views[digit - 1] if digit <= len(views) else None

    def named(self, name: str) -> View | None:
        """The view of that name."""
        return next((view for view in self.all() if view.name == name), None)

    def save(self, view: View) -> int:
        """Keep a view, in place of one of the same name; its digit. Raises `InvalidInput`."""
        if not view.name.strip() or len(view.name) > LONGEST_NAME or not view.name.isprintable():
            raise InvalidInput(f"a view needs a name of at most {LONGEST_NAME} characters", hint=":save NAME")
        if not view.filter.isprintable():
            raise InvalidInput("the filter holds characters that cannot be kept", hint="type it again")
        self._read()
        at = next((at for at, each in enumerate(self.saved) if each.name == view.name), len(self.saved))
        if at >= MOST:
            raise InvalidInput(f"there are {MOST} saved views, one for each digit", hint=":forget NAME makes room")
        self._write([*self.saved[:at], view, *self.saved[at + 1 :]])
        return at + 1

    def forget(self, name: str) -> None:
        """Let go of a saved view. Raises `InvalidInput`."""
        self._read()
        kept = [view for view in self.saved if view.name != name]
        if len(kept) == len(self.saved):
            names = ", ".join(view.name for view in self.saved)
            hint = f"saved are {names}" if names else "none is saved"
            raise InvalidInput(f"there is no saved view `{name}`", hint=hint)
        self._write(kept)

    def _write(self, views: list[View]) -> None:
        self.saved = views
        if self._path is None:
            return
        data = msgspec.json.format(msgspec.json.encode(views), indent=2)
        new = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.write_bytes(data + b"\n")
            if self.problem:
                self._put_aside(self._path)
            new.replace(self._path)
            self._kept_here = False
        except OSError as error:
            self._kept_here = True
            with suppress(OSError):
                new.unlink(missing_ok=True)
            why = (error.strerror or "unknown error").lower()
            raise InvalidInput(f"the view is kept for this console only: {why}", where=str(self._path)) from None

    def _put_aside(self, path: Path) -> None:
        """Somebody may still mend what could not be read."""
        number = 1
        while os.path.lexists(kept := path.with_name(f"{path.name}.broken-{number}")):
            number += 1
        path.rename(kept)
        self.aside = str(kept)
        self.problem = ""


def _decoded(path: Path) -> list[View]:
    """The views of a file. Raises `OSError`, `ValueError`, and what a decoder raises."""
    if not path.is_file() and path.exists():
        raise ValueError("this is not a file")
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError("it is too long")
    views = msgspec.json.decode(data, type=list[View])
    names = [view.name for view in views]
    if len(views) > MOST or len({*names}) < len(names) or not all(name.isprintable() for name in names):
        raise ValueError(f"views have names of printable characters, each once, and are {MOST} at most")
    return views
