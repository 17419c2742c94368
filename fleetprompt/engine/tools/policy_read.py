"""A policy as it is written, in `policy.toml`, in `[policy]` of the settings or in an agent's file. PURE.

Everything that is wrong with it is found at once, each fault with its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeGuard, cast

from msgspec import Struct

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports.tool import Verdict
from fleetprompt.engine.tools._patterns import Where, read_where
from fleetprompt.engine.tools.policy import Policy, Rule, Taint

KEYS: Final = ("allow", "ask", "deny", "tools", "off", "taint")
RULE_KEYS: Final = ("tool", "where", "refused", "reason")
VERDICTS: Final[tuple[Verdict, ...]] = ("deny", "allow", "ask")
_HOW: Final = '["git.log", {tool = "shell.run", where = {argv = ["git", "log", "*"]}}]'


class Fault(Struct, frozen=True):
    """Something that is wrong with a policy."""

    path: tuple[str | int, ...]
    """Keys, and positions in lists, counted from 0, that lead to it."""
    message: str
    hint: str = ""
    unknown: bool = False
    """It is a key that a policy does not have."""

    @property
    def place(self) -> str:
        """The rule, as people count: `allow[2]`."""
        verdict, *rest = self.path
        return f"{verdict}[{rest[0] + 1}]: " if rest and isinstance(rest[0], int) and verdict in VERDICTS else ""


class InvalidPolicy(InvalidInput):
    """A policy cannot be used."""

    def __init__(self, name: str, faults: tuple[Fault, ...]) -> None:
        """`name` is what the policy is called."""
        first = faults[0]
        super().__init__(f"{name}: {first.place}{first.message}", hint=first.hint)
        self.faults = faults


def read_policy(values: Mapping[str, Any], name: str) -> Policy:
    """A policy from `policy.toml`, `[policy]` of the settings, or an agent's file. Raises `InvalidPolicy` with all that
    is wrong; `name` is the file's."""
    faults = tuple(faults_of(values))
    if faults:
        raise InvalidPolicy(name, faults)
    tools, taint = values.get("tools"), values.get("taint", "off")
    return Policy(
        rules=tuple(_rules(values, name)),
        tools=None if tools is None else names_in(tools),
        off=names_in(_off(values)),
        taint=cast("Taint", taint),
        name=name,
    )


def rules_in(values: Mapping[str, Any]) -> Iterator[tuple[Verdict, int, Any]]:
    """Every rule as it is written."""
    for verdict in VERDICTS:
        listed = values.get(verdict, [])
        for i, entry in enumerate(cast("list[Any]", listed) if isinstance(listed, list) else []):
            yield verdict, i, entry


def names_in(value: Any) -> tuple[str, ...]:
    """Patterns of names: one, or a list of them."""
    return (value,) if isinstance(value, str) else tuple(cast("list[str]", value))


def faults_of(values: Mapping[str, Any]) -> Iterator[Fault]:
    """Everything that is wrong with a policy."""
    for key in values:
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or f"a policy has {', '.join(KEYS)}"
            yield Fault((key,), f"there is no `{inert(key)}`", hint, unknown=True)
    for verdict in VERDICTS:
        if not isinstance(values.get(verdict, []), list):
            yield Fault((verdict,), f"`{verdict}` has to be a list of rules", f"write {verdict} = {_HOW}")
    for verdict, i, entry in rules_in(values):
        yield from _faults_of_rule(entry, (verdict, i))
    if values.get("taint", "off") not in ("off", "ask"):
        yield Fault(("taint",), "`taint` is off or ask", 'write taint = "ask"')
    if values.get("tools") is not None:
        yield from _faults_of_names(values["tools"], ("tools",))
    yield from _faults_of_names(_off(values), ("off",))


def _off(values: Mapping[str, Any]) -> Any:
    off = values.get("off", [])
    return (["*"] if off else []) if isinstance(off, bool) else off


def _is_rule(entry: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(entry, dict)


def _faults_of_rule(entry: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
    if isinstance(entry, str):
        yield from _faults_of_names(entry, path)
        return
    how = f"write {path[0]} = {_HOW}"
    if not _is_rule(entry):
        yield Fault(path, "this is not a rule", how)
        return
    unknown = [key for key in entry if key not in RULE_KEYS]
    for key in unknown:
        hint = did_you_mean(key, RULE_KEYS) or f"a rule has {', '.join(RULE_KEYS)}"
        yield Fault((*path, key), f"there is no `{inert(key)}`", hint, unknown=True)
    if "tool" in entry:
        yield from _faults_of_names(entry["tool"], (*path, "tool"))
    elif not any(did_you_mean(key, ["tool"]) for key in unknown):
        # Where it is misspelt, that is all there is to say.
        yield Fault(path, "this rule does not say which tool it is about", how)
    refused, reason = entry.get("refused", False), entry.get("reason", "")
    if not isinstance(refused, bool):
        yield Fault((*path, "refused"), "`refused` is true or false", "remove the quotes")
    if not isinstance(reason, str):
        yield Fault((*path, "reason"), "`reason` is a text", "put it in quotes")
    try:
        where = read_where(entry.get("where", {}))
    except ValueError as error:
        yield Fault((*path, "where"), str(error), how)
        return
    if refused and not where:
        yield Fault((*path, "refused"), "a rule for what tools refuse has to say which calls it means", "add `where`")


def _faults_of_names(value: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
    listed = cast("list[Any]", value) if isinstance(value, list) else [value]
    for i, each in enumerate(listed):
        at = (*path, i) if isinstance(value, list) else path
        if not isinstance(each, str):
            yield Fault(at, "patterns of tool names are a list of texts", 'write ["git.*"]')
        elif not each:
            yield Fault(at, "a tool's name is empty", 'write it, such as "git.*"')


def _rules(values: Mapping[str, Any], name: str) -> Iterator[Rule]:
    for verdict, i, entry in rules_in(values):
        place = f"{name}: {verdict}[{i + 1}]"
        if not _is_rule(entry):
            yield Rule(verdict=verdict, tools=names_in(entry), place=place)
            continue
        where: Where = read_where(entry.get("where", {}))
        refused, reason = bool(entry.get("refused", False)), str(entry.get("reason", ""))
        tools = names_in(entry["tool"])
        yield Rule(verdict=verdict, tools=tools, where=where, refused=refused, reason=reason, place=place)
