"""The methods of a console as messages: arguments and results as JSON, by what the `Console` protocol says of them.

There is nothing to be kept in step by hand: a method that is added to the protocol can be called from elsewhere, too.
"""

from __future__ import annotations

import ast
import inspect
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Final, NamedTuple, cast, get_origin, get_type_hints

import msgspec
from msgspec import Struct, structs

from fleetprompt.client import protocol
from fleetprompt.client.files import WorkflowFile
from fleetprompt.client.guarded import RULES
from fleetprompt.client.http.messages import SentFile, SentStart
from fleetprompt.client.protocol import Console, StartRun
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.ports import Approval

LOCAL: Final = frozenset({"state"})
"""Methods that a console answers itself, from what others say."""


class Method(NamedTuple):
    """How a method is called from elsewhere."""

    name: str
    parameters: inspect.Signature
    """Without `self`."""
    arguments: type[Struct]
    result: Any
    """Type of what it gives; None where it streams."""

    @property
    def streams(self) -> bool:
        """It goes on giving."""
        return self.result is None

    def pack(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """A call as it is sent. Who acts is not sent: that is who has authenticated themselves."""
        given = self.parameters.bind(*args, **kwargs).arguments
        if RULES[self.name].by:
            given.pop("by", None)
        return self.write({name: _packed(self.name, name, value) for name, value in given.items()})

    def unpack(self, sent: bytes) -> dict[str, Any]:
        """The arguments of a call. Raises `InvalidInput`."""
        try:
            found = _decoder(self.arguments).decode(sent or b"{}")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput(f"`{self.name}` cannot be called so: {error}") from None
        # What is not given is left to the method itself.
        given = {name: value for name, value in structs.asdict(found).items() if value is not msgspec.UNSET}
        return given | {"by": ""} if RULES[self.name].by else given

    def write(self, value: Any) -> bytes:
        """A result, or what is given, as it is sent."""
        return msgspec.json.encode(value, enc_hook=_plain)

    def read(self, sent: bytes) -> Any:
        """A result. Raises `msgspec.DecodeError` for one of another version."""
        found = _decoder(self.result).decode(sent)
        return array("q", found) if self.name == "index" else found


def method(name: str) -> Method | None:
    """A method that can be called from elsewhere, by its name; None where there is none."""
    return _method(name) if name in RULES and name not in LOCAL else None


@cache
def _method(name: str) -> Method:
    function = getattr(Console, name)
    hints = get_type_hints(function, dict(vars(protocol)), _types() | {"array": list})
    signature = inspect.signature(function)
    parameters = [each for each in signature.parameters.values() if each.name != "self"]
    own, acts = _OWN.get(name, {}), RULES[name].by
    fields = [
        (each.name, own.get(each.name, hints[each.name]) | msgspec.UnsetType, msgspec.UNSET)
        if each.default is not each.empty or (acts and each.name == "by")
        else (each.name, own.get(each.name, hints[each.name]))
        for each in parameters
    ]
    result = hints.get("return")
    return Method(
        name,
        signature.replace(parameters=parameters),
        msgspec.defstruct(f"_{name}", fields, kw_only=True),
        None if get_origin(result) in (AsyncGenerator, AsyncIterator) else result,
    )


@cache
def _types() -> dict[str, Any]:
    """The records that the protocol names. Start-up is spared their imports (`TYPE_CHECKING`): they are made up for
    here, in its module and in those of the records, which name others in the same way."""
    found = _imported(protocol)
    for module in {import_module(each.__module__) for each in found.values()}:
        for name, each in _imported(module).items():
            vars(module).setdefault(name, each)
    return found


def _imported(module: ModuleType) -> dict[str, Any]:
    """What a module imports for its annotations alone."""
    blocks = [each for each in ast.parse(inspect.getsource(module)).body if isinstance(each, ast.If)]
    imports = [
        each
        for block in blocks
        if isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for each in block.body
        if isinstance(each, ast.ImportFrom) and each.module is not None
    ]
    return {
        alias.name: getattr(import_module(each.module), alias.name)
        for each in imports
        if each.module is not None
        for alias in each.names
    }


@cache
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


def _plain(value: Any) -> Any:
    if isinstance(value, array):
        return cast("array[int]", value).tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent")


# ---------------------------------------------------------------- what is sent otherwise than it is given


class Valued(Struct, frozen=True, omit_defaults=True):
    """What keeps a large value elsewhere: one of these."""

    fact: AnyFact | None = None
    approval: Approval | None = None

    @property
    def what(self) -> AnyFact | Approval:
        """That one. Raises `InvalidInput`."""
        found = self.fact if self.fact is not None else self.approval
        if found is None:
            raise InvalidInput("`value` is of a fact or of an approval")
        return found


_OWN: Final[dict[str, dict[str, Any]]] = {
    "start": {"request": SentStart},
    "register": {"file": SentFile},
    "register_all": {"files": list[SentFile]},
    "keep_workflow": {"file": SentFile},
    "value": {"fact": Valued},
}
"""Types of parameters that are sent otherwise, by method."""


def _packed(method: str, name: str, value: Any) -> Any:
    own = _PACK.get((method, name))
    return own(value) if own is not None else value


def _file(file: WorkflowFile) -> SentFile:
    return SentFile(file.text, file.named)


def _start(request: StartRun) -> SentStart:
    return SentStart(
        workflow=request.workflow,
        files=tuple(map(_file, request.files)),
        inputs=request.inputs,
        texts=request.texts,
        labels=request.labels,
        priority=request.priority,
        project=request.project,
        session=request.session,
        key=request.key,
        trigger=request.trigger,
    )


_PACK: Final[dict[tuple[str, str], Callable[[Any], Any]]] = {
    ("start", "request"): _start,
    ("register", "file"): _file,
    ("register_all", "files"): lambda files: [_file(each) for each in files],
    ("keep_workflow", "file"): _file,
    ("publish", "signal"): lambda signal: structs.replace(signal, by=""),
    ("value", "fact"): lambda what: Valued(approval=what) if isinstance(what, Approval) else Valued(fact=what),
}
