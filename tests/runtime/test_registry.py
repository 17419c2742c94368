"""Plugins that fail: they are named and left out, and everything else works."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from fleetprompt.engine import registry
from fleetprompt.engine.registry import Registry

GROUP = "fleetprompt.steps"


@pytest.mark.parametrize("raises", ["RuntimeError('no licence')", "SystemExit('no licence')"])
def test_a_plugin_that_raises_on_import_is_recorded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raises: str
) -> None:
    (tmp_path / "breaks.py").write_text(f"from helps import F\nF.register('odd')(object())\nraise {raises}\n")
    (tmp_path / "works.py").write_text("from helps import F\nF.register('fine')(object())\n")
    (tmp_path / "helps.py").write_text("from fleetprompt.engine.registry import Registry\nF = Registry('step type')\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint(name, name, GROUP) for name in ("breaks", "works")]
    monkeypatch.setattr(registry, "installed", lambda group: points)
    import helps  # pyright: ignore[reportMissingImports] made above

    found: Registry[object] = helps.F
    for _ in range(2):
        found.discover("fleetprompt.demo", GROUP)
        assert "fine" in found
        assert list(found.failed) == ["breaks"]
        assert "no licence" in found.failed["breaks"].message
        assert "step types are not available" in found.failed["breaks"].hint
    monkeypatch.delitem(sys.modules, "helps")
    monkeypatch.delitem(sys.modules, "works")
