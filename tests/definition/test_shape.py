"""Validation errors in the words of the product, at the place in the file."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fleetprompt.engine.definition.problems import Problem, ProblemCode
from fleetprompt.engine.definition.scalars import DurationField, StepId
from fleetprompt.engine.definition.shape import problems_from
from fleetprompt.engine.definition.yaml import load_document


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Retry(Part):
    max_attempts: int = Field(3, ge=1, le=10)
    backoff: DurationField = 1.0


class Agent(Part):
    type: Literal["agent"]
    id: StepId
    agent: str
    retry: Retry | int | None = None

    @model_validator(mode="after")
    def _known(self) -> Agent:
        if self.agent == "nobody":
            raise ValueError("nobody is not an agent")
        return self


class Method(Enum):
    GET = "GET"
    POST = "POST"


class Http(Part):
    type: Literal["http"]
    id: StepId
    url: str = Field(min_length=1)
    if_: str = Field("", alias="if", max_length=20)
    method: Literal["GET", "POST", "PUT"] = "GET"
    join: Literal["all", "any"] | int = "all"
    headers: dict[Annotated[str, Field(pattern="^[a-z]+$")], str] = {}
    codes: list[int] | dict[str, int] = Field([], max_length=2)

    @field_validator("if_")
    @classmethod
    def _reads(cls, text: str) -> str:
        if "!!" in text:
            context = {
                "message": "`!!` cannot stand here",
                "hint": "write `not`",
                "offset": text.index("!!"),
                "length": 2,
            }
            raise PydanticCustomError("bad-expression", "{message}", context)
        return text


class Flow(Part):
    name: str
    steps: list[Annotated[Agent | Http, Field(discriminator="type")]] = Field(min_length=1)
    enabled: bool = True
    version: str = ""
    ratio: float = Field(1.0, gt=0, lt=2)
    count: int = Field(0, multiple_of=5)
    vars: dict[StepId, Any] = {}


MODELS = {"agent": Agent, "http": Http}


def problems(text: str, model: Any = Flow, base: tuple[str | int, ...] = ()) -> list[Problem]:
    document = load_document(text, "f.yaml")
    assert not document.problems

    def keys(pointer: tuple[str | int, ...]) -> Iterable[str]:
        place = document.data
        for part in pointer:
            place = place[part]
        known = Retry if pointer[-1:] == ("retry",) else MODELS.get(place.get("type", ""), Flow)
        return [field.alias or name for name, field in known.model_fields.items()]

    value = document.data
    for part in base:
        value = value[part]
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(model).validate_python(value)
    return problems_from(caught.value, document, base, keys)


def flow(*lines: str) -> str:
    return "\n".join(["name: x", "steps: [{type: agent, id: a, agent: b}]", *lines])


def step(text: str) -> str:
    return f"name: x\nsteps:\n  - {{{text}}}\n"


HTTP = "type: http, id: a, url: u, "
TRUTH = "write `true`: in YAML 1.2 `yes` is text"
BAD_ID = "bad-id an id starts with a-z and goes on with a-z, 0-9, `_`"


CASES = [
    (flow("nmae: y"), "nmae", "unknown-key unknown key `nmae`", "did you mean `name`?"),
    (step(HTTP + "fi: x"), "fi", "unknown-key unknown key `fi`", "did you mean `if`?"),
    (step("type: agent, agent: b"), "type", "missing-key missing key `id`", ""),
    (step("id: a"), "id", "missing-key missing key `type`", ""),
    (step("id: a, type: htp"), "htp", "unknown-type unknown type `htp`", "did you mean `http`?"),
    (step("id: a, type: zzz"), "zzz", "unknown-type unknown type `zzz`", "known types: `agent` and `http`"),
    (flow("enabled: yes"), "yes", "wrong-type `enabled` must be true or false, not text", TRUTH),
    (flow("version: 1.10"), "1.10", "wrong-type `version` must be text, not 1.1", 'quote it: "1.10"'),
    (flow('ratio: "1.5"'), '"1.5"', "wrong-type `ratio` must be a number, not text", "remove the quotes"),
    (flow("count: 1.5"), "1.5", "wrong-type `count` must be a whole number, not 1.5", ""),
    (flow("count: true"), "true", "wrong-type `count` must be a whole number, not true", ""),
    (flow("count:"), "count", "wrong-type `count` must be a whole number, but has no value", ""),
    (flow("count: {a: 1}"), "{a: 1}", "wrong-type `count` must be a whole number, not a mapping", ""),
    (flow("ratio: 0"), "0", "bad-value `ratio` must be more than 0", ""),
    (flow("ratio: 2"), "2", "bad-value `ratio` must be less than 2", ""),
    (flow("count: 7"), "7", "bad-value `count` must be a multiple of 5", ""),
    ("name: x\nsteps: []", "[]", "bad-value `steps` must not be empty", ""),
    (step(HTTP + "method: PSOT"), "PSOT", "bad-value `method` must be `GET`, `POST` or `PUT`", "did you mean `POST`?"),
    (step(HTTP + "join: nay"), "nay", "bad-value `join` must be `all`, `any` or a whole number", "did you mean `any`?"),
    (step(HTTP + "join: [1]"), "[1]", "bad-value `join` must be `all`, `any` or a whole number, not a list", ""),
    (step(HTTP + "codes: 5"), "5", "wrong-type `codes` must be a list or a mapping, not a whole number", ""),
    (step(HTTP + "codes: [1, x]"), "x", "wrong-type this item must be a whole number, not text", ""),
    (step(HTTP + "codes: [1, 2, 3]"), "[1, 2, 3]", "bad-value `codes` must have at most 2 items", ""),
    (step(HTTP + "headers: {Auth: x}"), "Auth", "bad-value the key `Auth` must match the pattern `^[a-z]+$`", ""),
    (step("type: http, id: a, url: ''"), "''", "bad-value `url` must not be empty", ""),
    (
        step(HTTP + "if: 123456789 123456789 1"),
        "123456789 123456789 1",
        "bad-value `if` must have at most 20 characters",
        "",
    ),
    (step(HTTP + "if: a and !!b"), "!!", "bad-expression `!!` cannot stand here", "write `not`"),
    (step("type: agent, id: a, agent: nobody"), None, "bad-value nobody is not an agent", ""),
    (step("type: agent, id: A b, agent: b"), "A b", BAD_ID, "for example `a_b`"),
    (flow("vars: {A: 1}"), "A", BAD_ID, "for example `a`"),
    ("name: x\nsteps:\n  - 5\n", "5", "wrong-type this item must be a mapping, not a whole number", ""),
    ("text", "text", "wrong-type the file must be a mapping, not text", "begin with `name:` and `steps:`"),
]


@pytest.mark.parametrize(("text", "marked", "message", "hint"), CASES)
def test_an_error_is_placed_and_explained(text: str, marked: str | None, message: str, hint: str) -> None:
    [problem] = problems(text)
    assert (f"{problem.code} {problem.message}", problem.hint) == (message, hint)
    assert problem.source_line[problem.column - 1 : problem.end_column - 1] == (marked or problem.source_line[4:])
    assert problem.line == text.rstrip("\n").count("\n") + 1


def test_all_problems_of_a_file_are_told_in_order() -> None:
    text = "nmae: x\nsteps:\n  - {type: agent, agent: 5}\n  - {type: http, id: a, url: u, method: 3}\nenabled: maybe\n"
    assert [(p.line, str(p.code), p.pointer) for p in problems(text)] == [
        (1, "missing-key", ""),
        (1, "unknown-key", "/nmae"),
        (3, "missing-key", "/steps/0"),
        (3, "wrong-type", "/steps/0/agent"),
        (4, "bad-value", "/steps/1/method"),
        (5, "wrong-type", "/enabled"),
    ]


def test_a_union_is_judged_by_the_branch_that_the_value_entered() -> None:
    agent = "type: agent, id: a, agent: b, retry: "
    assert [p.message for p in problems(step(agent + "{max_attempt: 3}"))] == ["unknown key `max_attempt`"]
    assert [p.message for p in problems(step(agent + "{max_attempts: 0}"))] == ["`max_attempts` must be at least 1"]
    assert [p.message for p in problems(step(agent + "{backoff: 5 min}"))] == ["this is not a duration"]
    assert [p.message for p in problems(step(agent + "x"))] == ["`retry` must be a mapping or a whole number, not text"]


def test_a_branch_with_the_name_of_a_key_is_told_from_the_key() -> None:
    tagged = problems(step("type: agent, id: a, agent: {}"))
    assert [(p.pointer, p.message) for p in tagged] == [("/steps/0/agent", "`agent` must be text, not a mapping")]
    untagged = problems(step("type: agent, id: a, agent: 5"), Agent, ("steps", 0))
    assert [(p.pointer, p.line) for p in untagged] == [("/steps/0/agent", 3)]
    whole = problems(step("type: agent, id: a, agent: nobody"))
    assert [p.pointer for p in whole] == ["/steps/0"]


def test_problems_below_a_base_have_whole_pointers() -> None:
    text = "a:\n  b:\n    - max_attempts: x\n      oops: 1\n"
    assert [(p.pointer, p.line) for p in problems(text, Retry, ("a", "b", 0))] == [
        ("/a/b/0/max_attempts", 3),
        ("/a/b/0/oops", 4),
    ]


def test_known_keys_are_listed_when_none_is_close() -> None:
    agent = "type: agent, id: a, agent: b, retry: {zzz: 1}"
    assert problems(step(agent))[0].hint == "known here: `max_attempts` and `backoff`"
    document = load_document("zzz: 1", "f")
    with pytest.raises(ValidationError) as caught:
        Retry.model_validate(document.data)
    assert problems_from(caught.value, document)[0].hint == "remove it"


def test_what_pydantic_says_in_its_own_words_is_passed_on() -> None:
    [problem] = problems("a: nope", dict[str, UUID])
    assert problem.code == ProblemCode.BAD_VALUE
    assert problem.message.startswith("`a`: input should be a valid UUID")


def test_enums_are_choices() -> None:
    [problem] = problems("a: PSOT", dict[str, Method])
    assert (problem.message, problem.hint) == ("`a` must be `GET` or `POST`", "did you mean `POST`?")


def test_an_error_without_any_data_still_has_a_place() -> None:
    document = load_document("", "f.yaml")
    with pytest.raises(ValidationError) as caught:
        Flow.model_validate(document.data)
    assert [(p.line, p.column) for p in problems_from(caught.value, document)] == [(1, 1)]
