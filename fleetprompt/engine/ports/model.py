"""Models: what is asked of one, what it answers, and how asking can fail. Money is integer nano-USD, times are seconds.

A provider makes exactly one request per call: whether another one is made is decided, recorded and paid for by whoever
asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from msgspec import Struct

from fleetprompt.engine.core.errors import Code, FleetError

Mode = Literal["live", "local", "simulated", "replay"]
"""`local`: a server on this machine, which costs nothing. `simulated` and `replay`: no model was asked at all."""
Finish = Literal["stop", "tool_calls", "length", "content_filter"]
FailureKind = Literal[
    "not_sent", "refused", "overloaded", "timeout", "broken", "truncated", "server", "context", "answer"
]
Spent = Literal["nothing", "uncertain"]


class ToolCall(Struct, frozen=True, omit_defaults=True):
    """A call that a model asks for. `arguments` is text as the model wrote it: it may be anything."""

    name: str
    arguments: str = "{}"
    id: str = ""
    """The provider's; kept to answer it, never used as identity."""


class Message(Struct, frozen=True, omit_defaults=True):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    """`assistant`: what it asked for."""
    call_id: str = ""
    """`tool`: the call that this is the result of."""
    name: str = ""
    """`tool`: the tool's."""


class ToolSpec(Struct, frozen=True):
    """A tool as a model is told of it."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of an object."""


class Price(Struct, frozen=True, omit_defaults=True):
    """Nano-USD per token. A token that costs less than a nano-USD is a fraction."""

    input: float = 0.0
    output: float = 0.0
    cached: float | None = None
    """Per token of input that the provider had in its cache; None: as any other."""
    image: float = 0.0
    """Per image."""
    source: str = ""
    """Where it comes from, with a version: `litellm 1.106.2`, `fleet.toml`, `local`."""
    long: Price | None = None
    """What it is instead where the prompt is longer than `long_from` tokens."""
    long_from: int = 0


class ModelTarget(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model that a name stands for."""

    name: str
    """As it was asked for: an alias, or the model itself."""
    model: str
    """Provider and model, such as `openai/gpt-4o-mini`, `simulated/script`, `replay/<run>`."""
    mode: Mode = "live"
    api_base: str = ""
    credential: str = ""
    """Name of the secret, or of the environment variable as `env:NAME`, that holds the key; never the key."""
    price: Price | None = None
    """None: nobody knows what it costs."""
    context: int | None = None
    """Tokens that fit in; None: unknown."""
    headers: Mapping[str, str] = {}
    idle: float = 60.0
    """Seconds without a chunk after which a stream counts as dead."""
    first: float = 180.0
    """Seconds until the first chunk: a model that reads a long prompt, or thinks, is silent for longer."""
    timeout: float = 600.0
    """Seconds that one request may take in all."""
    discovered: bool = False
    """A server on this machine that nobody has configured: what its model can do is not known."""


class ModelRequest(Struct, frozen=True, kw_only=True):
    """What is asked. Everything in it is recorded, so nothing in it is secret."""

    target: ModelTarget
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    max_tokens: int
    """Of the answer; always sent, for it is what a reservation counts with."""
    temperature: float | None = None
    schema: Mapping[str, Any] | None = None
    """JSON Schema that the text of the answer must fit, told to providers that can take it."""
    choice: Literal["auto", "required", "none"] = "auto"
    """Whether it may, must or must not call tools."""
    key: str = ""
    """Positional key of the call with the attempt at it, sent as `x-fleetprompt-call`."""
    traceparent: str = ""
    """Where in a trace the request is made, sent as the header of that name; empty where nothing is traced."""
    about: Mapping[str, Any] = {}
    """For scripts and recordings only, not sent: `workflow`, `step`, `agent`, `turn` (from 0), `inputs`, `vars`, and
    `results`, a list of `{tool, arguments, result}` as tools returned them; without it, `messages` are read."""


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens of one request."""

    input: int = 0
    output: int = 0
    """With reasoning."""
    cached: int = 0
    """Of the input."""
    reasoning: int = 0
    """Of the output."""
    source: Literal["provider", "estimated"] = "provider"

    @property
    def total(self) -> int:
        return self.input + self.output


class ModelAnswer(Struct, frozen=True, kw_only=True):
    """A whole answer: a stream that ended without a real finish reason is none."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish: Finish = "stop"
    usage: Usage = Usage()
    model: str = ""
    """As the provider names it."""
    cost_nano: int | None = None
    """None: nobody knows, or nothing was spent because no model was asked."""
    price: str = ""
    """Source of the price, with its version."""
    seconds: float = 0.0
    first: float | None = None
    """Seconds until the first chunk."""


class Delta(Struct, frozen=True, omit_defaults=True):
    """A piece of an answer that is being received. It is shown and forgotten."""

    kind: Literal["text", "reasoning", "tool_name", "tool_args", "status", "reset"]
    """`status`: what is done before the model is asked. `reset`: what came before is void, another attempt begins."""
    text: str = ""
    call: int = 0
    """Which of the calls, for `tool_name` and `tool_args`."""


OnDelta = Callable[[Delta], None]


class ModelFailed(FleetError):
    """A request to a model came to nothing."""

    code: Code = "AGENT_ERROR"

    def __init__(
        self,
        message: str,
        *,
        kind: FailureKind,
        code: Code = "AGENT_ERROR",
        retryable: bool,
        spent: Spent,
        retry_after: float | None = None,
        status: int | None = None,
        received: int = 0,
        hint: str = "",
    ) -> None:
        """`spent`: whether the provider may bill it. `received`: tokens of output that came, estimated."""
        super().__init__(message, hint=hint)
        self.kind: FailureKind = kind
        self.code = code
        self.retryable = retryable
        self.spent: Spent = spent
        self.retry_after = retry_after
        self.status = status
        self.received = received


class ImageRequest(Struct, frozen=True, kw_only=True):
    """A picture that is asked for."""

    target: ModelTarget
    prompt: str
    size: str = "1024x1024"
    key: str = ""
    about: Mapping[str, Any] = {}


class ImageAnswer(Struct, frozen=True, kw_only=True):
    """A picture."""

    data: bytes
    media_type: str
    usage: Usage = Usage()
    """Of models that are paid by their tokens."""
    cost_nano: int | None = None
    price: str = ""
    model: str = ""
    seconds: float = 0.0
    revised_prompt: str = ""


class EmbeddingAnswer(Struct, frozen=True, kw_only=True):
    """Vectors of texts, in their order."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage = Usage()
    cost_nano: int | None = None
    price: str = ""
    model: str = ""


class Provider(Protocol):
    """One way of asking models; each method makes exactly one request, or none. Raises `ModelFailed`."""

    async def answer(self, request: ModelRequest, credential: str, on_delta: OnDelta) -> ModelAnswer:
        """The answer, received as a stream."""
        ...

    async def image(self, request: ImageRequest, credential: str) -> ImageAnswer: ...

    async def embed(self, target: ModelTarget, texts: Sequence[str], credential: str) -> EmbeddingAnswer: ...

    async def count(self, target: ModelTarget, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        """Tokens that a prompt takes, estimated from above."""
        ...


@runtime_checkable
class Loads(Protocol):
    """A provider of which a part is loaded when it is first asked, which takes seconds."""

    @property
    def loaded(self) -> bool:
        """Whether it is."""
        ...

    async def load(self) -> None:
        """Load it, beside whatever else goes on."""
        ...


class Probe(Struct, frozen=True):
    """Whether a model calls a tool when it is told to."""

    ok: bool
    said: str
    """What it did instead; empty when it did."""
    answered: bool = True
    """False: it could not be asked just now, which says nothing about it."""


class Models(Protocol):
    """All models that this installation knows."""

    async def find(self, name: str) -> ModelTarget:
        """What a name stands for; empty: `default`. Raises `NotFound` or `InvalidInput`, with the remedy: an explicitly
        named model is never replaced by another one."""
        ...

    def fallbacks(self, name: str) -> Sequence[str]:
        """Names of the models that are asked instead when that one fails, in order."""
        ...

    def provider(self, target: ModelTarget) -> Provider: ...

    def reveal(self, target: ModelTarget) -> str:
        """The key of a model, at the last moment; empty where none is needed. Raises `NotFound`."""
        ...

    def probed(self, target: ModelTarget) -> Probe | None:
        """What is known already of whether a model calls tools."""
        ...

    async def probe(self, target: ModelTarget) -> Probe:
        """Whether a model calls a tool when it is told to: asked once, by a request of its own, and remembered."""
        ...
