"""`switch`: one of many blocks."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, cast

import msgspec
from pydantic import ConfigDict, Field, PlainValidator, TypeAdapter, ValidationInfo, model_validator

from fleetprompt.engine.core.plan import Case
from fleetprompt.engine.definition.fields import BareExpression, Port, StepList, TestField, Verbatim, wrong
from fleetprompt.engine.definition.parts import Part
from fleetprompt.engine.definition.problems import ProblemCode
from fleetprompt.engine.definition.step import Compiler, StepModel, Steps, step


class CaseModel(Part):
    """One way out of a switch: taken if `value` equals one of `equals`, or if its own `if` holds."""

    port: Port
    """Name of the case; another step can need it: `needs: [pick.high]`."""
    equals: Annotated[Any, Verbatim()] = None
    """A value, or a list of values."""
    if_: TestField | None = Field(None, alias="if")
    """A condition, instead of `equals`."""
    steps: Steps = Field(default_factory=list[StepModel])
    """The block."""

    @model_validator(mode="after")
    def one_question(self) -> CaseModel:
        asked = {"equals", "if_"} & self.model_fields_set
        if len(asked) != 1:
            raise wrong("a case has either `equals` or `if`", "the block for everything else is `default`")
        if self.equals == []:
            raise wrong("`equals` names no value", "the block for everything else is `default`")
        return self


def _cases(value: Any, info: ValidationInfo) -> list[CaseModel] | dict[str, list[StepModel]]:
    if isinstance(value, dict):
        return _NAMED.validate_python(value, context=info.context)
    if isinstance(value, list):
        return _LISTED.validate_python(value, context=info.context)
    raise wrong("cases are {name: [steps]} or a list of {port, equals, steps}")


NamedCases: TypeAlias = Annotated[dict[Port, Steps], Field(min_length=1, max_length=200)]
ListedCases: TypeAlias = Annotated[list[CaseModel], Field(min_length=1, max_length=200)]
Cases: TypeAlias = Annotated[
    list[CaseModel] | dict[str, list[StepModel]],
    PlainValidator(_cases, json_schema_input_type=NamedCases | ListedCases),
    StepList(),
]
_LATER = ConfigDict(defer_build=True)
_NAMED: TypeAdapter[dict[str, list[StepModel]]] = TypeAdapter(NamedCases, config=_LATER)
_LISTED: TypeAdapter[list[CaseModel]] = TypeAdapter(ListedCases, config=_LATER)


@step("switch")
class Switch(StepModel):
    """Run one of many blocks: that of the first case that fits, or `default`."""

    kind = "choose"
    structural = frozenset({"value", "cases", "default"})

    value: BareExpression | None = None
    """Expression that the cases are compared with."""
    cases: Cases
    """`{name: [steps]}`, taken if the value is the name; or a list of `{port, equals, steps}`, `{port, if, steps}`."""
    default: Steps | None = None
    """Steps that run if no case fits."""

    @model_validator(mode="after")
    def cases_fit(self) -> Switch:
        if self.value is None and (isinstance(self.cases, dict) or any(case.if_ is None for case in self.cases)):
            message = "a switch whose cases are compared with something needs `value`"
            raise wrong(message, "value: inputs.kind", ProblemCode.MISSING_KEY)
        names = [*self.cases] if isinstance(self.cases, dict) else [case.port for case in self.cases]
        twice = next((name for index, name in enumerate(names) if name in names[:index] or name == "default"), None)
        if twice is not None:
            raise wrong(f"two cases are called `{twice}`" if twice != "default" else "`default` is not a case")
        return self

    def port_names(self) -> tuple[str, ...]:
        return (*(case.port for case in self.cases_in_order()), "default")

    def cases_in_order(self) -> tuple[Case, ...]:
        """The cases as the core takes them, `default` left out."""
        if isinstance(self.cases, dict):
            return tuple(Case(name, equals=_meanings(name)) for name in self.cases)
        return tuple(
            Case(case.port, test=case.if_)
            if case.if_ is not None
            else Case(
                case.port,
                equals=tuple(cast("list[Any]", case.equals) if isinstance(case.equals, list) else (case.equals,)),
            )
            for case in self.cases
        )

    def structure(self, compiler: Compiler) -> dict[str, Any]:
        named = self.cases if isinstance(self.cases, dict) else {case.port: case.steps for case in self.cases}
        blocks = {**named, "default": self.default or []}
        return {
            "value": self.value,
            "cases": (*self.cases_in_order(), Case("default")),
            "blocks": tuple(compiler.block(name, steps) for name, steps in blocks.items() if steps),
        }


def _meanings(name: str) -> tuple[Any, ...]:
    """A key of a mapping is always text in YAML: `"200"` also stands for the number."""
    try:
        value = msgspec.json.decode(name)
    except msgspec.DecodeError:
        return (name,)
    return (name, value) if isinstance(value, int | float) or value is None else (name,)
