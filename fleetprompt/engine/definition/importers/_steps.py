"""What steps of foreign files become: one function per kind, for every format."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import urlsplit

from msgspec import Struct

from fleetprompt.engine.core.duration import MAX_DURATION, format_duration, parse_duration
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.expr import ExpressionError, compile_expression
from fleetprompt.engine.core.rendered import MAX_APPROVERS
from fleetprompt.engine.definition.agents import MAX_AGENTS, NAME
from fleetprompt.engine.definition.importers._condition import UNTRANSLATED, condition
from fleetprompt.engine.definition.importers._draft import WHOLE_TEXT, Draft, Scope, item_name, template
from fleetprompt.engine.definition.importers._expression import pieces_of, translate
from fleetprompt.engine.definition.importers._flow import Node
from fleetprompt.engine.definition.importers._given import NOTHING, Found, Given, as_number, kind_of
from fleetprompt.engine.definition.importers._name import slug, unique
from fleetprompt.engine.definition.importers._terms import Name, Operand, Unknown, Untranslatable, quoted
from fleetprompt.engine.definition.problems import Pointer, ProblemCode
from fleetprompt.engine.definition.texts import templates

MAX_MESSAGE: Final = 10_000
_TOOL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_FRAMING: Final = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_URL: Final = re.compile(r"https?://[^\s/\\?#]+[^\s\\\x00-\x1f\x7f]*", re.IGNORECASE)
_CREDENTIALS: Final = re.compile(r"authorization|cookie|api-?key|token|secret", re.IGNORECASE)
_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
}
_TIMES: Final = (("seconds", 1), ("minutes", 60), ("hours", 3600), ("days", 86_400))


class Making(Struct):
    """A step that is being made."""

    draft: Draft
    node: Node
    given: Given
    """Where its parameters stand."""
    scope: Scope
    local: dict[str, tuple[Operand, Pointer]]
    """What the step maps to names of its own."""

    def lost(self, pointer: Pointer, message: str, hint: str = "") -> None:
        self.draft.report.lost(pointer, message, hint)

    def unused(self) -> dict[str, Operand]:
        """Names of its own that nothing has read; they count as read then."""
        found = {name: value for name, (value, _) in self.local.items() if name not in self.scope.used}
        self.scope.used.update(found)
        return found

    def text(self, found: Found) -> str:
        """A text with placeholders that has to be one when it is filled in."""
        value = found.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            message = f"`{found.pointer[-1]}` must be text, it is {kind_of(value)}"
            self.draft.report.wrong(found.pointer, ProblemCode.WRONG_TYPE, message)
            return ""
        return self.scope.text(value, found.pointer, only_text=True)


Maker = Callable[[Making], dict[str, Any]]


# ---------------------------------------------------------------- agents


def agent(step: Making) -> dict[str, Any]:
    """A goal for an agent, who is defined in the result where the file says something about him."""
    given, report = step.given, step.draft.report
    named, numbered = given.find("agent_name", "agent"), given.find("agent_id")
    theirs = given.text("agent_name", "agent") or given.text("agent_id")
    system, query = given.find("system_prompt", "system"), given.find("query", "prompt", "task", "goal")
    preface = ""
    if system:
        parts = pieces_of(given.text("system_prompt", "system"), step.scope.at(system.pointer))
        if any(isinstance(part, Operand) for part in parts):
            preface = template(parts, only_text=True)
            message = "a system prompt holds no expressions here: it stands at the beginning of the goal"
            report.differs(system.pointer, message)
            system = NOTHING
    name = _agent_name(step.draft, theirs or step.node.key or "agent")
    if name in step.draft.known_agents and system:
        preface = step.scope.text(str(system.value), system.pointer, only_text=True)
        message = f"the agent `{name}` of the project has a system prompt: this one stands at the beginning of the goal"
        report.differs(system.pointer, message)
        system = NOTHING
    label = str(numbered.value) if named and numbered and numbered.value != named.value else ""
    place = (named or numbered or Found(None, step.node.pointer)).pointer
    name = _define(step.draft, name, str(system.value) if system else "", label, place)
    if query:
        prompt = step.text(query)
    else:
        prompt = template([step.scope.at(given.pointer).resolve([Name("current_message")])])
        report.assumed(given.pointer, f"the goal of `{step.node.key}` is the message that started the run")
    for key, value in step.unused().items():
        prompt += f"\n\n{key}: {template([value])}"
    prompt = f"{preface}\n\n{prompt}" if preface else prompt
    found: dict[str, Any] = {"agent": name, "prompt": prompt if prompt.strip() else "Go on."}
    turns = given.whole("max_iterations")
    if turns is not None:
        found["max_iterations"] = min(max(turns, 1), 1000)
        if found["max_iterations"] != turns:
            report.differs(given.find("max_iterations").pointer, "there can be 1 to 1,000 iterations")
    fields = list(step.draft.known.fields.get(step.node.key, ()))
    if any(field not in WHOLE_TEXT for field in fields):
        found["output_schema"] = {"type": "object", "required": fields, "properties": {field: {} for field in fields}}
        message = f"`{step.node.key}` is asked for JSON with what others read of its answer: {', '.join(fields)}"
        report.assumed(step.node.pointer, message)
    if any(trigger["type"] == "chat" for trigger in step.draft.triggers):
        step.scope.at(given.pointer).resolve([Name("history")])
        # A conversation may be none, and agents take no instructions from it.
        found["history"] = "${{ inputs.history | default([], true) | rejectattr('role', 'eq', 'system') }}"
    return found


def _agent_name(draft: Draft, theirs: str) -> str:
    return theirs if re.fullmatch(NAME, theirs) else slug(theirs, "-", 64, "agent")


def _define(draft: Draft, name: str, system: str, label: str, pointer: Pointer) -> str:
    """Put an agent into the result, unless the project has it."""
    if name in draft.known_agents:
        if label:
            draft.report.lost(pointer, f"the agent is found by its name, not by the id `{label[:60]}`")
        return name
    wanted: dict[str, Any] = {**({"system": system} if system else {})}
    if label:
        wanted["labels"] = {"agent_id": label[:200]}
    found = next((each for each in draft.agents if _same(each, name) and draft.agents[each] == wanted), None)
    if found is not None:
        return found
    name = unique(name, "-", 64, {*draft.agents, *draft.known_agents})
    draft.agents[name] = wanted
    if len(draft.agents) > MAX_AGENTS:
        draft.report.wrong(pointer, ProblemCode.TOO_LARGE, f"the file names more than {MAX_AGENTS} agents")
    if not system:
        hint = f"say what it is under `agents:` of the result, or write agents/{name}.yaml and remove it there"
        draft.report.assumed(pointer, f"the file does not say what the agent `{name}` is: it has no tools here", hint)
    return name


def _same(one: str, other: str) -> bool:
    return one == other or re.fullmatch(rf"{re.escape(other)}-\d+", one) is not None


# ---------------------------------------------------------------- tools and requests


def tool(step: Making) -> dict[str, Any]:
    """One call of a tool."""
    given = step.given
    theirs = given.text("tool_name", "tool", "tool_id", "function")
    if not theirs:
        message = f"`{step.node.key}` does not name its tool"
        step.draft.report.wrong(given.pointer, ProblemCode.MISSING_KEY, message, "such as `tool_name: search`")
    place = given.find("tool_name", "tool", "tool_id", "function").pointer
    arguments = given.find("tool_args", "arguments", "args", "tool_parameters", "parameters", "params")
    with_: dict[str, Any] = {}
    if arguments:
        if isinstance(arguments.value, dict):
            with_ = step.scope.value(cast("Any", arguments.value), arguments.pointer)
        else:
            Given(step.draft.report, arguments.value, arguments.pointer)
    mapped = given.mapping("param_mapping", "parameter_mapping")
    for key in mapped.rest() if mapped is not None else ():
        assert mapped is not None
        value = step.scope.reference(Found(mapped.body[key], (*mapped.pointer, key)))
        if value is not None:
            with_[key] = template([value])
    for key, value in step.unused().items():
        with_.setdefault(key, template([value]))
    found: dict[str, Any] = {"tool": _tool_name(step, theirs, place)}
    return found | ({"with": with_} if with_ else {})


def unknown(step: Making) -> dict[str, Any]:
    """A kind of step that is not there: it becomes a call of a tool that could be."""
    theirs = str(step.node.given.body.get("step_type") or step.node.given.body.get("type") or "unknown")
    pointer = step.node.pointer
    name = _tool_name(step, theirs, pointer)
    step.lost(
        (*pointer, "step_type" if "step_type" in step.node.given.body else "type"),
        f"there is no step type `{theirs[:60]}` here: `{step.node.key}` calls a tool `{name}`",
        "write that tool (docs/tools.md), or put a step of another type there",
    )
    with_ = {key: step.scope.value(step.given.body[key], (*step.given.pointer, key)) for key in step.given.rest()}
    for key, value in step.unused().items():
        with_.setdefault(key, template([value]))
    return {"tool": name, **({"with": with_} if with_ else {})}


def _tool_name(step: Making, theirs: str, pointer: Pointer) -> str:
    if _TOOL.fullmatch(theirs):
        return theirs
    name = slug(theirs, "_", 100, "tool")
    if theirs:
        step.draft.report.differs(pointer, f"the tool `{theirs[:60]}` is called `{name}` here")
    return name


def http(step: Making) -> dict[str, Any]:
    """A request."""
    given, report = step.given, step.draft.report
    address = given.find("url", "endpoint")
    found: dict[str, Any] = {}
    method = given.text("method", "http_method").upper()
    if method and method not in _METHODS:
        place = given.find("method", "http_method").pointer
        report.wrong(place, ProblemCode.BAD_VALUE, f"there is no method `{method[:20]}`", ", ".join(_METHODS))
    elif method and method != "GET":
        found["method"] = method
    url = step.text(address) if address else ""
    if not address:
        report.wrong(given.pointer, ProblemCode.MISSING_KEY, f"`{step.node.key}` has no `url`")
    elif "${{" not in url and (said := _bad_url(url)):
        report.wrong(address.pointer, ProblemCode.BAD_VALUE, said)
    found["url"] = url
    headers = _headers(step)
    if headers:
        found["headers"] = headers
    query = given.mapping("query_params", "params", "query")
    if query is not None:
        found["query"] = {
            key: _word(step.scope.value(query.body[key], (*query.pointer, key))) for key in query.rest() if key
        }
    body = given.find("body", "json", "data", "payload")
    if body:
        value = step.scope.value(body.value, body.pointer)
        found["body" if isinstance(value, str) and not _is_one(value) else "json"] = value
    rest = {key: template([value]) for key, value in step.unused().items()}
    if rest and "body" not in found and isinstance(found.get("json", {}), dict):
        found["json"] = {**found.get("json", {}), **rest}
    elif rest:
        for key in rest:
            step.lost(step.local[key][1], f"`{key}` is not used by the request")
    return found


def _bad_url(url: str) -> str:
    try:
        sound = _URL.fullmatch(url) is not None and urlsplit(url).port != 0 and urlsplit(url).hostname
    except ValueError:
        sound = False
    return "" if sound else "an address begins with http:// or https://, and has no spaces"


def _headers(step: Making) -> dict[str, Any]:
    found: dict[str, Any] = {}
    headers = step.given.mapping("headers")
    for key in headers.rest() if headers is not None else ():
        assert headers is not None
        pointer = (*headers.pointer, key)
        value = headers.body[key]
        if value is None:
            continue
        if not _HEADER.fullmatch(key) or key.lower() in _FRAMING or isinstance(value, dict | list):
            step.lost(pointer, f"the header `{key[:60]}` cannot be set here")
            continue
        step.scope.secrets = True
        found[key] = step.scope.value(value, pointer)
        step.scope.secrets = False
        if _CREDENTIALS.search(key) and isinstance(value, str) and "${{" not in found[key]:
            step.draft.report.lost(
                pointer,
                f"the header `{key}` stands in the result as it is",
                "if it is a credential, write ${{ secrets.NAME }} instead",
                ProblemCode.SUSPICIOUS,
            )
    return found


def _word(value: Any) -> Any:
    if isinstance(value, list):
        return [_word(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        import json

        return json.dumps(value, ensure_ascii=False)
    return value


def _is_one(text: str) -> bool:
    """Whether a text is nothing but one expression, so that it becomes whatever that is."""
    return text.startswith("${{") and text.endswith("}}") and text.count("${{") == 1


# ---------------------------------------------------------------- values and time

_STATIC: Final = ("data", "static_data", "value", "output", "values")
_COMPUTED: Final = ("expression", "transformation", "transform", "template")
_SEVERAL: Final = ("expressions", "mappings", "mapping", "transformations", "fields")


def transform(step: Making) -> dict[str, Any]:
    """A value: static data, with what expressions add to it."""
    given, scope = step.given, step.scope
    static = given.find(*_STATIC)
    value = scope.value(static.value, static.pointer) if static else None
    computed = given.find(*_COMPUTED)
    if computed:
        value = _computed(step, computed)
        if static:
            step.lost(static.pointer, f"`{static.pointer[-1]}` is left out: the value is computed")
    several = given.mapping(*_SEVERAL) if isinstance(given.find(*_SEVERAL).value, dict) else None
    if several is not None:
        more = {key: _computed(step, Found(several.body[key], (*several.pointer, key))) for key in several.rest()}
        value = {**cast("Any", value), **more} if isinstance(value, dict) else more
        if static and not isinstance(static.value, dict):
            step.lost(static.pointer, f"`{static.pointer[-1]}` is left out: the value is computed")
    if not static and not computed and several is None:
        keys = given.rest()
        value = {key: scope.value(given.body[key], (*given.pointer, key)) for key in keys} or None
    rest = {key: template([operand]) for key, operand in step.unused().items()}
    if rest:
        value = {
            **(cast("Any", value) if isinstance(value, dict) else {} if value is None else {"value": value}),
            **rest,
        }
    return {"output": value}


def _computed(step: Making, found: Found) -> Any:
    """An expression; where it is none, the value with its placeholders filled in."""
    if not isinstance(found.value, str):
        return step.scope.value(found.value, found.pointer)
    if "{{" in found.value:
        return step.scope.text(found.value, found.pointer)
    step.scope.pointer = found.pointer
    try:
        return template([translate(found.value, step.scope)])
    except (Unknown, Untranslatable) as error:
        message = f"this expression cannot be translated: {error}"
        step.draft.report.lost(found.pointer, message, "it stands in the result as text", on="value")
        return step.scope.text(found.value, found.pointer)


def delay(step: Making) -> dict[str, Any]:
    """A while."""
    given = step.given
    for unit, seconds in _TIMES:
        keys = (unit, f"duration_{unit}", f"delay_{unit}", f"wait_{unit}")
        if given.has(*keys):
            return {"for": _time(step, given.find(*keys), seconds)}
    found = given.find("duration", "delay", "for", "wait", "time")
    unit = given.text("unit", "duration_unit", "delay_unit", "time_unit").lower()
    if unit and unit not in _UNITS:
        place = given.find("unit", "duration_unit", "delay_unit", "time_unit").pointer
        step.draft.report.wrong(
            place, ProblemCode.BAD_VALUE, f"`{unit[:20]}` is no unit of time", "seconds, minutes or hours"
        )
    if found:
        return {"for": _time(step, found, _UNITS.get(unit, 1))}
    message = f"`{step.node.key}` does not say how long it waits"
    step.draft.report.wrong(given.pointer, ProblemCode.MISSING_KEY, message, "such as `seconds: 30`")
    return {"for": "0s"}


def _time(step: Making, found: Found, unit: float) -> str:
    """A duration, or the expression that becomes one."""
    seconds = as_number(found.value)
    if seconds is None and isinstance(found.value, str):
        text = found.value.strip()
        words = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.lower())
        if words is not None and words[2] in _UNITS:
            seconds, unit = float(words[1]), _UNITS[words[2]]
        else:
            try:
                seconds, unit = parse_duration(text), 1
            except InvalidInput:
                filled = step.scope.text(text, found.pointer)
                if _is_one(filled):
                    inner = filled[3:-2].strip()
                    return filled if unit == 1 else f"${{{{ ({inner}) * {unit:g} }}}}"
    if seconds is None or not 0 <= seconds * unit <= MAX_DURATION:
        message = f"`{found.pointer[-1]}` must be a time between 0 and ten years"
        step.draft.report.wrong(found.pointer, ProblemCode.BAD_VALUE, message)
        return "0s"
    return format_duration(seconds * unit)


def timeout(step: Making, given: Given) -> str | None:
    """A limit of time, in whichever unit it is given."""
    known = next(((f"timeout_{unit}", each) for unit, each in _TIMES if given.has(f"timeout_{unit}")), ("timeout", 1))
    found, seconds = given.find(known[0]), known[1]
    if not found:
        return None
    text = _time(step, found, seconds)
    if text == "0s":
        step.draft.report.assumed(found.pointer, "a timeout of 0 is taken for none")
        return None
    return text


# ---------------------------------------------------------------- people and decisions


def approval(step: Making) -> dict[str, Any]:
    """A question to people."""
    given, report = step.given, step.draft.report
    asked = given.find("message", "prompt", "question")
    message = step.text(asked) if asked else ""
    if not message.strip():
        message = f"Approve {step.node.given.text('name') or step.node.key}?".replace("${{", "{{")
        report.assumed(given.pointer, f"the file does not say what `{step.node.key}` asks")
    if len(message) > MAX_MESSAGE:
        report.differs(asked.pointer, f"a question has at most {MAX_MESSAGE:,} characters: it is cut")
        message = message[: MAX_MESSAGE - 1].rpartition("${{")[0] + "…" if "${{" in message else message[:MAX_MESSAGE]
    found: dict[str, Any] = {"message": message}
    rest = {key: template([value]) for key, value in step.unused().items()}
    shown = given.find("show", "data", "context")
    if shown:
        found["show"] = step.scope.value(shown.value, shown.pointer)
    if rest:
        found["show"] = {**rest, **(found["show"] if isinstance(found.get("show"), dict) else {})}
    approvers = [_approver(step, each, "user") for each in given.items("approvers", "approver", "assignees")]
    approvers += [_approver(step, each, "group") for each in given.items("approver_role", "approver_roles", "role")]
    named = list(dict.fromkeys(each for each in approvers if each))
    if len(named) > MAX_APPROVERS:
        report.differs(given.pointer, f"there are more than {MAX_APPROVERS} approvers: the others are left out")
    if named:
        found["approvers"] = named[:MAX_APPROVERS]
    limit = timeout(step, given)
    if limit is not None:
        found["timeout"] = limit
    if given.flag("require_comment"):
        found["form"] = {"comment": {"type": "string", "required": True, "min_length": 1, "description": "Why"}}
        place = given.find("require_comment").pointer
        report.differs(place, "only who approves has to give a comment, in the form; who rejects may give one")
    return found


def _approver(step: Making, found: Found, kind: str) -> str:
    """`user:ana`, or `group:oncall`."""
    if not isinstance(found.value, str) or not found.value.strip():
        Given(step.draft.report, {"approver": found.value}, found.pointer[:-1])
        message = f"an approver is named by a text, this is {kind_of(found.value)}"
        step.draft.report.wrong(found.pointer, ProblemCode.WRONG_TYPE, message)
        return ""
    text = step.scope.text(found.value.strip(), found.pointer, only_text=False)
    before, colon, after = text.partition(":")
    if colon and before in ("user", "group"):
        named = text
    elif colon and before in ("role", "team"):
        named = f"group:{after}"
    else:
        named = text if _is_one(text) else f"{kind}:{text}"
    if len(named) > 200:
        step.draft.report.wrong(found.pointer, ProblemCode.BAD_VALUE, "an approver has at most 200 characters")
        return ""
    return named


def decide(step: Making) -> dict[str, Any]:
    """A question with two ways on; where they lead is said by those that follow."""
    given = step.given
    found = given.find("condition", "conditions", "expression", "if")
    if not found and given.has("field"):
        found = Found(
            {key: given.body[key] for key in ("field", "operator", "value") if key in given.body}, given.pointer
        )
        for key in ("field", "operator", "value"):
            given.find(key)
    if not found:
        message = f"`{step.node.key}` has no condition"
        hint = "such as `condition: \"{{input.priority}} == 'high'\"`"
        step.draft.report.wrong(given.pointer, ProblemCode.MISSING_KEY, message, hint)
        return {"if": False, "then": []}
    for name in step.unused():
        step.lost(step.local[name][1], f"`{name}` is not used by the condition")
    return {"if": condition(found, step.scope), "then": []}


# ---------------------------------------------------------------- loops

ITEMS: Final = ("items", "items_path", "over", "collection", "iterate_over", "items_expression", "list")
BODY: Final = ("steps", "body", "body_steps", "loop_steps", "step_ids", "children")
BRANCHES: Final = ("steps", "branches", "parallel_steps", "step_ids", "children", "tasks")
ITEM_NAMES: Final = ("item_variable", "item_name", "item_var", "as", "variable")
_AT_ONCE: Final = ("concurrency", "max_concurrency", "max_parallel", "parallelism")


def name_item(draft: Draft, node: Node, given: Given) -> None:
    """Say what the item of a loop is called, before the steps in it are read."""
    theirs = given.body.get(next((key for key in ITEM_NAMES if given.body.get(key)), ""), "item")
    theirs = theirs if isinstance(theirs, str) else "item"
    taken = [draft.items[around][1] for around in node.around() if around in draft.items]
    draft.items[node] = (theirs, item_name(theirs, taken))


def loop(step: Making) -> dict[str, Any]:
    """A block again and again; the steps in it are added by who puts the file together."""
    given, report, node = step.given, step.draft.report, step.node
    given.text(*ITEM_NAMES)
    ours = step.draft.items[node][1]
    items, test = given.find(*ITEMS), given.find("while", "condition", "loop_condition")
    found: dict[str, Any] = {}
    bound = given.whole("max_iterations")
    if items:
        found["over"] = _items(step, items)
        if ours != "item":
            found["as"] = ours
        if test:
            step.lost(test.pointer, f"`{test.pointer[-1]}` is left out: the loop goes through a list")
    elif test:
        step.scope.repeats = True
        question = condition(test, step.scope)
        step.scope.repeats = False
        if bound is not None:
            until = f"index < {bound}"
            question = f"({question}) and {until}" if isinstance(question, str) else {"all": [question, until]}
        found["while"] = question
    elif bound is not None:
        found["while"] = f"index < {bound}"
    else:
        message = f"`{node.key}` does not say what it goes through"
        report.wrong(given.pointer, ProblemCode.MISSING_KEY, message, 'such as `items: "{{fetch.output.rows}}"`')
    at_once = given.whole(*_AT_ONCE)
    if at_once is not None and at_once > 1 and "over" in found:
        found["concurrency"] = min(at_once, 1000)
    if items and bound is not None:
        found["max_iterations"] = min(max(bound, 1), 1_000_000)
        place = given.find("max_iterations").pointer
        report.differs(place, f"more than {bound} items fail the step here; none are left out")
    return found


def _items(step: Making, items: Found) -> Any:
    if isinstance(items.value, list):
        listed = cast("list[Any]", items.value)
        values = step.scope.value(listed, items.pointer)
        return values if not any(templates(values, ())) else _listed(step, listed, items.pointer)
    operand = step.scope.reference(items)
    return operand.text if operand is not None else []


def _listed(step: Making, items: list[Any], pointer: Pointer) -> str:
    """A list with placeholders as an expression: in a list that stands there as it is, none are evaluated."""
    text = step.scope.literal(items, pointer)
    try:
        compile_expression(text)
    except ExpressionError as error:
        message = f"this list cannot be one expression: {error}"
        hint = f"it stands in the result inside of `{UNTRANSLATED}(…)`: make it in a step before the loop"
        step.draft.report.lost(pointer, message, hint, on="value")
        return f"{UNTRANSLATED}({quoted(text[:2000])})"
    return text


MAKERS: Final[dict[str, Maker]] = {
    "agent": agent,
    "tool": tool,
    "http": http,
    "transform": transform,
    "delay": delay,
    "approval": approval,
    "condition": decide,
    "loop": loop,
    "parallel": lambda step: {},
    "unknown": unknown,
}
"""What each kind of step becomes, as fields of its own."""
TYPES: Final = {kind: kind for kind in MAKERS} | {"unknown": "tool"}
"""The `type` of each kind here."""
