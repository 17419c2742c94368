"""What is noted of decisions: by rules, by models, by people. Pure.

What a model declares is a note of its own; what the engine or people decide stands as `decision` in the note of what
comes of it. The names of the fields are permanent: they are read by whatever analyses journals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fleetprompt.engine.ports.budget import BudgetRefused
from fleetprompt.engine.ports.tool import Verdict
from fleetprompt.engine.ports.work import Decision

DECISION = "decision"
"""Kind of the note of a decision, and the name of one inside another note."""
Method = Literal["rule_based", "llm_based", "confidence_threshold", "random", "user_input"]
VERDICTS: tuple[Verdict, ...] = ("allow", "ask", "deny")
ANSWERS = ("approved", "rejected")
STUCK = ("tell", "ask", "fail", "handoff")
LIMIT = ("fail", "ask", "wrap_up")
DOUBT = ("happened", "run", "skip", "abort")
_ABOUT = {"tool": "approval", "question": "answer", "budget": "limit", "stuck": "stuck", "definition": "definition"}


def decision(
    type: str,
    question: str,
    options: Sequence[Any],
    chosen: Any,
    *,
    method: Method,
    reasoning: str = "",
    confidence: float | None = None,
    rules: Sequence[str] = (),
    rejected: Mapping[str, str] | None = None,
    by: Sequence[str] = (),
) -> dict[str, Any]:
    """A decision. `rejected`: why not, by option; `rules`: those that it follows from; `by`: the people who made it.
    What follows from rules is certain."""
    return {
        "type": type,
        "question": question,
        "options": list(options),
        "chosen": chosen,
        "index": options.index(chosen) if chosen in options else None,
        "reasoning": reasoning,
        "confidence": 1.0 if method == "rule_based" else confidence,
        "method": method,
        "rules_applied": list(rules),
        "rejected": dict(rejected or {}),
        "by": list(by),
    }


def declared(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a model says that it has decided, by the tool `record_decision`."""
    return decision(
        str(arguments.get("type") or "choice"),
        arguments.get("question", ""),
        arguments.get("options") or (),
        arguments.get("chosen"),
        method="llm_based",
        reasoning=arguments.get("reasoning", ""),
        confidence=arguments.get("confidence"),
        rejected=arguments.get("rejected"),
    )


def judged(tool: str, verdict: Verdict, rule: str, *, by_grant: bool = False) -> dict[str, Any]:
    """What the policy says about a call. `by_grant`: people have allowed such calls before."""
    method: Method = "user_input" if by_grant else "rule_based"
    return decision("policy", f"may {tool} be called?", VERDICTS, verdict, method=method, reasoning=rule, rules=[rule])


def answered(given: Decision, question: str, options: Sequence[Any] = ANSWERS, chosen: Any = None) -> dict[str, Any]:
    """What people have decided; or the time limit, where nobody has. `chosen`: of other options than whether."""
    return decision(
        _ABOUT.get(given.about, given.about),
        question,
        options,
        given.decision if chosen is None else chosen,
        method="user_input" if given.by else "rule_based",
        reasoning=given.comment,
        rules=() if given.by else (given.reason or "nobody answered",),
        by=given.by,
    )


def doubted(tool: str, found: str, by: str, *, comment: str = "", checked: bool = False) -> dict[str, Any]:
    """What became of a call of which nobody knew whether it happened. `checked`: its own `reconcile` found out."""
    method: Method = "rule_based" if checked else "user_input"
    return decision(
        "in_doubt",
        f"did {tool} happen?",
        DOUBT,
        found,
        method=method,
        reasoning=comment,
        rules=[f"{by} of {tool}"] if checked else (),
        by=() if checked else (by,),
    )


def handed(receivers: Sequence[str], receiver: str, reason: str) -> dict[str, Any]:
    """A model hands its task over."""
    return decision("handoff", "who goes on?", receivers, receiver, method="llm_based", reasoning=reason)


def circling(why: str, chosen: str, rule: str) -> dict[str, Any]:
    """What is done about an agent that goes in circles."""
    question = "it goes in circles: what now?"
    return decision("stuck", question, STUCK, chosen, method="rule_based", reasoning=why, rules=[why, rule])


def at_limit(refused: BudgetRefused, chosen: str, rule: str) -> dict[str, Any]:
    """What is done at a limit of a budget."""
    rules = [f"{rule} ({refused.limit} of {refused.scope})"]
    question = "a limit is reached: what now?"
    return decision("limit", question, LIMIT, chosen, method="rule_based", reasoning=refused.message, rules=rules)


def out_of_turns(turns: int, chosen: str) -> dict[str, Any]:
    """What is done with an agent that has had all its turns."""
    rules = [f"max_iterations: {turns}"]
    return decision("limit", "it has had all its turns: what now?", LIMIT, chosen, method="rule_based", rules=rules)
