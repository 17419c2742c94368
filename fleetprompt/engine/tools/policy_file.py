"""The fleet's policy: `policy.toml` beside `fleet.toml`, and `[policy]` of the settings, as one layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.definition.names import Said
from fleetprompt.engine.definition.problems import InvalidFile, Problem, ProblemCode
from fleetprompt.engine.definition.toml import TomlFile
from fleetprompt.engine.tools.policy import Policy
from fleetprompt.engine.tools.policy_read import Fault, InvalidPolicy, faults_of, read_policy

FILE = "policy.toml"
SETTINGS = "fleet.toml"
TABLE = f"{SETTINGS} [policy]"


def stamp(root: Path) -> tuple[int, int] | None:
    """What differs once the file was written anew; None where there is none."""
    try:
        found = (root / FILE).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def fleet_policy(root: Path, table: Mapping[str, Any]) -> Policy:
    """The first layer for `decide`. A missing file has no rules; one that cannot be read raises `InvalidInput`, for it
    may hold the rule that forbids what is about to happen; its message begins with the place."""
    written = _written(root)
    try:
        ours = read_policy(written.values if written is not None else {}, FILE)
    except InvalidPolicy as error:
        assert written is not None
        raise _placed(root, list(_problems(written, error.faults))) from None
    try:
        theirs = read_policy(table, TABLE)
    except InvalidPolicy as error:
        raise _placed(root, list(_of_table(root, error.faults))) from None
    if ours.tools is not None and theirs.tools is not None:
        raise InvalidInput(f"`tools` is set in {FILE} and in [policy] of {SETTINGS}", hint="keep one of the two")
    return Policy(
        rules=(*ours.rules, *theirs.rules),
        tools=theirs.tools if ours.tools is None else ours.tools,
        off=(*ours.off, *theirs.off),
        taint="ask" if "ask" in (ours.taint, theirs.taint) else "off",
        name="policy",
    )


def policy_problems(
    root: Path, table: Mapping[str, Any], doubts: Callable[[Mapping[str, Any]], Iterable[Said]]
) -> list[Problem]:
    """All that is to be said about the fleet's policy, in the files where it stands. `doubts` tells what of a policy
    without faults is of no effect."""
    found: list[Problem] = []
    try:
        file = _file(root)
    except InvalidFile as error:
        found += error.problems
        file = None
    if file is not None:
        faults = tuple(faults_of(file.values))
        found += _problems(file, faults) if faults else _doubted(file, doubts(file.values), ())
        if file.values.get("tools") is not None and table.get("tools") is not None:
            message = f"`tools` is set here and in [policy] of {SETTINGS}"
            found.append(file.at(("tools",), ProblemCode.CONFLICTING_KEYS, message, "keep one of the two"))
    if table:
        faults = tuple(faults_of(table))
        if faults:
            found += _of_table(root, faults)
        else:
            found += _doubted(TomlFile(root / SETTINGS, SETTINGS), doubts(table), ("policy",))
    return found


def _file(root: Path) -> TomlFile | None:
    """`policy.toml`; None where there is none. Raises `InvalidFile`."""
    path = root / FILE
    return TomlFile(path, FILE) if path.exists() or path.is_symlink() else None


def _written(root: Path) -> TomlFile | None:
    try:
        return _file(root)
    except InvalidFile as error:
        raise _placed(root, list(error.problems)) from None


def _problems(file: TomlFile, faults: Iterable[Fault], base: tuple[str, ...] = ()) -> Iterator[Problem]:
    for fault in faults:
        code = ProblemCode.UNKNOWN_KEY if fault.unknown else ProblemCode.BAD_VALUE
        yield file.at((*base, *fault.path), code, f"{fault.place}{fault.message}", fault.hint)


def _doubted(file: TomlFile, found: Iterable[Said], base: tuple[str, ...]) -> Iterator[Problem]:
    for said in found:
        yield file.at((*base, *(said.at or ())), said.code, said.message, said.hint, severity=said.severity)


def _of_table(root: Path, faults: Iterable[Fault]) -> Iterator[Problem]:
    """Faults of `[policy]`; where the file is another by now, all that is lost is their place."""
    try:
        file = TomlFile(root / SETTINGS, SETTINGS)
    except InvalidFile:
        for fault in faults:
            yield Problem(ProblemCode.BAD_VALUE, f"[policy]: {fault.place}{fault.message}", fault.hint, file=SETTINGS)
        return
    yield from _problems(file, faults, ("policy",))


def _placed(root: Path, problems: list[Problem]) -> InvalidInput:
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    known = first.line and first.code not in (ProblemCode.MISSING_FILE, ProblemCode.NOT_UTF8)
    place = f"{first.file}:{first.line}:{first.column}" if known else first.file
    return InvalidInput(f"{place}: {first.message}{more}", where=str(root / first.file), hint=first.hint)
