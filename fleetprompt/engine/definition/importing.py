"""Workflows of other systems as workflow files. Pure: a text goes in, a text and what was lost on the way come out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.definition.document import Document
from fleetprompt.engine.definition.importers._build import Importer, Workflow
from fleetprompt.engine.definition.importers._draft import EVERYTHING, Draft, Learned
from fleetprompt.engine.definition.importers._given import Given, NotImportable, Report, TooManyProblems
from fleetprompt.engine.definition.importers._terms import Unknown, Untranslatable
from fleetprompt.engine.definition.importers._ways import TooEntangled
from fleetprompt.engine.definition.importers._yaml import dump
from fleetprompt.engine.definition.load import Loaded, load_text
from fleetprompt.engine.definition.names import Names
from fleetprompt.engine.definition.outline import mapping, sequence
from fleetprompt.engine.definition.problems import Problem, ProblemCode
from fleetprompt.engine.definition.yaml import load_document
from fleetprompt.engine.registry import IMPORTERS

__all__ = [
    "EVERYTHING",
    "Imported",
    "NotImportable",
    "Origin",
    "formats",
    "ids_of",
    "import_workflow",
    "load_imported",
    "origin_of",
    "recognise",
]

_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_FROM = "# Imported from "
_NAME = "# Name in the source: "
_IDS = "# Ids of the source: "
_INPUTS = "# Inputs of the source: "
_SCHEMA = "# yaml-language-server: $schema=../.fleet/workflow.schema.json\n"
MAX_NAME = 200
"""Characters of a workflow's name in the source that are kept."""
MAX_COMMENTS = 20
"""Losses that the result itself names."""


class Imported(Struct, frozen=True):
    """A workflow of another system, as a workflow file."""

    text: str
    """The file: YAML."""
    name: str
    """Of the workflow."""
    format: str
    """As which it was read."""
    losses: tuple[Problem, ...] = ()
    """What is not in the file, or not as it was: warnings, with their places in the source. `unsupported` is left out,
    `differs` works otherwise, `assumed` was left open by the source."""
    ids: dict[str, str] = {}
    """Ids of the source's steps to theirs here, where they differ."""
    inputs: dict[str, str] = {}
    """What the source's inputs are called here, where that differs; `*` is the one that holds all that is given."""


class Origin(Struct, frozen=True):
    """What an imported file says about its source: the words of those who use it."""

    ids: dict[str, str] = {}
    """Ids of steps in the source, by those in the file; where they differ."""
    inputs: dict[str, str] = {}
    """Inputs in the file, by what the source calls them; where they differ. `*`: the one that holds all."""
    name: str = ""
    """What the source calls the workflow; empty where that is its name."""


def formats() -> dict[str, str]:
    """The formats by name, with a line on each."""
    _discover()
    return {name: importer.about for name, importer in IMPORTERS}


def recognise(data: Any) -> str:
    """The format of a file's data; empty for one that is of none, such as a workflow file of our own."""
    _discover()
    if not isinstance(data, dict):
        return ""
    body = cast("dict[str, Any]", data)
    found = {name: importer.marks(body) for name, importer in IMPORTERS}
    best = max(found, key=lambda name: found[name], default="")
    return best if best and found[best] else ""


def import_workflow(source: Any, format: str | None = None, *, file: str = "", agents: Iterable[str] = ()) -> Imported:
    """The workflow file for a workflow of another system.

    `source` is JSON or YAML, or its data; `format` names one of `formats()`, else it is told by its shape; `file` is
    what people call the source; `agents` are the names of those that are there already: others are defined in the
    result.
    The result is checked by `load_imported`, not here: a condition that could not be translated keeps it from being
    valid, at its place. Raises `NotImportable` with everything that makes it impossible, `NotFound` for a format that
    is none.
    """
    _discover()
    document = _read(source, file)
    if format is not None:
        IMPORTERS.get(format)
    chosen = format or recognise(document.data)
    if not chosen:
        raise NotImportable([_unrecognised(document)])
    importer = cast("Importer", IMPORTERS.get(chosen))
    known = frozenset(agents)
    draft = Draft(Report(document), Learned(), known)
    workflow = _convert(importer, document, draft)
    if draft.learned:
        # What the first reading learns about who reads what, the second makes use of.
        draft = Draft(Report(document), draft.learned, known)
        workflow = _convert(importer, document, draft)
    ids = {key: node.id for key, node in draft.steps.items() if node.id and node.id != key}
    losses = (*(problem for problem in document.problems if problem.severity == "warning"), *draft.report.all_losses())
    if not isinstance(source, str | bytes):
        losses = tuple(map(_unplaced, losses))
    inputs = {theirs: ours for theirs, ours in draft.inputs_at.items() if theirs != ours}
    theirs = workflow.theirs[:MAX_NAME] if workflow.theirs != workflow.name else ""
    text = _written(workflow, draft, losses, {_NAME: theirs, _IDS: ids, _INPUTS: inputs}, chosen, file)
    return Imported(text, workflow.name, chosen, losses, ids, inputs)


def load_imported(
    imported: Imported, file: str = "", directory: Path | None = None, names: Names | None = None
) -> Loaded:
    """The compiled plan of an imported workflow. Raises `InvalidWorkflow` with every problem.

    The step types must be known: who calls has discovered them.
    """
    return load_text(imported.text, file or f"{imported.name}.yaml", directory, names)


def ids_of(text: str) -> dict[str, str]:
    """The ids that steps had in the source of an imported file, by those in the file; empty where none was renamed."""
    origin = origin_of(text)
    return origin.ids if origin is not None else {}


def origin_of(text: str) -> Origin | None:
    """What an imported file says about its source; None for a file that was written here."""
    lines = text.splitlines()[: MAX_COMMENTS + 10]
    if not any(line.startswith(_FROM) for line in lines):
        return None
    ids = {ours: theirs for theirs, ours in _names(lines, _IDS).items()}
    return Origin(ids, _names(lines, _INPUTS), str(_said(lines, _NAME) or ""))


def _names(lines: list[str], head: str) -> dict[str, str]:
    """What a comment with this beginning says of names."""
    return {str(theirs): str(ours) for theirs, ours in mapping(_said(lines, head)).items()}


def _said(lines: list[str], head: str) -> Any:
    """What a comment with this beginning says; None where there is none."""
    found = next((line.removeprefix(head) for line in lines if line.startswith(head)), "null")
    try:
        return json.loads(found)
    except ValueError:
        return None


def _discover() -> None:
    IMPORTERS.discover("fleetprompt.engine.definition.importers", "fleetprompt.importers")


def _convert(importer: Importer, document: Document, draft: Draft) -> Workflow:
    report = draft.report
    try:
        workflow = importer.read(Given(report, document.data, ()), draft)
    except TooManyProblems:
        report.stop_if_wrong()
        raise
    except (Unknown, Untranslatable) as error:
        raise InvalidInput(f"the file cannot be imported: {error}") from None
    except RecursionError:
        raise TooEntangled from None
    report.stop_if_wrong()
    return workflow


# ---------------------------------------------------------------- reading


def _read(source: Any, file: str) -> Document:
    """The source as a document. Raises `NotImportable`."""
    text = source if isinstance(source, str | bytes) else _as_json(source)
    document = load_document(_without_surrogates(text), file)
    errors = [problem for problem in document.problems if problem.severity == "error"]
    if errors:
        raise NotImportable(errors if isinstance(source, str | bytes) else map(_unplaced, errors))
    if not isinstance(document.data, dict):
        message = "a workflow is a mapping with `name` and `steps`"
        raise NotImportable([document.problem((), ProblemCode.WRONG_TYPE, message)])
    return document


def _as_json(source: Any) -> str:
    try:
        return json.dumps(source, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInput(f"this cannot be JSON: {reason}") from None


def _without_surrogates(text: str | bytes) -> str | bytes:
    """JSON may write one character as two escapes, YAML may not."""
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError:
            return text
    # A lone half is nothing that could be written: the parser finds what stands for it.
    text = text.encode("utf-8", "replace").decode()
    if "\\u" in text and text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        text = _SURROGATES.sub(_character, text)
    start = len(text) - len(text.lstrip("\ufeff \t\r\n"))
    return text[:start].replace("\t", " ") + text[start:]


def _character(found: re.Match[str]) -> str:
    high, low = int(found[2], 16), int(found[3], 16)
    return f"{found[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"


def _unrecognised(document: Document) -> Problem:
    first = mapping(next(iter(sequence(document.data.get("steps"))), None))
    if "id" in first and "type" in first:
        message = "this is a workflow file already, or of no format that is known"
        return document.problem((), ProblemCode.UNKNOWN_FORMAT, message, "`fleet validate` checks workflow files")
    if document.data.get("steps") == []:
        return document.problem(("steps",), ProblemCode.MISSING_KEY, "the workflow has no steps")
    known = ", ".join(IMPORTERS.names())
    return document.problem((), ProblemCode.UNKNOWN_FORMAT, "the format is not recognised", f"name one: {known}")


def _unplaced(problem: Problem) -> Problem:
    """A problem of data, which has no lines; its pointer says where it is."""
    return msgspec.structs.replace(problem, file="", line=0, column=0, end_column=0, source_line="", source_start=1)


# ---------------------------------------------------------------- writing


def _written(
    workflow: Workflow,
    draft: Draft,
    losses: tuple[Problem, ...],
    renamed: dict[str, Any],
    format: str,
    file: str,
) -> str:
    head = {
        "description": workflow.description,
        "triggers": draft.triggers,
        "inputs": draft.inputs,
        "vars": draft.vars,
        "agents": draft.agents,
        "guardrails": workflow.guardrails,
    }
    given = {key: value for key, value in head.items() if value}
    whole: dict[str, Any] = {"name": workflow.name, **given, "steps": workflow.steps}
    return "".join((_SCHEMA, *_comments(losses, renamed, format, file))) + dump(whole)


def _comments(losses: tuple[Problem, ...], renamed: dict[str, Any], format: str, file: str) -> Iterable[str]:
    name = inert(Path(file).name)
    yield f"{_FROM}{name or 'data'} ({format} form).\n"
    for head, names in renamed.items():
        if names:
            yield f"{head}{json.dumps(names)}\n"
    if losses:
        yield "# Not as it was there:\n"
    for loss in losses[:MAX_COMMENTS]:
        place = f"{loss.line}:{loss.column}" if loss.line else loss.pointer
        yield f"#   {inert(place)} {loss.code}: {inert(loss.message)[:300]}\n"
    if len(losses) > MAX_COMMENTS:
        yield f"#   and {len(losses) - MAX_COMMENTS:,} more\n"
