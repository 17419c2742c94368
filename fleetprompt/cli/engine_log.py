"""What the engine itself has to say goes to a file: a traceback on a terminal helps nobody and spoils the drawing."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

NAME = "engine.log"
BYTES = 1_000_000
MOST = 1_000
"""Messages that are kept for the end: a daemon goes on for months, and has the file."""
LOGGERS = ("fleetprompt", "asyncio", "uvicorn")


class LogFile(RotatingFileHandler):
    """The file. What a full disk does not take is missing from it: the messages are shown all the same."""

    def handleError(self, record: logging.LogRecord) -> None:
        """The standard library would print a traceback."""

    def close(self) -> None:
        """What was buffered may find no room either."""
        try:
            super().close()
        except OSError:
            pass


class EngineLog(logging.Handler):
    """Writes everything to the file, and keeps the messages for the end."""

    def __init__(self, state: Path | None) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self.path = state / NAME if state is not None else None
        self._file: LogFile | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        if len(self.messages) < MOST:
            self.messages.append(record.getMessage())
        if self._file is None:
            self._file = self._open()
        if self._file is not None:
            self._file.handle(record)

    def _open(self) -> LogFile | None:
        if self.path is None:
            return None
        try:
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
            file = LogFile(self.path, maxBytes=BYTES, backupCount=1, encoding="utf-8")
        except OSError:
            return None
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        return file

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


@contextmanager
def engine_log(state: Path | None) -> Iterator[EngineLog]:
    """While this lasts, the engine logs to a file in the project's state and nowhere else; to none without a state."""
    handler = EngineLog(state)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield handler
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate
        handler.close()
