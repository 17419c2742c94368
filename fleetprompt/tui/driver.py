"""How the console holds its terminal: as Textual does, except that it goes on only where it was stopped, and that it
sleeps while nobody types."""

from __future__ import annotations

import os
import selectors
from codecs import getincrementaldecoder
from typing import Any

from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

AWAKE = 0.1
"""Seconds between two looks at the keys, soon after one was pressed: an escape may be one, or begin another."""
LOOKS = 10
"""Looks after which nothing that was begun is waited for any more."""
ASLEEP = 5.0
"""Seconds between two looks while nobody types."""
CHUNK = 4096


class TerminalDriver(LinuxDriver):
    """A terminal that is closed may send SIGCONT to who was never stopped. Textual would begin to read keys a second
    time then, and the first reader would neither end nor let the process end."""

    _stopped = False

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._ended, self._end = os.pipe()
        """What tells the thread that reads keys to end, while it sleeps."""

    def _sigtstp_application(self, *given: Any) -> None:
        self._stopped = True
        super()._sigtstp_application(*given)

    def _sigcont_application(self, *given: Any) -> None:
        if self._stopped:
            self._stopped = False
            super()._sigcont_application(*given)

    def disable_input(self) -> None:
        """Read no more keys."""
        os.write(self._end, b"\0")
        super().disable_input()

    def run_input_thread(self) -> None:
        """Read keys until that is disabled. Textual looks ten times a second whether it is; a console that rests should
        not wake for that."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")().decode
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            selector.register(self._ended, selectors.EVENT_READ)
            looks = LOOKS
            if self._ended in self._ready(selector, 0):
                # Of a reader that was ended when there was none.
                os.read(self._ended, CHUNK)
            while not self.exit_event.is_set():
                ready = self._ready(selector, AWAKE if looks else ASLEEP)
                looks = LOOKS if self.fileno in ready else max(0, looks - 1)
                # Nothing at all is what a terminal says that was closed.
                if self.fileno in ready and (typed := decode(os.read(self.fileno, CHUNK))):
                    for message in parser.feed(typed):
                        self.process_message(message)
                for message in parser.tick():
                    self.process_message(message)
        try:
            for _ in parser.feed(""):
                pass
        except (EOFError, ParseError):
            pass

    @staticmethod
    def _ready(selector: selectors.BaseSelector, seconds: float) -> set[int]:
        return {key.fd for key, _ in selector.select(seconds)}
