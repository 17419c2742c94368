"""Saved views: kept between consoles, each with its digit."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.tui.state.views import BUILT_IN, MOST, View, Views


def test_views_of_ours_can_be_understood() -> None:
    assert all(not parse(view.filter, RUN_FIELDS).problems for view in BUILT_IN)


def test_a_view_is_there_for_the_next_console(tmp_path: Path) -> None:
    path = tmp_path / "views.json"
    assert Views(path).save(View("mine", "by:ada", "cost")) == 1
    again = Views(path)
    assert again.at(1) == View("mine", "by:ada", "cost")
    assert again.at(2) == BUILT_IN[0]
    assert again.at(0) == View("every run")


def test_saving_again_replaces_and_forgetting_makes_room(tmp_path: Path) -> None:
    views = Views(tmp_path / "views.json")
    for at in range(MOST):
        views.save(View(f"v{at}"))
    with pytest.raises(InvalidInput, match="9 saved views"):
        views.save(View("one more"))
    assert views.save(View("v3", "wf:x")) == 4
    views.forget("v0")
    assert views.save(View("one more")) == MOST
    with pytest.raises(InvalidInput):
        views.forget("v0")


def test_a_broken_file_is_told_and_ours_stay(tmp_path: Path) -> None:
    path = tmp_path / "views.json"
    path.write_text("{")
    views = Views(path)
    assert "cannot be read" in views.problem
    assert views.at(1) == BUILT_IN[0]
