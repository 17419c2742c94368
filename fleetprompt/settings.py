"""Settings: `fleet.toml`, then the environment, then flags. Read by the command line and the daemon only.

The project is the nearest folder upwards that holds `fleet.toml` or `.fleet/`; its state lives in `.fleet/`.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeAlias,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import fields

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.notice_settings import NoticeSettings, notice_faults
from fleetprompt.engine.core.plan import Guardrails
from fleetprompt.engine.core.signal_settings import SignalRule, signal_faults
from fleetprompt.engine.core.subscription_settings import SubscriptionSettings, subscription_faults
from fleetprompt.engine.llm.settings import NANO, ModelSettings, Tokens, faults

if TYPE_CHECKING:
    from fleetprompt.engine.definition.problems import Problem, ProblemCode

FILE = "fleet.toml"
STATE = ".fleet"

Text: TypeAlias = Annotated[str, Meta(description='text in quotes, such as "a"')]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000, description="a whole number of at least 1, such as 8")]
Amount: TypeAlias = Annotated[float, Meta(ge=0, le=1e6, description="a number of at least 0, such as 1.5")]
Table: TypeAlias = Annotated[dict[str, Any], Meta(description="a table")]
Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535, description="a port: 0 to 65535")]
LocalRole: TypeAlias = Annotated[
    Literal["viewer", "operator", "approver", "admin", "none"],
    Meta(description="viewer, operator, approver, admin or none"),
]
Names: TypeAlias = Annotated[list[str], Meta(description='a list of names, such as ["ana", "ben"]')]


class FleetGuardrails(Struct, frozen=True, kw_only=True):
    """What all runs of a project together may use in a day (UTC); what is not written is not limited."""

    requests: Count | None = None
    """Requests to models."""
    tokens: Tokens | None = None
    tool_calls: Count | None = None
    cost_usd: Amount | None = None

    @property
    def compiled(self) -> Guardrails | None:
        """As the engine knows limits; None where nothing is limited."""
        nano = round(self.cost_usd * NANO) if self.cost_usd is not None else None
        found = Guardrails(self.requests, self.tokens, self.tool_calls, nano)
        return found if found.limits else None


class Serve(Struct, frozen=True, kw_only=True):
    """How `fleet serve` listens, and whom it lets in."""

    host: Text = "127.0.0.1"
    port: Port = 8377
    tls_cert: Text = ""
    """File of the certificate chain (PEM), from the project's folder."""
    tls_key: Text = ""
    local_role: LocalRole = "admin"
    """What those may do who come from this machine without a token; `none`: they need one, too."""
    hosts: Names = []
    """Names by which the daemon is called, besides those of this machine."""
    origins: Names = []
    """Pages that may call it from a browser, such as `https://ops.example.com`."""


class Telemetry(Struct, frozen=True, kw_only=True):
    """What `fleet serve` tells of itself."""

    otlp_endpoint: Text = ""
    """Base URL of an OTLP/HTTP receiver, such as `http://127.0.0.1:4318`. Environment: OTEL_EXPORTER_OTLP_ENDPOINT."""
    otlp_headers: dict[str, Text] = {}
    """Sent with it; `env:NAME` is the value of a variable."""
    service: Text = "fleetprompt"
    stuck_after: Amount = 1800.0
    """Seconds that work may be under way without any fact before its run counts as stuck."""


class Settings(Struct, frozen=True, kw_only=True):
    """What a project says about itself."""

    database: Text = ""
    """URL or path of the store; empty: `.fleet/fleet.db`. Environment: FLEET_DATABASE_URL."""
    workflows: Text = "workflows"
    """Folder of the workflow files."""
    max_runs: Count | None = None
    """Active runs in the whole fleet. Environment: FLEET_MAX_RUNS."""
    pools: dict[str, Count] = {}
    """Places of step pools by name."""
    threads: Count = 64
    """Threads for functions that block."""
    grace: Amount = 10.0
    """Seconds that work may take to finish when the engine closes."""
    groups: dict[str, Names] = {}
    """Groups of operators, for `approvers: [group:NAME]`."""
    models: dict[str, ModelSettings] = {}
    """Models by the names that agents use for them; the one that is used where none is named is `default`."""
    guardrails: FleetGuardrails = FleetGuardrails()
    """What all runs together may spend in a day (UTC)."""
    tools: Table = {}
    """What tools may do, by family: `[tools.http]`. docs/tools.md; looked at by the tools themselves."""
    mcp: Table = {}
    """MCP servers by name: `[mcp.desk]`."""
    policy: Table = {}
    """Rules about calls of tools, besides those of `policy.toml`."""
    serve: Serve = Serve()
    """The daemon."""
    notifications: dict[str, NoticeSettings] = {}
    """Who is notified of what waits for people and of what went wrong: `[notifications.NAME]`."""
    telemetry: Telemetry = Telemetry()
    """What it tells of itself."""
    subscriptions: dict[str, SubscriptionSettings] = {}
    """Who is told of signals that leave runs: `[subscriptions.NAME]`."""
    signals: dict[str, SignalRule] = {}
    """What is checked and changed as signals come in, by pattern of their types: `[signals."deploy.*"]`."""
    log_retention_days: Amount = 14.0
    retention_days: Amount = 90.0
    """Days for which finished runs are kept, and their logs; `fleet db prune` deletes what is older."""
    retention: dict[str, Amount] = {}
    """Days of their own for the runs of some workflows, by pattern of their names; the first that fits counts."""


class Project(Struct, frozen=True):
    """Where we are."""

    root: Path
    settings: Settings
    problems: tuple[Problem, ...] = ()
    """What is wrong with `fleet.toml`: `settings` is what remains of it."""
    aliases: frozenset[str] = frozenset()
    """Models that are written there, those that cannot be used among them."""
    unread: bool = False
    """Nobody knows what is written there: it cannot be read."""

    @property
    def state(self) -> Path:
        """Folder of the project's state."""
        return self.root / STATE

    @property
    def database(self) -> str:
        """URL or path of the store."""
        return self.settings.database or str(self.state / "fleet.db")

    @property
    def workflows(self) -> Path:
        return self.root / self.settings.workflows


def find_root(start: Path) -> Path:
    """The nearest folder upwards with `fleet.toml` or `.fleet/`, or the start itself."""
    for folder in (start, *start.parents):
        if (folder / FILE).is_file() or (folder / STATE).is_dir():
            return folder
    return start


def load_project(start: Path | None = None, *, database: str = "") -> Project:
    """The project of a folder. Raises `InvalidInput` for settings that cannot be used, each fault with its place."""
    project = read_project(start, database=database)
    if project.problems:
        from fleetprompt.engine.definition.problems import InvalidFile

        raise InvalidFile(project.problems)
    return project


def read_project(start: Path | None = None, *, database: str = "") -> Project:
    """The project of a folder as far as its settings can be used, with what is wrong with its file. Raises
    `InvalidInput` for what stands in the environment."""
    root = find_root((start or Path.cwd()).resolve())
    written = _from_file(root)
    values = {**written.values, **_from_environment(os.environ)}
    if database:
        values["database"] = database
    return Project(root, convert(values, Settings), written.problems, written.aliases, written.unread)


class _Written(NamedTuple):
    """What stands in the file: what of it can be used, what is wrong with it, and the models by name."""

    values: dict[str, Any]
    problems: tuple[Problem, ...] = ()
    aliases: frozenset[str] = frozenset()
    unread: bool = False


def _from_file(root: Path) -> _Written:
    path = root / FILE
    if not path.is_file():
        return _Written({})
    from fleetprompt.client.files import shown
    from fleetprompt.engine.definition.problems import InvalidFile, ProblemCode
    from fleetprompt.engine.definition.toml import TomlFile

    try:
        file = TomlFile(path, shown(path))
    except InvalidFile as error:
        return _Written({}, error.problems, unread=True)
    models = file.values.get("models")
    aliases = frozenset(cast("dict[str, Any]", models)) if isinstance(models, dict) else frozenset[str]()
    values, misfits = _usable(file.values)
    problems = [file.at(*misfit) for misfit in misfits]
    known = convert(values.get("models", {}), dict[str, ModelSettings])
    problems += [
        file.at(["models", *at], ProblemCode.BAD_VALUE, said, hint) for at, said, hint in faults(known, aliases)
    ]
    rules = convert(values.get("signals", {}), dict[str, SignalRule])
    problems += [
        file.at(["signals", *at], ProblemCode.BAD_VALUE, said, hint) for at, said, hint in signal_faults(rules)
    ]
    told = convert(values.get("subscriptions", {}), dict[str, SubscriptionSettings])
    problems += [
        file.at(["subscriptions", *at], ProblemCode.BAD_VALUE, said, hint)
        for at, said, hint in subscription_faults(told)
    ]
    notified = convert(values.get("notifications", {}), dict[str, NoticeSettings])
    problems += [
        file.at(["notifications", *at], ProblemCode.BAD_VALUE, said, hint) for at, said, hint in notice_faults(notified)
    ]
    database = str(values.get("database", "")).removeprefix("sqlite:///")
    if database and "://" not in database:
        # What a file says starts at the file, what a person types starts where the person is.
        values["database"] = str(root / database)
    return _Written(values, tuple(problems), aliases)


def _usable(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Misfit]]:
    """The values without those that do not fit, and what was wrong with these."""
    left = deepcopy(dict(values))
    told: list[Misfit] = []
    while found := list(_misfits([], left, Settings)):
        # What is missing because it did not fit was told already.
        told += found if not told else ()
        for place in sorted({tuple(each[0]) for each in found}, key=len, reverse=True):
            table = left
            for key in place[:-1]:
                table = table[key]
            table.pop(place[-1], None)
    return left, told


Misfit = tuple[list[str], "ProblemCode", str, str]


def _misfits(place: list[str], value: Any, type_: Any) -> Iterator[Misfit]:
    """What does not fit a type: where it is, and what is wanted there."""
    from fleetprompt.engine.definition.problems import ProblemCode

    options = [option for option in get_args(type_) if isinstance(option, type) and issubclass(option, Struct)]
    if get_origin(type_) is dict or options or (isinstance(type_, type) and issubclass(type_, Struct)):
        if not isinstance(value, dict):
            hint = f"a table: write [{'.'.join(place)}], and its entries below it"
            yield place, ProblemCode.WRONG_TYPE, f"`{'.'.join(place)}` must be {hint}", ""
        elif get_origin(type_) is dict:
            for name, item in value.items():
                yield from _misfits([*place, name], item, get_args(type_)[1])
        else:
            yield from _table(place, value, options[0] if options else type_)
        return
    try:
        convert(value, type_)
    except ValidationError:
        metas = (meta for each in (type_, *get_args(type_)) for meta in getattr(each, "__metadata__", ()))
        wanted = next(metas).description
        yield place, ProblemCode.WRONG_TYPE, f"`{'.'.join(place)}` must be {wanted}", ""


def _table(place: list[str], values: Mapping[str, Any], type_: type[Struct]) -> Iterator[Misfit]:
    from fleetprompt.engine.core.closest import did_you_mean
    from fleetprompt.engine.definition.problems import ProblemCode

    hints = get_type_hints(type_, include_extras=True)
    known = {field.encode_name: hints[field.name] for field in fields(type_)}
    inside = f" in [{'.'.join(place)}]" if place else ""
    for key, value in values.items():
        if key not in known:
            hint = did_you_mean(key, known) or f"settings are {', '.join(known)}"
            yield [*place, key], ProblemCode.UNKNOWN_KEY, f"there is no setting `{key}`{inside}", hint
        else:
            yield from _misfits([*place, key], value, known[key])
    for field in fields(type_):
        if field.required and field.encode_name not in values:
            yield place, ProblemCode.MISSING_KEY, f"`{field.encode_name}` is missing{inside}", ""


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if environment.get("FLEET_DATABASE_URL"):
        values["database"] = environment["FLEET_DATABASE_URL"]
    if text := environment.get("FLEET_MAX_RUNS"):
        try:
            values["max_runs"] = convert(text, Count, strict=False)
        except ValidationError:
            raise InvalidInput(f"FLEET_MAX_RUNS must be a whole number of at least 1, not {text!r}") from None
    return values


def operator() -> str:
    """Who is at the keyboard: the user of the operating system. Variables such as LOGNAME are anybody's to set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"
