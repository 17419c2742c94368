"""What is said where a limit is reached."""

from __future__ import annotations

import pytest

from fleetprompt.engine.agents.limits import more
from fleetprompt.engine.ports.budget import BudgetRefused, Limit, figure, scope_words


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("fleet/2026-11-26", "the fleet today"),
        ("workflow/audit/2026-11-26", "workflow audit today"),
        ("run/r1", "this run"),
        ("run/r2", "run r2"),
        ("step/r1/fan[3].ask", "step fan[3].ask"),
        ("step/r1/ask/clerk", "agent clerk in step ask"),
        ("step/r2/ask", "step ask of run r2"),
        ("branch/r1/fan[3]", "branch [3] of step fan"),
        ("branch/r1/fan[3].again#2[0]", "branch [0] of step fan[3].again#2"),
        ("branch/r2/fan", "a branch of step fan of run r2"),
        ("pool", "pool"),
    ],
)
def test_scopes_are_called_as_people_call_them(scope: str, said: str) -> None:
    assert scope_words(scope, "r1") == said


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        ("cost_nano", 0, "0.00"),
        ("cost_nano", 1, "0.000001"),
        ("cost_nano", 2_800_000, "0.0028"),
        ("cost_nano", 1_234_500_000_000, "1,234.50"),
        ("cost_nano", 999_999_999, "1.00"),
        ("tokens", 12_000, "12,000"),
    ],
)
def test_money_is_told_in_dollars_and_never_as_less_than_it_is(limit: Limit, value: int, said: str) -> None:
    assert figure(limit, value) == said


def test_who_is_asked_for_more_is_told_how_much_would_do() -> None:
    refused = BudgetRefused(
        id="a", run="r1", scope="run/r1", limit="cost_nano", cap=3_000_000, used=2_800_000, reserved=0, wanted=899_000
    )
    reached = "the limit of this run is reached: $0.0028 used and $0.00 reserved of $0.003"
    assert refused.message == f"{reached}; the next request may take $0.000899"
    question = more(refused, "clerk", "clerk/budget/0")
    assert question.message == f"clerk: {refused.message}. Raise the limit?"
    assert question.form["amount"]["description"] == "How many US dollars more: 0.000699 for what comes next."
    figures = {"used": "0.0028", "reserved": "0.00", "cap": "0.003", "wanted": "0.000899"}
    assert question.show == {"scope": "run/r1", "limit": "cost_nano", **figures}
