"""What may be done: a call's verdict, and the rule that it follows from. PURE.

The order is: what is switched off, deny, grants and allow, ask, the tool's own default. The first layer, the fleet's,
always has a verdict; one after it, an agent's, only where a rule of it is stricter: it can narrow, never widen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

from msgspec import Struct

from fleetprompt.engine.core.codec import canonical
from fleetprompt.engine.ports.tool import Preview, ToolInfo, Verdict
from fleetprompt.engine.tools._patterns import Where, matches

Taint = Literal["off", "ask"]
_STRICTNESS: dict[Verdict, int] = {"allow": 0, "ask": 1, "deny": 2}


class Rule(Struct, frozen=True, kw_only=True):
    """A line of a policy."""

    verdict: Verdict
    tools: tuple[str, ...]
    """Patterns of names: `git.*`."""
    where: Where = ()
    """What arguments have to be like; all of it has to hold."""
    refused: bool = False
    """It is also about calls that the tool itself refuses, such as interpreters."""
    reason: str = ""
    """For people, and for the model when a call is denied."""
    place: str = ""
    """Where it is written: `policy.toml: allow[2]`."""

    def covers(self, name: str, preview: Preview) -> bool:
        """Whether it is about a call."""
        if not any(fnmatchcase(name, pattern) for pattern in self.tools):
            return False
        if self.verdict != "deny" and preview.verdict == "deny" and not self.refused:
            return False
        return matches(self.where, preview.subject, narrow=self.verdict != "deny")


class Grant(Struct, frozen=True, kw_only=True):
    """What a person allowed for a while: in a run or in a workflow."""

    id: str
    scope: Literal["run", "workflow"]
    of: str
    """Id of the run, or name of the workflow."""
    tool: str
    """The name of one tool: a grant has no patterns of names."""
    covers: Mapping[str, Any]
    """What a call has to be, to the letter: see `Preview.covers`."""
    uses_left: int | None = None
    """None: as often as is wanted."""
    expires_at: float | None = None
    by: str = ""


class Policy(Struct, frozen=True, kw_only=True):
    """Rules of the fleet or of an agent."""

    rules: tuple[Rule, ...] = ()
    tools: tuple[str, ...] | None = None
    """Patterns of the tools there are at all; None: all of them."""
    off: tuple[str, ...] = ()
    """Kill switch: patterns of tools that nothing and nobody may call now; `model` stands for requests to models."""
    taint: Taint = "off"
    """`ask`: once a run has seen an untrusted result, what writes is never let through by a grant or an allow rule."""
    name: str = "policy"


class Asked(Struct, frozen=True, kw_only=True):
    """What is known at the moment of a call, besides the call."""

    now: float
    run: str
    workflow: str = ""
    tainted: bool = False
    """An untrusted result was seen in this run."""


class Decision(Struct, frozen=True, kw_only=True):
    """The verdict on a call."""

    verdict: Verdict
    rule: str
    """What it follows from, with its place, for people."""
    reason: str = ""
    """What the rule says about it."""
    grant: str = ""
    """Id of the grant that is used up by one when the call is made."""


def decide(
    layers: Sequence[Policy], info: ToolInfo, preview: Preview, asked: Asked, grants: Sequence[Grant] = ()
) -> Decision:
    """What happens to a call: the strictest verdict of all layers; of equal ones, that of the first layer."""
    usable = [grant for grant in grants if _is_usable(grant, info, preview, asked)]
    found = [_in_layer(layer, info, preview, asked, usable) for layer in (layers or (Policy(),))]
    base = found[0] or _default(info, preview)
    stricter = (decision for decision in found[1:] if decision is not None)
    return max((base, *stricter), key=lambda decision: _STRICTNESS[decision.verdict])


def _in_layer(
    layer: Policy, info: ToolInfo, preview: Preview, asked: Asked, grants: Sequence[Grant]
) -> Decision | None:
    """The verdict of a layer; None: it has nothing to say."""
    name = info.spec.name
    if off := switched_off(layer, name):
        return Decision(verdict="deny", rule=off, reason="it is switched off")
    if layer.tools is not None and not any(fnmatchcase(name, pattern) for pattern in layer.tools):
        return Decision(verdict="deny", rule=f"{layer.name}: tools", reason="it is not one of the tools given")
    covering = [rule for rule in layer.rules if rule.covers(name, preview)]
    if denied := _first(covering, "deny"):
        return denied
    if wary := _tainted(layer, info, preview, asked):
        return _first(covering, "ask") or wary
    if grants:
        grant = grants[0]
        return Decision(verdict="allow", rule=f"grant {grant.id} for this {grant.scope}", grant=grant.id)
    return _first(covering, "allow") or _first(covering, "ask")


def switched_off(layer: Policy, name: str) -> str:
    """The rule by which something is switched off; empty where none says so."""
    found = next((pattern for pattern in layer.off if fnmatchcase(name, pattern)), None)
    return f"{layer.name}: off `{found}`" if found is not None else ""


def _first(rules: Sequence[Rule], verdict: Verdict) -> Decision | None:
    for rule in rules:
        if rule.verdict == verdict:
            return Decision(verdict=verdict, rule=rule.place, reason=rule.reason)
    return None


def _tainted(layer: Policy, info: ToolInfo, preview: Preview, asked: Asked) -> Decision | None:
    reach = preview.reach or info.reach
    if layer.taint != "ask" or not asked.tainted or reach != "write":
        return None
    default = _default(info, preview)
    if default.verdict == "deny":
        return default
    reason = "this run has seen an untrusted result, so what writes is asked for"
    return Decision(verdict="ask", rule=f"{layer.name}: taint", reason=reason)


def _default(info: ToolInfo, preview: Preview) -> Decision:
    verdict = preview.verdict or info.verdict
    reason = preview.risk if verdict != "allow" else ""
    return Decision(verdict=verdict, rule=f"default of {info.spec.name}", reason=reason)


def _is_usable(grant: Grant, info: ToolInfo, preview: Preview, asked: Asked) -> bool:
    of = asked.run if grant.scope == "run" else asked.workflow
    spent = grant.uses_left is not None and grant.uses_left < 1
    late = grant.expires_at is not None and grant.expires_at <= asked.now
    if spent or late or not of or grant.of != of or grant.tool != info.spec.name or preview.verdict == "deny":
        return False
    return preview.covers is not None and canonical(grant.covers) == canonical(preview.covers)
