"""What `fleet.toml` says of tools and of MCP servers: what is wrong with it, in the place where it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.definition.problems import InvalidFile, Problem, ProblemCode
from fleetprompt.engine.definition.toml import TomlFile
from fleetprompt.engine.tools._settings import Misfit, read_section
from fleetprompt.engine.tools._sql import SqlDatabase
from fleetprompt.engine.tools.catalog import misfits_of_tables
from fleetprompt.engine.tools.mcp_servers import misfits_of_servers
from fleetprompt.engine.tools.policy_file import SETTINGS


class InvalidSettings(InvalidFile):
    """The settings cannot be used."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        super().__init__(problems)
        # Of what fails in the middle of a run only the message is kept.
        self.message = f"{self.where}: {self.message}"
        self.where = ""
        self.args = (self.message,)


def require_usable(root: Path, tools: Mapping[str, Any], servers: Mapping[str, Any]) -> None:
    """Look at `[tools]` and `[mcp]` as an engine has read them. Raises `InvalidSettings`."""
    problems = table_problems(root, tools, servers)
    if any(problem.severity == "error" for problem in problems):
        raise InvalidSettings(problems)


def table_problems(root: Path, tools: Mapping[str, Any], servers: Mapping[str, Any]) -> list[Problem]:
    """All that is to be said about `[tools]` and `[mcp]` of a project. Nothing is asked, started or loaded for that."""
    found = [*misfits_of_tables(tools), *misfits_of_servers(servers)]
    if not any(misfit.severity == "error" for misfit in found):
        found += _missing_files(root, tools)
    return list(at_places(root, found))


def _missing_files(root: Path, tools: Mapping[str, Any]) -> Iterator[Misfit]:
    """SQLite databases that are not there: what makes them may be yet to run."""
    for name, table in mapping(tools.get("sql")).items():
        path = ("tools", "sql", name)
        file = read_section(path, SqlDatabase, table).file
        if file and not (root / file).is_file():
            message = f"there is no file `{inert(file)}`: tools open databases, and make none"
            hint = "paths start in the project's folder"
            yield Misfit((*path, "url"), message, hint, ProblemCode.MISSING_FILE, "warning")


def at_places(root: Path, found: Iterable[Misfit]) -> Iterator[Problem]:
    """What is to be said about the settings, where it is written; where the file is another by now, all that is lost is
    the place."""
    misfits = list(found)
    try:
        file = TomlFile(root / SETTINGS, SETTINGS) if misfits else None
    except InvalidFile:
        file = None
    for each in misfits:
        if file is None:
            yield Problem(each.code, each.message, each.hint, each.severity, SETTINGS)
        else:
            yield file.at(each.path, each.code, each.message, each.hint, each.severity)
