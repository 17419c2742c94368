"""Which runs a signal starts: by the kind of its triggers, what they see of it, and whose workflows they are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fleetprompt.engine.core.plan import Block, Input, Plan, Trigger
from fleetprompt.engine.core.routing import Active, Missed, Passed, Routes, Start
from fleetprompt.engine.core.signal import (
    AGENT_FINISHED,
    FINISHED,
    TRIGGER_CHAT,
    TRIGGER_SCHEDULE,
    TRIGGER_WATCH,
    TRIGGER_WEBHOOK,
    Signal,
)


def active(*triggers: Trigger, name: str = "flow", tenant: str = "default", inputs: tuple[str, ...] = ()) -> Active:
    plan = Plan(name=name, root=Block("", ()), triggers=triggers, inputs={each: Input() for each in inputs})
    return Active(f"digest-{name}", plan, tenant)


def signal(type_: str, subject: str = "", data: Any = None, **fields: Any) -> Signal:
    return Signal(id="s1", type=type_, source="test", at=0.0, subject=subject, data=data, **fields)


def one(routes: Routes, sent: Signal) -> Any:
    (found,) = routes.route(sent)
    return found


# ---------------------------------------------------------------- those that a signal names


def test_a_schedule_is_named_by_its_workflow_and_its_trigger() -> None:
    hourly, daily = Trigger("schedule", {"every": 3600.0, "id": "hourly"}), Trigger("schedule", {"cron": "@daily"})
    routes = Routes([active(hourly, daily), active(hourly, name="other")])
    start = one(routes, signal(TRIGGER_SCHEDULE, "flow/hourly"))
    assert (start.workflow, start.trigger, start.kind, start.plan) == ("flow", "hourly", "schedule", "digest-flow")
    assert one(routes, signal(TRIGGER_SCHEDULE, f"flow/{daily.id}")).trigger == daily.id
    gone = one(routes, signal(TRIGGER_SCHEDULE, "flow/weekly"))
    assert isinstance(gone, Passed)
    assert (gone.workflow, gone.trigger) == ("flow", "weekly")


def test_of_a_schedule_expressions_see_when_it_was_due() -> None:
    wanted = {"day": "${{ data.scheduled[0:10] }}", "kind": "${{ trigger.kind }}", "all": "${{ trigger }}"}
    trigger = Trigger("schedule", {"cron": "@daily", "id": "t", "inputs": wanted, "if": "data.timezone == 'UTC'"})
    data = {"scheduled": "2026-03-29T02:30", "timezone": "UTC", "due": "x"}
    start = one(Routes([active(trigger)]), signal(TRIGGER_SCHEDULE, "flow/t", data))
    assert start.inputs["day"] == "2026-03-29"
    assert start.inputs["kind"] == "schedule"
    assert start.inputs["all"] == {
        "kind": "schedule", "id": "t", "signal": "s1", "type": TRIGGER_SCHEDULE, "data": data
    }  # fmt: skip
    passed = one(Routes([active(trigger)]), signal(TRIGGER_SCHEDULE, "flow/t", data | {"timezone": "Asia/Tokyo"}))
    assert passed == Passed("flow", "t", "schedule", "its `if` does not hold")


@pytest.mark.parametrize(
    ("overlap", "claim"),
    [("queue", "schedule:flow/t"), ("cancel_running", "schedule:flow/t"), ("skip", ""), ("allow", ""), (None, "")],
)
def test_runs_that_must_not_overlap_hold_a_claim(overlap: str | None, claim: str) -> None:
    config: dict[str, Any] = {"every": 60.0, "id": "t"} | ({"overlap": overlap} if overlap else {})
    assert one(Routes([active(Trigger("schedule", config))]), signal(TRIGGER_SCHEDULE, "flow/t")).alone == claim


def test_a_webhook_is_the_one_trigger_that_has_its_path() -> None:
    hook = Trigger("webhook", {"path": "alerts/new", "if": "body.level == 'high' and headers['x-from'] == 'a'"})
    later = msgspec.structs.replace(active(Trigger("webhook", {"path": "alerts/new"}), name="a"), since=2.0)
    first = msgspec.structs.replace(active(hook, inputs=("level", "n")), since=1.0)
    elsewhere = active(Trigger("webhook", {"path": "alerts/new"}), name="c", tenant="other")
    routes = Routes([later, first, elsewhere])
    data = {"body": {"level": "high", "n": 3, "z": 1}, "headers": {"x-from": "a"}, "query": {"q": "1"}}
    start = one(routes, signal(TRIGGER_WEBHOOK, "alerts/new", data))
    assert (start.workflow, start.inputs) == ("flow", {"level": "high", "n": 3})
    assert isinstance(one(routes, signal(TRIGGER_WEBHOOK, "alerts/new", data | {"headers": {}})), Missed)
    assert one(routes, signal(TRIGGER_WEBHOOK, "alerts/new", data, tenant="other")).workflow == "c"
    assert {(hook.tenant, hook.workflow) for hook in routes.hooks("alerts/new")} == {
        ("default", "flow"),
        ("other", "c"),
    }
    assert [(hook.workflow, holder.workflow) for hook, holder in routes.doubled] == [("a", "flow")]
    assert len(routes.hooks()) == 2
    assert isinstance(one(routes, signal(TRIGGER_WEBHOOK, "other")), Passed)


def test_a_webhook_s_request_is_seen_in_parts() -> None:
    wanted = {"b": "${{ body.x }}", "q": "${{ query.q }}", "h": "${{ headers.host }}", "d": "${{ data.body.x }}"}
    routes = Routes([active(Trigger("webhook", {"path": "p", "inputs": wanted}))])
    data = {"body": {"x": 1}, "headers": {"host": "h"}, "query": {"q": "2"}}
    assert one(routes, signal(TRIGGER_WEBHOOK, "p", data)).inputs == {"b": 1, "q": "2", "h": "h", "d": 1}


def test_a_message_of_a_conversation_belongs_to_it() -> None:
    routes = Routes([active(Trigger("chat"), inputs=("message", "history", "session"))])
    data = {"message": "hi", "history": [{"role": "user", "text": "so"}], "session": "c1", "other": 1}
    start = one(routes, signal(TRIGGER_CHAT, "flow", data, by="ana"))
    assert (start.kind, start.session) == ("chat", "c1")
    assert start.inputs == {"message": "hi", "history": data["history"], "session": "c1"}
    assert isinstance(one(routes, signal(TRIGGER_CHAT, "quiet", data)), Passed)


def test_a_change_of_files_names_its_trigger() -> None:
    watch = Trigger("watch", {"paths": ["*.csv"], "id": "drop", "inputs": {"file": "${{ data.path }}"}})
    start = one(Routes([active(watch)]), signal(TRIGGER_WATCH, "flow/drop", {"path": "a.csv", "event": "created"}))
    assert (start.kind, start.inputs) == ("watch", {"file": "a.csv"})


# ---------------------------------------------------------------- those that hear


def test_patterns_and_conditions_of_signals() -> None:
    routes = Routes(
        [
            active(Trigger("signal", {"match": "deploy.*"}), name="word"),
            active(Trigger("signal", {"match": "**"}), name="all"),
            active(Trigger("signal", {"match": "deploy.**", "if": "data.env == 'prod'"}), name="prod"),
        ]
    )

    def heard(type_: str, data: Any = None) -> list[str]:
        return [each.workflow for each in routes.route(signal(type_, data=data)) if isinstance(each, Start)]

    assert heard("deploy.done", {"env": "prod"}) == ["word", "all", "prod"]
    assert heard("deploy.done", {"env": "dev"}) == ["word", "all"]
    assert heard("deploy.eu.done", {"env": "prod"}) == ["all", "prod"]
    assert heard("fleet.run.start") == []
    assert heard(TRIGGER_SCHEDULE) == []


def test_the_end_of_a_workflow_and_of_an_agent() -> None:
    routes = Routes(
        [
            active(Trigger("completion", {"workflow": "audit", "status": ["failed", "timeout"]}), name="mend"),
            active(Trigger("completion", {"workflow": "audit"}), name="praise"),
            active(Trigger("completion", {"agent": "sre", "status": ["failed"]}), name="call"),
        ]
    )

    def heard(type_: str, **data: Any) -> list[str]:
        return [each.workflow for each in routes.route(signal(type_, data=data)) if isinstance(each, Start)]

    assert heard(FINISHED, workflow="audit", status="failed") == ["mend"]
    assert heard(FINISHED, workflow="audit", status="completed") == ["praise"]
    assert heard(FINISHED, workflow="sre", status="failed") == []
    assert heard(AGENT_FINISHED, agent="sre", workflow="audit", status="failed") == ["call"]
    assert heard(AGENT_FINISHED, agent="sre", workflow="audit", status="completed") == []
    assert (routes.listens("audit", "timeout"), routes.listens("audit", "cancelled")) == (True, False)
    assert (routes.listens_to_agent("sre", "failed"), routes.listens_to_agent("sre", "completed")) == (True, False)
    assert (routes.agents, Routes().agents) == (True, False)


def test_a_trigger_that_cannot_be_evaluated_says_why() -> None:
    routes = Routes([active(Trigger("signal", {"match": "a", "if": "data.x.y > 1", "id": "t"}))])
    missed = one(routes, signal("a", data={}))
    assert isinstance(missed, Missed)
    assert missed.trigger == "t"


def test_triggers_keep_their_names_when_they_change_places() -> None:
    triggers = [Trigger("signal", {"match": "a"}), Trigger("signal", {"match": "*"}), Trigger("chat")]
    first, second = Routes([active(*triggers)]), Routes([active(*reversed(triggers))])
    assert {each.trigger for each in first.route(signal("a"))} == {each.trigger for each in second.route(signal("a"))}
    assert len({each.trigger for each in first.route(signal("a"))}) == 2


def test_a_trigger_that_stands_there_twice_starts_one_run() -> None:
    twice = Trigger("signal", {"match": "a"})
    assert len(Routes([active(twice, twice)]).route(signal("a"))) == 1


def test_tenants_hear_their_own() -> None:
    triggers = (
        Trigger("signal", {"match": "a"}),
        Trigger("webhook", {"path": "p"}),
        Trigger("chat"),
        Trigger("completion", {"workflow": "x"}),
    )
    routes = Routes([active(*triggers, tenant="acme")])
    for sent in (
        signal("a"),
        signal(TRIGGER_WEBHOOK, "p"),
        signal(TRIGGER_CHAT, "flow"),
        signal(FINISHED, data={"workflow": "x", "status": "completed"}),
    ):
        assert not [each for each in routes.route(sent) if isinstance(each, Start)]
    assert isinstance(one(routes, signal("a", tenant="acme")), Start)
    assert routes.listens("x", "completed", "acme")
    assert not routes.listens("x", "completed")
