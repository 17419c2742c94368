"""Saved views: kept between consoles, each with its digit."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.tui.state.views import BUILT_IN, MOST, MOST_BYTES, View, Views, file_of


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


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"\xff",
        b"[" * 100_000,
        b" " * (MOST_BYTES + 1),
        b'{"name": "x"}',
        b'[{"name": 7}]',
        b'[{"name": ""}]',
        b'[{"name": "x", "filter": ["a"]}]',
        b'[{"name": "a\\u001b[31mb"}]',
        b'[{"name": "x"}, {"name": "x"}]',
        b'[{"name": "%s"}]' % (b"x" * 41),
        b'[{"name": "x", "filter": "%s"}]' % (b"x" * 5_000),
        b"[%s]" % b",".join(b'{"name": "v%d"}' % at for at in range(MOST + 1)),
    ],
    ids=lambda data: data[:24],
)
def test_a_file_that_is_none_of_ours_is_told_and_kept_when_another_takes_its_place(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "views.json"
    path.write_bytes(data)
    views = Views(path)
    assert "cannot be read" in views.problem
    assert views.at(1) == BUILT_IN[0]
    (tmp_path / "views.json.broken-1").write_text("an older one")
    assert views.save(View("mine")) == 1
    assert views.aside == str(tmp_path / "views.json.broken-2")
    assert (tmp_path / "views.json.broken-2").read_bytes() == data
    assert Views(path).at(1) == View("mine")
    assert not Views(path).problem


def test_a_folder_in_its_place_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "views.json"
    path.mkdir()
    (path / "something").write_text("")
    views = Views(path)
    assert "not a file" in views.problem
    views.save(View("mine"))
    assert (tmp_path / "views.json.broken-1" / "something").exists()
    assert Views(path).at(1) == View("mine")


def test_what_another_console_has_saved_stays(tmp_path: Path) -> None:
    path = tmp_path / "views.json"
    one, other = Views(path), Views(path)
    one.save(View("first"))
    assert other.save(View("second")) == 2
    one.forget("second")
    assert [view.name for view in Views(path).saved] == ["first"]


def test_where_nothing_can_be_written_the_view_is_kept_for_this_console(tmp_path: Path) -> None:
    (tmp_path / "no folder").write_text("")
    views = Views(tmp_path / "no folder" / "views.json")
    for name in ("one", "two"):
        with pytest.raises(InvalidInput, match="for this console only"):
            views.save(View(name))
    assert [view.name for view in views.saved] == ["one", "two"]


def test_views_of_projects_elsewhere_are_kept_apart_by_address_and_tenant(tmp_path: Path) -> None:
    names = [
        file_of("https://ops.example.com:8377", "default"),
        file_of("https://ops.example.com:8377", "acme"),
        file_of("https://ops.example.com:8378", "default"),
        file_of("unix:/srv/../x/.fleet/fleet.sock", "default"),
        file_of(f"https://{'x' * 300}/", "default"),
    ]
    assert len({*names}) == len(names)
    assert names[0] == file_of("https://ops.example.com:8377", "default")
    assert all("/" not in name and len(name) < 100 for name in names)
    path = tmp_path / "state" / "fleetprompt" / names[0]
    assert Views(path).save(View("mine")) == 1
    assert Views(path).at(1) == View("mine")
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["", "  ", "x" * 41, "a\x1bb", "a\nb"])
def test_a_view_needs_a_name_that_can_be_shown(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="needs a name"):
        Views(tmp_path / "views.json").save(View(name))
