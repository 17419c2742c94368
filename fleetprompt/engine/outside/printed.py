"""What a function of users prints: lines of its step's log, as the output of a program is.

The engine's own standard output may be what a caller parses (`fleet run --json`), and nothing that is printed there is
masked. `sys.stdout` and `sys.stderr` are process-wide, and functions run side by side in threads and in one event loop:
so both are replaced once, by streams that look at a context variable with every write. Whoever has none set writes
where it always did.

What does not pass through `sys.stdout` is not seen: programs that a function starts and lets inherit its streams, and
threads of its own, which do not get their starter's context.
"""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, Literal, TextIO, cast

from fleetprompt.engine.outside.output import Stream
from fleetprompt.engine.outside.wording import size

MOST_BYTES = 1024 * 1024
"""Of what one call prints; the rest is dropped and counted."""

Name = Literal["stdout", "stderr"]


class Printed:
    """Where the prints of one call go. To be made in the event loop; used from whichever thread the call runs in."""

    def __init__(self, log: Callable[..., None]) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._lock = threading.RLock()
        self._streams = {name: Stream(self._emitter(name)) for name in ("stdout", "stderr")}
        self._left = MOST_BYTES
        self._dropped = 0

    def write(self, name: Name, data: bytes) -> None:
        """Take what was printed. Whole lines are logged at once."""
        with self._lock:
            taken = data[: self._left]
            self._left -= len(taken)
            self._dropped += len(data) - len(taken)
            if taken:
                self._streams[name].feed(taken)

    def close(self) -> None:
        """The call ended: what is left without a line end is a line, too."""
        with self._lock:
            for stream in self._streams.values():
                stream.close()
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._tell(f"{size(dropped)} more were printed and are not kept", "warning")

    def _emitter(self, name: str) -> Callable[[str], None]:
        return lambda text: self._tell(text, name)

    def _tell(self, text: str, level: str) -> None:
        if threading.get_ident() == self._thread:
            # Whoever takes the line is not the function that printed it, and may itself print.
            token = _current.set(None)
            try:
                self._log(text, level)
            finally:
                _current.reset(token)
            return
        # What the taker of the line starts is not the function's either, and goes on when the step is long over.
        context = copy_context()
        context.run(_current.set, None)
        try:
            self._loop.call_soon_threadsafe(self._log, text, level, context=context)
        except RuntimeError:
            # The engine has stopped and this thread was left behind; nobody reads the log any more.
            pass


class _Astray:
    """Where a module's prints go as it is imported for no step: beside what is asked for, not into it."""

    def write(self, name: Name, data: bytes) -> None:
        del name
        stream = sys.stderr
        real = stream.real if isinstance(stream, _Routed) else stream
        real.write(data.decode("utf-8", "replace"))

    def close(self) -> None:
        """Nothing is held back."""


_current: ContextVar[Printed | _Astray | None] = ContextVar("fleet_printed", default=None)


@contextmanager
def printing(to: Printed) -> Generator[None]:
    """Log what is printed inside, in this context and those that are copied from it."""
    _install()
    token = _current.set(to)
    try:
        yield
    finally:
        _current.reset(token)
        to.close()


@contextmanager
def importing() -> Generator[None]:
    """Keep what is printed inside away from standard output, unless a step's log takes it."""
    if _current.get() is not None:
        yield
        return
    _install()
    token = _current.set(_Astray())
    try:
        yield
    finally:
        _current.reset(token)


def _install() -> None:
    names: tuple[Name, Name] = ("stdout", "stderr")
    for name in names:
        stream = getattr(sys, name)
        # Again where somebody has put another there since, as a console or a test does.
        if stream is not None and not isinstance(stream, _Routed):
            setattr(sys, name, cast("TextIO", _Routed(name, stream)))


class _Routed:
    """A standard stream that asks with every write whose it is; for everything else it is the real one."""

    def __init__(self, name: Name, real: TextIO) -> None:
        self.real = real
        self._name: Name = name

    def write(self, text: str) -> int:
        to = _current.get()
        if to is None:
            return self.real.write(text)
        if not isinstance(cast("Any", text), str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        # Half a surrogate pair can be printed, and is no UTF-8.
        to.write(self._name, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if _current.get() is None:
            self.real.flush()

    def close(self) -> None:
        if _current.get() is None:
            self.real.close()

    def isatty(self) -> bool:
        return _current.get() is None and self.real.isatty()

    def fileno(self) -> int:
        if _current.get() is not None:
            raise io.UnsupportedOperation("what a step's function prints goes to its log, which has no file descriptor")
        return self.real.fileno()

    @property
    def buffer(self) -> Any:
        to = _current.get()
        return self.real.buffer if to is None else _Bytes(self._name, to)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.real)

    def __enter__(self) -> _Routed:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Bytes(io.RawIOBase):
    """`sys.stdout.buffer` of a function."""

    def __init__(self, name: Name, to: Printed | _Astray) -> None:
        super().__init__()
        self._name: Name = name
        self._to = to

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._to.write(self._name, bytes(data))
        return len(data)
