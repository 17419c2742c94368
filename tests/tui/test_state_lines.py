"""Columns that fit, and a cursor and marks that hold on to lines by key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetprompt.tui.state.lines import GAP, Column, Rows, Selection, layout

COLUMNS = st.lists(
    st.builds(
        Column,
        title=st.just("x"),
        width=st.integers(1, 20),
        grow=st.integers(0, 3),
        most=st.sampled_from([0, 25]),
        drop=st.integers(0, 5),
    ),
    min_size=1,
    max_size=12,
)


@given(columns=COLUMNS, width=st.integers(1, 250))
def test_columns_stand_beside_each_other_and_end_before_the_edge(columns: list[Column], width: int) -> None:
    places = layout(columns, width)
    x = 0
    for place in places:
        assert place.x == x
        x = place.x + place.width + GAP
        assert place.x + place.width <= max(width, place.x)
    assert [place.column for place in places] == sorted({place.column for place in places})


@given(columns=COLUMNS, width=st.integers(1, 250))
def test_what_is_left_out_is_what_may_be_and_only_where_there_is_no_room(columns: list[Column], width: int) -> None:
    kept = {place.column for place in layout(columns, width)}
    gone = set(range(len(columns))) - kept
    fixed = sum(column.width + GAP for column in columns if not column.drop) - GAP
    if fixed <= width:
        assert all(columns[at].drop for at in gone)
    if sum(column.width + GAP for column in columns) - GAP <= width:
        assert not gone


def test_spare_room_goes_to_columns_that_grow_up_to_their_most() -> None:
    columns = [
        Column(title="a", width=4),
        Column(title="b", width=4, grow=1, most=6),
        Column(title="c", width=4, grow=3),
    ]
    widths = [place.width for place in layout(columns, 40)]
    assert widths == [4, 6, 28]


def rows(*keys: str) -> Rows:
    source = Rows([Column(title="", width=4)])
    source.set((key, ((key, ""),)) for key in keys)
    return source


def test_the_cursor_stays_on_its_line_while_others_come() -> None:
    selection = Selection()
    selection.place(rows("a", "b", "c"), 1)
    selection.settle(rows("x", "y", "a", "b", "c"))
    assert (selection.key, selection.index) == ("b", 3)


def test_a_cursor_whose_line_has_gone_stays_where_it_was() -> None:
    selection = Selection()
    selection.place(rows("a", "b", "c"), 2)
    selection.settle(rows("a", "b"))
    assert (selection.key, selection.index) == ("b", 1)
    selection.settle(rows())
    assert selection.key is None


def test_a_range_marks_all_between_its_ends_in_either_direction() -> None:
    source = rows("a", "b", "c", "d")
    selection = Selection()
    selection.place(source, 3)
    selection.range(source)
    assert selection.ranging
    selection.place(source, 1)
    selection.range(source)
    assert list(selection.marks) == ["b", "c", "d"]
    assert not selection.ranging


def test_marks_are_kept_by_key_and_taken_away_together() -> None:
    selection = Selection()
    selection.place(rows("a", "b"), 1)
    selection.toggle(rows("a", "b"))
    selection.settle(rows("z", "a", "b"))
    assert list(selection.marks) == ["b"]
    assert selection.clear()
    assert not selection.clear()
