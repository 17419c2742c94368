"""What this console is sending, one thing after another: how far it is, and that it is to stop."""

from __future__ import annotations

from collections.abc import Callable

from fleetprompt.client.wording import count

FEW = 20
"""Things that are sent so quickly that nobody wants to watch it."""


class Batch:
    """Things of one kind that are sent."""

    def __init__(self, doing: str, thing: str, total: int, name: str = "") -> None:
        """`doing` is said while it goes on: `cancelling`; `thing` is one of them: `run`; `name` is which, of one."""
        self.doing = doing
        self.thing = thing
        self.total = total
        self.name = name
        self.slow = False
        """There is no answer yet, though one would have come long ago from a store that is not busy."""
        self.sent = 0
        """How many have been sent and answered."""
        self.stopped = False
        """What is not sent yet is not sent."""

    @property
    def words(self) -> str:
        """`cancelling 120 of 3,000 runs`, `cancelling run 8f3a1c22`."""
        if self.total == 1:
            return f"{self.doing} {self.name or f'1 {self.thing}'}"
        return f"{self.doing} {self.sent:,} of {count(self.total, self.thing)}"

    @property
    def left(self) -> int:
        """How many are not sent, or not answered yet."""
        return self.total - self.sent


class Work:
    """The batches that are on their way, the oldest first. `changed` is called when there is something else to say."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.batches: list[Batch] = []
        self._changed = changed

    def begin(self, doing: str, thing: str, total: int, name: str = "") -> Batch:
        """Another batch."""
        batch = Batch(doing, thing, total, name)
        self.batches.append(batch)
        self._changed()
        return batch

    def go_on(self, batch: Batch, sent: int) -> None:
        """So many more have been answered."""
        batch.sent += sent
        if batch.total > FEW or batch.slow:
            self._changed()

    def linger(self, batch: Batch) -> None:
        """It takes longer than it should: that is shown, however little it is."""
        if batch in self.batches:
            batch.slow = True
            self._changed()

    def end(self, batch: Batch) -> None:
        """It is over."""
        self.batches.remove(batch)
        self._changed()

    @property
    def long(self) -> list[Batch]:
        """Those of so much that they can be stopped."""
        return [batch for batch in self.batches if batch.total > FEW]

    @property
    def words(self) -> str:
        """What is said in the frame while it takes a while; empty otherwise."""
        shown = [batch for batch in self.batches if batch.total > FEW or batch.slow]
        return ", ".join(f"{'stopping: ' if batch.stopped else ''}{batch.words}" for batch in shown)

    def stop(self) -> list[Batch]:
        """Send nothing more of what takes a while; what that is about."""
        stopped = [batch for batch in self.long if not batch.stopped]
        for batch in stopped:
            batch.stopped = True
        if stopped:
            self._changed()
        return stopped
