"""What is found by typing: words anywhere, letters of a name in their order, the best first."""

from __future__ import annotations

from fleetprompt.tui.screens.picker import rank


def test_a_beginning_is_better_than_a_word_and_that_than_a_middle() -> None:
    assert [rank("cancel a run", typed) for typed in ("can", "run", "ance")] == [1, 2, 3]


def test_letters_in_order_are_looked_for_in_the_name_alone() -> None:
    assert rank("retry: do it again from a step", "rty", "retry") == 4
    assert rank("retry: do it again from a step", "dep", "retry") is None


def test_every_word_must_occur_and_nothing_typed_fits_all() -> None:
    assert rank("mark all that match", "match all") is not None
    assert rank("mark all that match", "match none") is None
    assert rank("anything", "") == 0
