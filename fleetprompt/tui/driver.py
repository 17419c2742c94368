"""How the console holds its terminal: as Textual does, except that it goes on only where it was stopped."""

from __future__ import annotations

from typing import Any

from textual.drivers.linux_driver import LinuxDriver


class TerminalDriver(LinuxDriver):
    """A terminal that is closed may send SIGCONT to who was never stopped. Textual would begin to read keys a second
    time then, and the first reader would neither end nor let the process end."""

    _stopped = False

    def _sigtstp_application(self, *given: Any) -> None:
        self._stopped = True
        super()._sigtstp_application(*given)

    def _sigcont_application(self, *given: Any) -> None:
        if self._stopped:
            self._stopped = False
            super()._sigcont_application(*given)
