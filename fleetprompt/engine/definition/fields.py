"""What the fields of a workflow file can hold, and what each kind of text in them means.

A text is a template (`${{ … }}`, the default), a bare expression, a condition, or literal. Which one it is stands in
the field's type, and the linter reads it from there: there is no second list to keep in step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from fleetprompt.engine.core.plan import Test
from fleetprompt.engine.core.signal import MAX_TYPE, TYPE
from fleetprompt.engine.definition.problems import ProblemCode
from fleetprompt.engine.definition.scalars import DurationField as DurationField

T = TypeVar("T")

RENDERED: Final = "rendered"
"""Key of the validation context that says: these are values, not templates."""
MODELS: Final = "models"
"""Key of the validation context under which valid steps are filed, by the `id()` of the mapping they were read from."""
USUAL_NAMES: Final = frozenset({"inputs", "trigger", "vars", "steps", "run", "last_run"})
"""Root names that expressions of every step see."""
DEFINITION: Final = "x-definition"
TEMPLATE: Final = "${{"
TEMPLATE_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": r"\$\{\{"}


def definition(name: str) -> dict[str, Any]:
    """Stands for a definition that `schema.py` makes itself; pydantic follows every `$ref` it finds."""
    return {DEFINITION: name}


class Bare:
    """Marks a field whose text is an expression without `${{ }}`."""


class Condition:
    """Marks a field that holds a condition: a bare expression, true or false, or the structured form."""


class Verbatim:
    """Marks a field whose text is taken as it is: expressions in it are never evaluated."""


class Sees:
    """Names that the expressions of a field see besides the usual ones."""

    def __init__(self, *names: str) -> None:
        self.names = names


class StepList:
    """Marks a field that holds blocks: a list of steps, or several by name."""


class StepBody:
    """Marks a field that holds one step without an id."""


class Templatable:
    """Makes a field take its own type, or a text that holds `${{ }}` and will become that type."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_wrap_validator_function(_template_or, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        inner = handler(schema)
        return inner if inner.get("type") == "string" and len(inner) == 1 else {"anyOf": [inner, TEMPLATE_SCHEMA]}


def _template_or(value: Any, inner: core_schema.ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    rendered = info.context is not None and info.context.get(RENDERED)
    if not rendered and isinstance(value, str) and TEMPLATE in value:
        return value
    return inner(value)


Templated: TypeAlias = Annotated[T, Templatable()]
"""`Templated[int]`: an integer, or a text with `${{ }}`. The static type is that of the rendered value: in a model
that was read from a file the value can still be text, and nothing but `config()` should touch it there."""


def wrong(message: str, hint: str = "", code: ProblemCode = ProblemCode.BAD_VALUE) -> PydanticCustomError:
    """The problem with a value, as validators raise it."""
    return PydanticCustomError(code.value, "{message}", {"message": message, "hint": hint})  # pyright: ignore[reportArgumentType] it asks for literal text


def either(model: BaseModel, first: str, second: str, message: str) -> None:
    """Check that exactly one of two fields is set. Raises what `wrong` returns."""
    count = (getattr(model, first) is not None) + (getattr(model, second) is not None)
    if count != 1:
        raise wrong(message, code=ProblemCode.CONFLICTING_KEYS if count else ProblemCode.MISSING_KEY)


def needs_one_of(*keys: str) -> ConfigDict:
    """What `either` checks, for editors."""
    return ConfigDict(json_schema_extra={"anyOf": [{"required": [key]} for key in keys]})


def _condition(value: Any) -> Test:
    if isinstance(value, str | bool | dict):
        return cast("Test", value)
    raise wrong("a condition is an expression, true or false, or {field, operator, value}", code=ProblemCode.WRONG_TYPE)


def _bare(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool | int | float):
        return "none" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    raise wrong("an expression is written as text", code=ProblemCode.WRONG_TYPE)


TestField: TypeAlias = Annotated[Test, PlainValidator(_condition), WithJsonSchema(definition("condition")), Condition()]
"""A condition: a bare expression, `true`/`false`, or `{field, operator, value}` combined by `all`, `any`, `not`."""

BareExpression: TypeAlias = Annotated[
    str, PlainValidator(_bare), WithJsonSchema({"type": ["string", "number", "boolean", "null"]}), Bare()
]
"""An expression without `${{ }}`."""

VerbatimText: TypeAlias = Annotated[str, Verbatim()]
Port: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"), Verbatim()]
"""The name of a port, a case or a branch."""


class Shorthand:
    """Takes a shorter way to write a value, and says so in the schema for editors: what is made of that of the long
    one, or, where several fields share it, what is given."""

    def __init__(
        self, expand: Callable[[Any], Any], schema: Callable[[JsonSchemaValue], JsonSchemaValue] | JsonSchemaValue
    ) -> None:
        self._expand = expand
        self._schema: Callable[[JsonSchemaValue], JsonSchemaValue] | JsonSchemaValue = schema

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._expand, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        full = handler(schema)
        if not callable(self._schema):
            return {"anyOf": [self._schema, full]}
        return {"anyOf": [self._schema(handler.resolve_ref_schema(full)), full]}


def one_or_many(check: Callable[[Any], bool]) -> Shorthand:
    """One item stands for a list of one."""
    return Shorthand(lambda value: [value] if check(value) else value, lambda schema: schema["items"])


def short_form(key: str, check: Callable[[Any], bool], schema: JsonSchemaValue | None = None) -> Shorthand:
    """A plain value stands for a mapping with that one key. `schema`: see `Shorthand`."""

    def of_key(long: JsonSchemaValue) -> JsonSchemaValue:
        return long["properties"][key]

    return Shorthand(lambda value: {key: value} if check(value) else value, schema or of_key)


SignalType: TypeAlias = Annotated[str, Field(pattern=TYPE, max_length=MAX_TYPE)]
