"""A workflow file to a plan, or to everything that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec import Struct
from pydantic import BaseModel, ValidationError

from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.plan import Plan, plan_digest
from fleetprompt.engine.definition.agent_files import Agents, beyond
from fleetprompt.engine.definition.compile import compile_workflow
from fleetprompt.engine.definition.document import Document
from fleetprompt.engine.definition.fields import MODELS
from fleetprompt.engine.definition.lint import Subject, lint
from fleetprompt.engine.definition.models import WorkflowModel
from fleetprompt.engine.definition.names import Names, names_of_step
from fleetprompt.engine.definition.outline import Outline, mapping
from fleetprompt.engine.definition.problems import InvalidWorkflow, Pointer, Problem, ProblemCode, ordered
from fleetprompt.engine.definition.roles import Role, roles
from fleetprompt.engine.definition.shape import problems_from
from fleetprompt.engine.definition.step import ReconcileModel, StepModel, known_type
from fleetprompt.engine.definition.triggers import TRIGGERS, TriggerModel
from fleetprompt.engine.definition.yaml import MAX_BYTES, load_document

MAX_SHOWN = 100
"""Problems of one file that are reported."""
MAX_PROBLEMS = 1000
"""Problems after which no more are looked for."""


class Loaded(Struct, frozen=True):
    """A workflow file that can be run."""

    plan: Plan
    digest: str
    """Of the plan: the same for files that mean the same."""
    source: str
    """The text of the file."""
    file: str
    warnings: tuple[Problem, ...] = ()


def load_workflow(path: str | Path, names: Names | None = None) -> Loaded:
    """Read, check and compile a workflow file. Raises `InvalidWorkflow` with every problem."""
    file = Path(path)
    return load_text(read_file(file), str(path), file.parent, names)


def read_file(file: Path) -> bytes:
    """The bytes of a workflow file, no more than tell that it is too large. Raises `InvalidWorkflow`."""
    try:
        # A pipe without a writer would be waited for, and some devices never end.
        if file.exists() and not file.is_file():
            raise OSError(0, "it is not a regular file")
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        said = f"the file cannot be read: {reason.lower()}"
        problem = Problem(ProblemCode.MISSING_FILE, said, file=str(file), line=1, column=1, end_column=1)
        raise InvalidWorkflow([problem]) from None


def load_text(text: str | bytes, file: str, directory: Path | None = None, names: Names | None = None) -> Loaded:
    """Check and compile the text of a workflow file. Raises `InvalidWorkflow` with every problem.

    `directory` is where files are that it names; without one they are neither looked for nor covered by the digest.
    `names` is what its project has by name; without it, names of models, tools and workflows are not looked at.
    """
    examined = _examine(text, file, directory, names)
    model = examined.model
    if model is None or any(problem.severity == "error" for problem in examined.problems):
        raise InvalidWorkflow(examined.problems)
    plan = compile_workflow(
        model,
        uses_last_run=examined.uses_last_run,
        files=examined.files,
        agents=examined.agents,
        schemas=examined.schemas,
    )
    return Loaded(plan, plan_digest(plan), examined.document.text, file, examined.problems)


def check(text: str | bytes, file: str, directory: Path | None = None, names: Names | None = None) -> list[Problem]:
    """Everything that is wrong with a workflow file, in its order; empty when there is nothing to say."""
    return list(_examine(text, file, directory, names).problems)


class _Examined(Struct, frozen=True):
    document: Document
    problems: tuple[Problem, ...]
    model: WorkflowModel | None = None
    uses_last_run: bool = False
    files: dict[str, str] = {}
    agents: dict[str, Agent] = {}
    schemas: dict[str, Any] = {}


def _examine(text: str | bytes, file: str, directory: Path | None, names: Names | None) -> _Examined:
    document = load_document(text, file)
    problems = list(document.problems)
    if not document.complete:
        return _Examined(document, _capped(problems, document))
    models: dict[int, StepModel] = {}
    model: WorkflowModel | None = None
    try:
        model = WorkflowModel.model_validate(document.data, context={MODELS: models})
    except ValidationError as error:
        problems += problems_from(error, document, candidates=lambda pointer: _keys(document.data, pointer))
    subject = Subject(document, Outline(document.data, models))
    # A value that a comment cut short says the same twice.
    cut = {(problem.line, problem.column) for problem in problems if problem.code is ProblemCode.CUT_EXPRESSION}
    problems += [problem for problem in lint(subject) if (problem.line, problem.column) not in cut]
    files = _files(subject, directory, problems) if directory is not None else {}
    schemas = _schemas(subject, directory, problems)
    agents = _agents(subject, model, directory, names, problems)
    if names is not None:
        for piece in subject.outline.pieces():
            problems += beyond(problems, names_of_step(piece, document, names, directory))
            if len(problems) > MAX_PROBLEMS:
                break
    return _Examined(
        document, _capped(problems, document), model, subject.references.uses_last_run, files, agents, schemas
    )


def _capped(problems: list[Problem], document: Document) -> tuple[Problem, ...]:
    """The problems in order, errors first to stay when there are too many."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if len(problems) <= MAX_SHOWN:
        return ordered(problems)
    kept = ordered(errors or problems)
    if len(kept) > MAX_SHOWN:
        more = document.problem((), ProblemCode.TOO_MANY, f"and at least {len(kept) - MAX_SHOWN} more problems")
        kept = (*kept[:MAX_SHOWN], more)
    return kept


def _files(subject: Subject, directory: Path, problems: list[Problem]) -> dict[str, str]:
    """Digests of the files that steps name, by the path as it is written; what cannot be read is a problem."""
    found: dict[str, str] = {}
    for site in subject.outline.pieces():
        for field in site.type.file_fields if site.type else ():
            name = site.raw.get(field)
            if not isinstance(name, str) or "${{" in name or name in found:
                continue
            try:
                found[name] = sha256((directory / name).read_bytes()).hexdigest()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "not a file name"
                message = f"`{name}` cannot be read: {reason.lower()}"
                hint = "paths are relative to the workflow file"
                pointer = (*site.pointer, field)
                problems.append(subject.document.problem(pointer, ProblemCode.MISSING_FILE, message, hint))
    return found


def _agents(
    subject: Subject,
    model: WorkflowModel | None,
    directory: Path | None,
    names: Names | None,
    problems: list[Problem],
) -> dict[str, Agent]:
    """The agents that steps name, with those that they name; what cannot be found or used is a problem."""
    agents = Agents(subject.document, model.agents if model is not None else {}, directory, names)
    for piece in subject.outline.pieces():
        for field, kind in piece.type.naming.items() if piece.type else ():
            name = piece.raw.get(field)
            if kind == "agent" and isinstance(name, str):
                agents.take(name, subject.document, (*piece.pointer, field))
    named = dict(agents.found)
    agents.look_inside()
    problems += beyond(problems, iter(agents.problems))
    return named


def _schemas(subject: Subject, directory: Path | None, problems: list[Problem]) -> dict[str, Any]:
    """JSON Schemas that steps hold or name, by the path as it is written; one that is none is a problem."""
    found: dict[str, Any] = {}
    for site in subject.outline.pieces():
        for field in site.type.schema_fields if site.type else ():
            given, pointer = site.raw.get(field), (*site.pointer, field)
            if isinstance(given, str) and directory is not None and given not in found:
                try:
                    read = load_document((directory / given).read_bytes(), str(directory / given))
                    found[given] = read.data
                    problems += read.problems
                except (OSError, ValueError) as error:
                    reason = getattr(error, "strerror", None) or "not a file name"
                    message = f"`{given}` cannot be read: {reason.lower()}"
                    hint = "paths are relative to the workflow file"
                    problems.append(subject.document.problem(pointer, ProblemCode.MISSING_FILE, message, hint))
                    continue
            schema = found.get(given) if isinstance(given, str) else given
            if (said := _bad_schema(schema)) and (directory is not None or not isinstance(given, str)):
                problems.append(subject.document.problem(pointer, ProblemCode.BAD_SCHEMA, said))
    return found


def _bad_schema(schema: Any) -> str:
    if schema is None:
        return ""
    if not isinstance(schema, dict):
        return "a JSON Schema is a mapping, such as {type: object, properties: …}"
    from jsonschema import SchemaError, validators

    try:
        validators.validator_for(mapping(schema)).check_schema(mapping(schema))
    except SchemaError as error:
        place = ".".join(map(str, error.absolute_path))
        return f"this is not a JSON Schema: {place + ': ' if place else ''}{error.message[:300]}"
    return ""


def _keys(data: Any, pointer: Pointer) -> Iterable[str]:
    """The keys that the mapping at a place can have, for a did-you-mean."""
    model: type[BaseModel] = WorkflowModel
    role: Role | None = None
    value: Any = data
    extra: tuple[str, ...] = ()
    for part in pointer:
        value = value[part]
        if role is None:
            role = roles(model).get(str(part))
            if role is None:
                return ()
            if role.keyed and role.what != "steps":
                role = Role(role.what, role.sees, role.part)
                continue
        body = mapping(value)
        if not body:
            continue
        extra = tuple(roles(ReconcileModel)) if part == "reconcile" else ()
        if role.what in ("steps", "body") and ("type" in body or role.what == "body"):
            model, role = (known_type(body.get("type")) or StepModel), None
        elif role.what == "steps" and isinstance(part, int) and role.part is not None:
            model, role = role.part, None
        elif role.part is TriggerModel:
            model, role = TRIGGERS.get(str(body.get("type")), TriggerModel), None
        elif role.what != "steps" and role.part is not None:
            model, role = role.part, None
    return () if role is not None else (*roles(model), *extra)
