"""What operators do with a fleet: through the command line, over HTTP, and in a console."""

from __future__ import annotations

import sys
from pathlib import Path

for beside in ("client", "daemon", "cli", "tui", "agents", "llm", "simulation"):
    sys.path.insert(0, str(Path(__file__).parents[1] / beside))

from collections.abc import Iterator  # noqa: E402

import pytest  # noqa: E402
from cli_kit import Fleet  # noqa: E402


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """A project in a folder of its own."""
    for name in ("NO_COLOR", "COLUMNS", "FLEET_DATABASE_URL", "FLEET_MAX_RUNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".fleet").mkdir(mode=0o700)
    made = Fleet(tmp_path, capsys, monkeypatch)
    yield made
    made.close()
