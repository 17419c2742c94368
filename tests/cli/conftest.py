from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Fleet


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    for name in ("NO_COLOR", "COLUMNS", "FLEET_DATABASE_URL", "FLEET_MAX_RUNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".fleet").mkdir(mode=0o700)
    made = Fleet(tmp_path, capsys, monkeypatch)
    yield made
    made.close()
