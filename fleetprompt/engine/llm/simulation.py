"""Simulation files: what a model would say, as rules over what tools really returned.

Read like workflow files, so that every problem has its place; the first rule that matches answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

from msgspec import Struct
from pydantic import Field, ValidationError, model_validator

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.condition import Condition, compile_condition
from fleetprompt.engine.core.expr import ExpressionError, Reference
from fleetprompt.engine.core.template import Value, compile_value
from fleetprompt.engine.definition.document import Document
from fleetprompt.engine.definition.fields import Bare, TestField, VerbatimText, one_or_many, wrong
from fleetprompt.engine.definition.load import read_file
from fleetprompt.engine.definition.parts import Part
from fleetprompt.engine.definition.problems import InvalidFile, Pointer, Problem, ProblemCode
from fleetprompt.engine.definition.scalars import DurationField
from fleetprompt.engine.definition.shape import problems_from
from fleetprompt.engine.definition.source import SIMULATION_FILE
from fleetprompt.engine.definition.yaml import load_document

NAMES: Final = ("agent", "asked", "calls", "inputs", "last", "prompt", "results", "step", "turn", "vars", "workflow")
"""What expressions see."""

Names: TypeAlias = Annotated[list[str], one_or_many(lambda value: isinstance(value, str)), Field(min_length=1)]
Turns: TypeAlias = Annotated[
    list[Annotated[int, Field(ge=0)]], one_or_many(lambda value: isinstance(value, int)), Field(min_length=1)
]
Pace: TypeAlias = Annotated[float, Field(gt=0, le=1000)]


class CallModel(Part):
    """A tool that is called."""

    tool: VerbatimText
    """Its name, as the agent knows it."""
    with_: dict[str, Any] = Field(default_factory=dict[str, Any], alias="with")
    """Its arguments; may hold expressions."""


Calls: TypeAlias = Annotated[
    list[CallModel], one_or_many(lambda value: isinstance(value, dict)), Field(min_length=1, max_length=50)
]


class RuleModel(Part):
    """When it answers, and what. Every condition that is written must hold."""

    agent: Names | None = None
    """Agents it is about; default: all."""
    step: Names | None = None
    """Steps it is about; default: all."""
    turn: Turns | None = None
    """Turns it is about, the first being 0; default: all."""
    after: Names | None = None
    """The tool whose result came last."""
    if_: TestField | None = Field(None, alias="if")
    """A condition over the names of simulations."""
    think: str = ""
    """What it reasons; may hold expressions, as the following may."""
    say: str = ""
    """The text of the answer."""
    call: Calls | None = None
    """Tools that it calls."""
    output: Any = None
    """The answer as a value: its text is the value's JSON."""
    finish: Annotated[Literal["length", "content_filter"] | None, Bare()] = None
    """To end early, as models do that have no tokens left or refuse."""
    delay: DurationField | None = None
    """Time before the first word; default: the file's."""
    pace: Pace | None = None
    """Words per second; default: the file's."""

    @model_validator(mode="after")
    def says_something(self) -> RuleModel:
        if not (self.say or self.call or "output" in self.model_fields_set):
            raise wrong("this rule answers nothing", "give it `say`, `call` or `output`", ProblemCode.MISSING_KEY)
        if "output" in self.model_fields_set and (self.say or self.call):
            hint = "what is said beside an output would be no part of it; put `call` into a rule before"
            raise wrong("`output` stands alone", hint, ProblemCode.CONFLICTING_KEYS)
        return self


class SimulationModel(Part):
    """A simulation file."""

    description: VerbatimText = ""
    """The story it tells."""
    delay: DurationField = 0.0
    """Time before the first word of every answer."""
    pace: Pace | None = None
    """Words per second of every answer; default: all at once."""
    rules: list[RuleModel] = Field(min_length=1, max_length=1000)
    """The first that matches answers."""


class Rule(Struct, frozen=True):
    """A rule, compiled."""

    model: RuleModel
    pointer: Pointer
    test: Condition | None
    says: Value
    """`think`, `say`, `call` and `output` as far as they are written."""

    def about(self, agent: str, step: str) -> bool:
        """It is about this agent in this step."""
        return _holds(self.model.agent, agent) and _holds(self.model.step, step)


class Simulation(Struct, frozen=True):
    """A simulation file that can be used."""

    document: Document
    model: SimulationModel
    rules: tuple[Rule, ...]

    @property
    def tools(self) -> set[str]:
        """Names of the tools that it calls or waits for."""
        called = {call.tool for rule in self.rules for call in rule.model.call or ()}
        return called | {name for rule in self.rules for name in rule.model.after or ()}

    def place(self, rule: Rule, key: str = "") -> str:
        """`file:line:column` of a rule, or of what it says."""
        where = self.document.key((*rule.pointer, key) if key else rule.pointer)
        return f"{self.document.file}:{where.line}:{where.column}"

    def match(self, scope: Mapping[str, Any], same: Callable[[str, str], bool]) -> Rule | None:
        """The first rule that matches; `same` compares names of tools. Raises `ExpressionError`, with its place."""
        for rule in self.rules:
            model = rule.model
            if not rule.about(scope["agent"], scope["step"]) or (model.turn and scope["turn"] not in model.turn):
                continue
            if model.after and not any(same(name, scope["last"]["tool"] or "") for name in model.after):
                continue
            try:
                if rule.test is not None and not rule.test.evaluate(scope):
                    continue
            except ExpressionError as error:
                raise error.moved(where=self.place(rule, "if")) from None
            return rule
        return None


def _holds(names: list[str] | None, name: str) -> bool:
    return names is None or name in names


def load_simulation(path: Path, shown: str) -> Simulation:
    """Read and check a simulation file, which problems call `shown`. Raises `InvalidFile` with every problem."""
    document = load_document(read_file(path), shown, SIMULATION_FILE)
    problems = list(document.problems)
    if not document.complete:
        raise InvalidFile(problems)
    model: SimulationModel | None = None
    try:
        model = SimulationModel.model_validate(document.data)
    except ValidationError as error:
        problems += problems_from(error, document, candidates=_keys)
    if model is None or any(problem.severity == "error" for problem in problems):
        raise InvalidFile(problems)
    rules = [_compiled(rule, ("rules", at), document, problems) for at, rule in enumerate(model.rules)]
    if problems:
        raise InvalidFile(problems)
    return Simulation(document, model, tuple(rule for rule in rules if rule is not None))


def _keys(pointer: Pointer) -> Iterable[str]:
    models: dict[int, type[Part]] = {0: SimulationModel, 2: RuleModel, 3: CallModel, 4: CallModel}
    fields = models[min(len(pointer), 4)].model_fields
    return [field.alias or name for name, field in fields.items()]


def _compiled(model: RuleModel, pointer: Pointer, document: Document, problems: list[Problem]) -> Rule | None:
    raw: dict[str, Any] = document.data["rules"][pointer[1]]
    said = {key: raw[key] for key in ("think", "say", "call", "output") if key in raw}
    test: Condition | None = None
    says: Value | None = None
    try:
        if model.if_ is not None:
            test = compile_condition(model.if_)
            problems += _unknown(test.references, (*pointer, "if"), document)
    except ExpressionError as error:
        problems.append(_bad(error, (*pointer, "if"), document))
    try:
        says = compile_value(said)
        for where, template in says.templates.items():
            at = (*pointer, *_parts(where, said))
            problems += _unknown(template.references, at, document)
            if template.secret_names:
                said_ = "a secret is never shown to a model, nor is it said by one"
                problems.append(document.problem(at, ProblemCode.BAD_SECRET, said_, "remove it"))
    except ExpressionError as error:
        problems.append(_bad(error, (*pointer, *_parts(error.where, said)), document))
    return Rule(model, pointer, test, says) if says is not None else None


def _unknown(references: Iterable[Reference], pointer: Pointer, document: Document) -> Iterable[Problem]:
    for reference in references:
        root = str(reference.path[0])
        if root not in NAMES:
            hint = did_you_mean(root, NAMES) or f"simulations see {', '.join(NAMES)}"
            yield document.problem(
                pointer,
                ProblemCode.UNKNOWN_REFERENCE,
                f"there is no `{root}` here",
                hint,
                offset=reference.offset,
                length=len(root),
            )


def _bad(error: ExpressionError, pointer: Pointer, document: Document) -> Problem:
    offset = error.offset if error.offset or error.length else None
    return document.problem(
        pointer, ProblemCode.BAD_EXPRESSION, error.message, error.hint, offset=offset, length=error.length or None
    )


def _parts(where: str, value: Any) -> Pointer:
    """A JSON pointer into a value as the keys and positions it is made of."""
    parts: list[str | int] = []
    for part in where.split("/")[1:]:
        key: str | int = int(part) if isinstance(value, list) else part.replace("~1", "/").replace("~0", "~")
        parts.append(key)
        value = cast("Any", value)[key]
    return tuple(parts)
