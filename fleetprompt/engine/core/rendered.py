"""The fields of a step once their expressions are evaluated, and what those of the core's own kinds may hold then.

What stands in the file was checked when it was read. A computed value is seen here for the first time: an error says
which field it is (`where`, a JSON pointer) and what it was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.duration import parse_duration, parse_time
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.expr import NeedsValue, NotLoaded
from fleetprompt.engine.core.expr_json import to_text
from fleetprompt.engine.core.expr_values import Meter, quote
from fleetprompt.engine.core.names import names, value_of
from fleetprompt.engine.core.program import Compiled
from fleetprompt.engine.core.signal import MAX_PATTERN, MAX_TYPE, PATTERN, RESERVED, TYPE
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.engine.core.template import SecretRef

T = TypeVar("T")
Secrets = dict[str, list[Any]]
LAST_MOMENT = 253_402_300_799
"""The end of the year 9999, in seconds since 1970."""
MAX_QUORUM = 50
MAX_APPROVERS = 50
RUN_STARTER: Final = "run.starter"
"""Who can be kept from deciding: whoever has had a part in starting the run."""
MAX_GROUP = 500
MAX_SUBJECT = 1_000


def render_config(run: Run, step: Step, compiled: Compiled, extra: dict[str, Any] | None = None) -> tuple[Any, Secrets]:
    """The rendered configuration and where secrets belong in it. Raises `ExpressionError`, `NeedsValue`."""
    assert compiled.value is not None
    if not compiled.roots and not compiled.value.secret_names:
        return compiled.value.render({}).value, {}
    result = compiled.value.render(names(run, step.scope, compiled, extra))
    secrets = {
        pointer: [{"secret": part.name} if isinstance(part, SecretRef) else part for part in parts]
        for pointer, parts in result.secrets.items()
    }
    return result.value, secrets


def loaded(run: Run, value: Any) -> Any:
    """A value that may have been spilled; of one that is too large, its reference. Raises `NeedsValue`."""
    found = value_of(run, value)
    if isinstance(found, NotLoaded):
        raise NeedsValue(found.digest)
    return found


# ---------------------------------------------------------------- what a field may hold
# All raise `InvalidInput`. Where a field can be left out, one that was computed to be null is left out.


def duration(config: dict[str, Any], key: str, within: str = "") -> float:
    """Seconds of a duration."""
    return _read(config, key, within, parse_duration)


def timeout(config: dict[str, Any], within: str = "") -> float | None:
    """Seconds after which waiting ends; None: never."""
    return duration(config, "timeout", within) if config.get("timeout") is not None else None


def moment(config: dict[str, Any], key: str) -> float:
    """Seconds since the epoch of a time."""
    return _read(config, key, "", _moment)


def quorum(config: dict[str, Any]) -> int:
    """How many people must approve."""
    return _read(config, "quorum", "", _quorum) if config.get("quorum") is not None else 1


def people(config: dict[str, Any], key: str, within: str = "") -> tuple[str, ...]:
    """Who is asked; empty when everybody may answer. An entry that is computed can be a list."""
    given = config.get(key)
    if isinstance(given, dict):
        config, key, within = mapping(given), "any_of", f"{within}/{key}"
    return _read(config, key, within, _people) if config.get(key) is not None else ()


def excluded(config: dict[str, Any], key: str) -> tuple[str, ...]:
    """Who may not answer, in the words of the file, which are not computed: see `RUN_STARTER`."""
    return tuple(str(word) for word in items(mapping(config.get(key)).get("not")))


def quorum_problem(wanted: int, approvers: Sequence[str], barred: Sequence[str] = ()) -> str:
    """Why these, without the `barred`, can never be as many as must approve; empty when they can, as everybody and
    every group may."""
    if not approvers or any(who.startswith("group:") for who in approvers):
        return ""
    able = {who.removeprefix("user:") for who in approvers} - {who.removeprefix("user:") for who in barred}
    if wanted <= len(able):
        return ""
    left = f"{len(able) or 'nobody'}{'' if not able else ' person' if len(able) == 1 else ' people'}"
    without = f" but {', '.join(barred)}, who started the run and may not" * bool(barred)
    return f"{wanted} {'approval' if wanted == 1 else 'approvals'} can never come from {left}{without}"


def group(value: Any) -> str:
    """The name of a critical section."""
    if isinstance(value, dict | list) or value is None or not 0 < len(text := to_text(value, Meter())) <= MAX_GROUP:
        raise InvalidInput(f"the name of a group is text of 1 to {MAX_GROUP} characters: {_shown(value)}")
    return text


def sent_type(config: dict[str, Any]) -> str:
    """Type of a signal that is sent. The engine's own are commands, which no value may become."""
    return _read(config, "signal", "", _sent_type)


def heard_type(config: dict[str, Any]) -> str:
    """Pattern of the types that are waited for."""
    return _read(config, "signal", "", _heard_type)


def subject(config: dict[str, Any]) -> str:
    """The subject that is waited for; empty when any will do."""
    return _read(config, "key", "", _subject)


def _subject(value: Any) -> str:
    text = "" if value is None else str(value)
    if len(text) > MAX_SUBJECT:
        raise InvalidInput(f"a subject has at most {MAX_SUBJECT} characters")
    return text


def _read(config: dict[str, Any], key: str, within: str, read: Callable[[Any], T]) -> T:
    value = config.get(key)
    try:
        return read(value)
    except InvalidInput as error:
        raise InvalidInput(f"{error.message}: {_shown(value)}", where=f"{within}/{key}", hint=error.hint) from None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return quote(value) if isinstance(value, str) else "null" if value is None else str(value).lower()[:64]


def _moment(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value <= LAST_MOMENT:
        raise InvalidInput("a time as a number is seconds since 1970")
    return parse_time(value)


def _quorum(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_QUORUM:
        raise InvalidInput(f"a quorum is a whole number from 1 to {MAX_QUORUM}")
    return value


def _people(value: Any) -> tuple[str, ...]:
    entries = items(value)
    found = [person for entry in entries for person in items(entry)]
    if not all(isinstance(person, str) and person for person in found):
        raise InvalidInput("approvers are texts such as `user:ana` or `group:oncall`")
    if entries and not found:
        raise InvalidInput("it names nobody", hint="to let everybody decide, leave it out")
    if len(found) > MAX_APPROVERS:
        raise InvalidInput(f"these are {len(found)} approvers, there can be {MAX_APPROVERS}", hint="name a group")
    return tuple(found)


def _sent_type(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TYPE or not re.fullmatch(TYPE, value):
        raise InvalidInput("the type of a signal is words separated by dots, such as `deploy.finished`")
    if f"{value}.".startswith(RESERVED):
        raise InvalidInput(f"signal types that begin with `{RESERVED}` are the engine's own")
    return value


def _heard_type(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_PATTERN or not re.fullmatch(PATTERN, value):
        raise InvalidInput("a signal pattern is words separated by dots; `*` stands for one, `**` for any number")
    if f"{value}.".startswith(RESERVED):
        raise InvalidInput(f"signals of the engine's own (`{RESERVED}*`) are heard by no `wait`")
    return value
