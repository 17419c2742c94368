"""How the words of a run came about, when they came about in several ways."""

from __future__ import annotations

from functools import reduce
from itertools import permutations

import pytest

from fleetprompt.engine.core.mode import has_unreal, is_unreal, joined


@pytest.mark.parametrize(
    ("modes", "whole"),
    [
        ((), ""),
        (("", "live"), "live"),
        (("local", "local"), "local"),
        (("live", "local"), "live"),
        (("simulated", "replay"), "simulated"),
        (("replay", "replay", ""), "replay"),
        (("live", "simulated"), "mixed"),
        (("live", "simulated", "local", "replay"), "mixed"),
    ],
)
def test_the_mode_of_a_whole_does_not_depend_on_the_order(modes: tuple[str, ...], whole: str) -> None:
    assert {reduce(joined, order, "") for order in permutations(modes)} == {whole}


def test_what_is_mixed_has_some_of_each() -> None:
    assert [is_unreal(mode) for mode in ("", "live", "local", "simulated", "replay", "mixed")] == [
        False, False, False, True, True, False,
    ]  # fmt: skip
    assert has_unreal("mixed")
    assert has_unreal("replay")
    assert not has_unreal("local")
