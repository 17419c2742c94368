"""What is said of words and money: how the words came about, what is certain, what is not."""

from __future__ import annotations

import pytest
from tui_kit import NOW, begun

from fleetprompt.client.wording import money
from fleetprompt.tui.state.fleet import Asked
from fleetprompt.tui.state.money import badge, cost_cell, cost_words
from fleetprompt.tui.state.runs import run_cells

CENT = 10_000_000


@pytest.mark.parametrize(
    ("nano", "uncertain", "mode", "cell", "words"),
    [
        (CENT, 0, "live", ("$0.01", ""), "$0.01"),
        (0, 0, "", ("-", "faint"), ""),
        (0, 0, "local", ("-", "faint"), ""),
        (0, 0, "simulated", ("n/a", "dim"), "n/a"),
        (0, 0, "replay", ("n/a", "dim"), "n/a"),
        (0, 0, "mixed", ("-", "faint"), ""),
        (CENT, 2 * CENT, "live", ("≥$0.01", "warning"), "$0.01 + up to $0.02 uncertain"),
        (0, 2 * CENT, "live", ("≥$0", "warning"), "$0.00 + up to $0.02 uncertain"),
    ],
)
def test_an_amount(nano: int, uncertain: int, mode: str, cell: tuple[str, str], words: str) -> None:
    assert cost_cell(nano, uncertain, mode) == cell
    assert "".join(text for text, _ in cost_words(nano, uncertain, mode)) == words


def test_no_amount_is_told_as_nothing() -> None:
    assert [money(nano) for nano in (3, 499, 1_500, CENT // 2)] == ["<$0.000001", "<$0.000001", "$0.000002", "$0.005"]


def test_only_what_no_paid_model_has_said_has_a_badge() -> None:
    said = {mode: "".join(text for text, _ in badge(mode)) for mode in ("", "live", "local", "simulated", "replay")}
    assert said == {"": "", "live": "", "local": "LOCAL", "simulated": "SIMULATED", "replay": "REPLAYED"}
    assert badge("mixed")[0][0] == "PARTLY SIMULATED"


def test_a_simulated_run_says_so_in_the_list() -> None:
    cells = run_cells(begun(1, mode="simulated", step="diagnose").head, NOW + 9, Asked())
    assert cells[7] == ("n/a", "dim")
    assert cells[-1][:4] == (("SIMULATED", "badge"), ("  ", ""), ("", "waiting"), ("diagnose", ""))
