"""Tools: what an agent, or a `tool` step, can do in the world, and what is known of it beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from msgspec import Struct

from fleetprompt.engine.ports.budget import Caps
from fleetprompt.engine.ports.memory import ToolMemory
from fleetprompt.engine.ports.model import ToolSpec
from fleetprompt.engine.ports.world import Outcome

Reach = Literal["read", "write"]
Verdict = Literal["allow", "ask", "deny"]
ActionType = Literal[
    "llm_call",
    "tool_execution",
    "code_generation",
    "file_read",
    "file_write",
    "database_query",
    "api_call",
    "publish",
    "decision_point",
    "wait",
]
"""What kind of thing an agent does."""


class Preview(Struct, frozen=True, omit_defaults=True):
    """Exactly what a call would do, for people to decide about. What is shown is what is hashed and executed."""

    summary: str
    """One line: `git push origin main`, `POST http://…`."""
    kind: Literal["argv", "diff", "sql", "http", "json", "text"] = "json"
    show: Any = None
    """argv as a list, a unified diff or SQL as text, `{method, url, headers, body}`, else the arguments."""
    risk: str = ""
    """What makes it risky; empty for what only reads."""
    bound: Any = None
    """What else the decision depends on, such as the digest of the file that an edit was made for. The call is given it
    as `ToolRoom.bound`: where it has changed since, the tool does nothing and fails."""
    subject: Mapping[str, Any] = {}
    """What argument patterns of the policy are matched against: arguments in one spelling only, and what follows from
    them: `argv`, `path`, `host` (with its port), `method`, `database`, `remote` …"""
    covers: Mapping[str, Any] | None = None
    """What a later call has to be, to the letter, to go through where people allow such calls for a run or a workflow:
    all that was shown. Long texts stand here by their digests. None: nothing does."""
    reach: Reach | None = None
    """Of this call; None: as the tool's, and so are the next two."""
    repeat: Literal["safe", "never"] | None = None
    verdict: Verdict | None = None
    """`deny`: `risk` says why. Only a rule that is written for such calls (`refused = true`) lets it through."""


class ToolInfo(Struct, frozen=True, kw_only=True):
    """What is known of a tool before it is called."""

    spec: ToolSpec
    reach: Reach = "write"
    repeat: Literal["safe", "never"] = "never"
    """Whether it may be called again when nobody knows if it took effect."""
    verdict: Verdict = "ask"
    """What happens to a call that no rule of the policy is about."""
    untrusted: bool = False
    """Its result comes from outside, and may be written to deceive."""
    parallel: bool = False
    """Several calls may run beside each other."""
    waits: bool = False
    """It waits for others (a person, another run, a timer): it is no sign of being stuck."""
    reconciles: bool = False
    """It can find out whether a call took effect."""
    action: ActionType = "tool_execution"
    """Of which type its calls are on the record."""
    origin: str = "built-in"
    """`built-in`, `python module:function`, `mcp SERVER`."""


class Judgement(Struct, frozen=True):
    """What a policy says about a call."""

    verdict: Verdict
    rule: str
    """The rule that decided, with its place, for people."""
    by_grant: bool = False
    """It was people who have allowed such calls for a while."""


class EditedCall(Struct, frozen=True, kw_only=True):
    """A call as somebody wants to change it before approving it, looked at but for `unseen`."""

    arguments: Mapping[str, Any]
    """All of them."""
    show: Mapping[str, Any] = {}
    """What it would do, as the question shows what was asked: tool, kind, `does` …; nothing where nobody could look."""
    edited: str = ""
    previewed: str = ""
    """Its digests (`core/edited.py`), which go with the decision."""
    unseen: str = ""
    """Why nobody could look at it here, for people; empty where somebody has."""


class Startable(Struct, frozen=True, kw_only=True):
    """A workflow as it would be started now."""

    workflow: str
    plan: str
    """Digest of its plan."""
    description: str
    inputs: Mapping[str, Any]
    """With its defaults."""
    caps: Caps
    """What one run of it may use; nothing in it where it has no limit of its own."""
    above: Sequence[tuple[str, Caps]] = ()
    """The limits in which it would run besides, by their scopes."""


class ToolRoom(Protocol):
    """Where a call takes place: what it may touch, and how it reaches the world."""

    @property
    def root(self) -> Path:
        """The workspace: paths of arguments start here and never leave it."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What `fleet.toml` and the agent say about this tool: allowed hosts, databases, programs, limits."""
        ...

    @property
    def key(self) -> str:
        """Idempotency key: the same for every attempt at this call."""
        ...

    @property
    def traceparent(self) -> str:
        """Where the call is in a trace (W3C), for whoever is called; empty where nobody is told of traces."""
        ...

    @property
    def run(self) -> str: ...

    @property
    def tenant(self) -> str: ...

    @property
    def timeout(self) -> float | None: ...

    @property
    def bound(self) -> Any:
        """`Preview.bound` of what was decided, as it was then; None: nothing was looked at beforehand."""
        ...

    def log(
        self,
        text: str,
        level: Literal["debug", "info", "warning", "error", "stdout", "stderr"] = "info",
        data: Any = None,
    ) -> None:
        """Write to the step's log."""
        ...

    def secret(self, name: str) -> str:
        """The value of a secret, at the last moment. Raises `NotFound`."""
        ...

    async def startable(self, workflow: str, inputs: Mapping[str, Any]) -> Startable:
        """A workflow with these inputs. Raises `NotFound`, `Refused` for one that must not be started, `InvalidInput`
        for inputs that do not fit."""
        ...

    @property
    def memory(self) -> ToolMemory:
        """What is remembered from one run to the next. Raises `Refused` where whoever calls has no memory."""
        ...

    async def runs(self, process: Mapping[str, Any]) -> None:
        """Note a program of the call (`outside.process.identity`) before it may do anything: where this engine dies, a
        later one kills it before the call is made again. `shared`: other calls use it, too. It is durable when this
        returns. Nothing is noted of what only looks: of a preview, of a tool that only reads."""
        ...

    async def in_thread(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a blocking function."""
        ...

    async def keep(self, content: bytes) -> str:
        """Keep what a call is about to replace, so that it can be brought back. Its SHA-256 in hexadecimal digits."""
        ...

    async def kept(self, digest: str) -> bytes:
        """What was kept under that digest. Raises `NotFound`."""
        ...


class Tool(Protocol):
    """One tool. Arguments went through `check` when another method is called."""

    @property
    def info(self) -> ToolInfo: ...

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Whether arguments fit the schema. Raises `InvalidInput`: what is wrong where, and what is allowed, for the
        model that wrote them to act on."""
        ...

    async def preview(self, arguments: Mapping[str, Any], room: ToolRoom) -> Preview:
        """What the call would do; it changes nothing. Raises `InvalidInput` for arguments that fit the schema and still
        cannot be meant: a path outside the workspace, a host that is not allowed."""
        ...

    async def call(self, arguments: Mapping[str, Any], room: ToolRoom) -> Outcome:
        """Do it. A definite failure is `Failed`, one of which nobody knows whether it took effect `Unknown`."""
        ...

    async def reconcile(self, arguments: Mapping[str, Any], room: ToolRoom) -> Outcome | None:
        """Find out whether a call took effect: `Done` it did, `Failed` it did not, None nobody can tell. It changes
        nothing, and is asked with the `key` and the `bound` of that call."""
        ...
