"""research-fanout from end to end: agents side by side within one budget, all of which come to a result."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from flow_kit import ROOT, make_project, perform, surroundings
from scenes import SCENES
from stub_server import start_stub

from fleetprompt.engine.llm.settings import ModelSettings, PriceSettings
from fleetprompt.engine.steps.python import Permanent

sys.path.insert(0, str(ROOT / "workflows"))

import research

SCENE = SCENES["research-fanout"]
REQUESTS, DOLLARS = 16, 0.20
"""What the agents may use together."""


async def test_all_come_to_a_result_within_the_budget_that_they_share(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with surroundings(SCENE, project) as url:
        end = await perform(SCENE, project, url)
    assert end.status == "completed", end.error
    assert (end.output["questions"], end.output["written_by"]) == (6, "simulated model")
    assert end.used("/dig")[0] <= REQUESTS
    assert 0 < end.output["complete"] < 6, "the budget is less than all of them would use"
    assert len(end.state.steps["verify"].output["findings"]) == 6
    assert end.reserved == []
    report = SCENE.effects(project)
    assert "**SIMULATED: no model was asked" in report
    assert "A coupon is a word, a dash and a number" in report
    assert "Not complete, for the budget was used up: What do we say about" in report


QUOTES = [{"path": "demo/shop/docs/refunds.md", "text": "Opened coffee is not\ntaken back"}]
QUOTES += [{"path": "demo/shop/docs/refunds.md", "text": "Everything is refunded"}]
FOUND = {"answer": "Opened coffee is kept.", "complete": False, "quotes": QUOTES}
USED = {"prompt": 300, "completion": 400}
ANSWERS = [
    {"when": "FINDINGS", "text": "Coffee that was opened is kept.", "usage": USED},
    {"when": "Subject: ", "text": json.dumps({"questions": [f"What about {n}?" for n in range(6)]}), "usage": USED},
    {
        "when": "Question: ",
        "calls": [{"name": "fs_read", "arguments": {"path": "demo/shop/docs/refunds.md"}}],
        "without_tools": {"text": json.dumps(FOUND), "usage": USED},
        "usage": USED,
    },
]


async def test_a_model_that_never_has_enough_costs_no_more_than_the_cap(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    with start_stub(tmp_path, ANSWERS) as stub, surroundings(SCENE, project) as url:
        price = PriceSettings(input_usd_per_mtok=10.0, output_usd_per_mtok=20.0)
        model = ModelSettings(model="openai/stub", api_base=stub.base, price=price)
        end = await perform(SCENE, project, url, models={"default": model})
    assert end.status == "completed", end.error
    requests, nano = end.used("/dig")
    assert 6 <= requests == len(stub.requests()) - 2
    assert nano == requests * 11_000_000 <= DOLLARS * 1e9
    assert (end.state.cost_nano, end.reserved) == (nano + 22_000_000, [])
    assert (end.output["complete"], end.output["quotes"], end.output["dropped"]) == (0, 12, 6)
    assert "SIMULATED" not in SCENE.effects(project)


def test_quotes_that_stand_nowhere_else_than_in_the_answer_count_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("All is\nwell here.\n")
    (tmp_path / "secret.md").write_text("All is well here.")
    (tmp_path / "docs" / "link.md").symlink_to(tmp_path / "secret.md")

    def found(path: str, text: str) -> dict[str, object]:
        return {"answer": "It is.", "complete": True, "quotes": [{"path": str(tmp_path / path), "text": text}]}

    right = found("docs/a.md", "is well  here")
    checked = research.check_quotes(str(tmp_path / "docs"), ["1", "2"], [right, found("docs/a.md", "all was well")])
    assert ([each["question"] for each in checked["findings"]], checked["dropped"]) == (["1"], 1)
    for path in ("secret.md", "docs/../secret.md", "docs/link.md", "docs/none.md", "docs", "docs/\0"):
        with pytest.raises(Permanent, match="only 0 of 1"):
            research.check_quotes(str(tmp_path / "docs"), ["1"], [found(path, "All is well here.")])
    with pytest.raises(Permanent, match="only 1 of 3"):
        research.check_quotes(str(tmp_path / "docs"), ["1", "2", "3"], [right, None, {"error": "x"}])
