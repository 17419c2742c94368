"""Saved views: a filter and an order under a name, called up by a digit. Kept with the state of the project."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.ports import Order
from fleetprompt.tui.state.runs import ordered_by

FILE = "views.json"
MOST = 9


class View(Struct, frozen=True, omit_defaults=True):
    """One view of the list of runs."""

    name: str
    filter: str = ""
    by: str = "created"
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


class Views:
    """The views of a project: 0 shows everything, 1 to 9 are those that people have saved and, behind them, ours."""

    def __init__(self, path: Path | None) -> None:
        """Without a path nothing is kept beyond this console."""
        self._path = path
        self.saved: list[View] = []
        self.problem = ""
        """Why the saved views could not be read."""
        if path is not None and path.is_file():
            try:
                self.saved = msgspec.json.decode(path.read_bytes(), type=list[View])[:MOST]
            except (OSError, msgspec.DecodeError) as error:
                self.problem = f"{path}: the saved views cannot be read: {error}"

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
        if not view.name.strip() or len(view.name) > 40:
            raise InvalidInput("a view needs a name of at most 40 characters", hint=":save NAME")
        at = next((at for at, each in enumerate(self.saved) if each.name == view.name), len(self.saved))
        if at >= MOST:
            raise InvalidInput(f"there are {MOST} saved views, one for each digit", hint=":forget NAME makes room")
        self.saved[at:] = [view, *self.saved[at + 1 :]]
        self._write()
        return at + 1

    def forget(self, name: str) -> None:
        """Let go of a saved view. Raises `InvalidInput`."""
        kept = [view for view in self.saved if view.name != name]
        if len(kept) == len(self.saved):
            raise InvalidInput(f"there is no saved view `{name}`")
        self.saved = kept
        self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        data = msgspec.json.format(msgspec.json.encode(self.saved), indent=2)
        new = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            new.write_bytes(data + b"\n")
            new.replace(self._path)
        except OSError as error:
            why = (error.strerror or "unknown error").lower()
            raise InvalidInput(f"the view is kept for this console only: {why}", where=str(self._path)) from None
