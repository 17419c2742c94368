"""What a project has by name, for files that name it, and what is wrong with its settings of tools and its policy.

Nothing is started, and nothing that is not needed is imported: a file that names no tool is checked without any.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from msgspec.structs import replace

from fleetprompt.client.files import SUFFIXES, shown
from fleetprompt.client.identity import DEFAULT_TENANT
from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.definition.names import Said
from fleetprompt.engine.definition.problems import Problem, ProblemCode
from fleetprompt.engine.runtime.agency import AgencySettings

if TYPE_CHECKING:
    from fleetprompt.engine.tools.known import KnownTools

__all__ = ["AgencySettings", "ProjectNames"]
SETTINGS = "fleet.toml"
LISTED = 8
"""Groups that are told where none of them is close."""


class ProjectNames:
    """Models, tools and workflows of a project."""

    def __init__(
        self,
        root: Path,
        settings: AgencySettings,
        store: Path | None = None,
        aliases: Collection[str] = (),
        groups: Collection[str] = (),
        tenant: str = DEFAULT_TENANT,
    ) -> None:
        """`store` is the SQLite file that knows workflows of the tenant as well, where there is one; `aliases` are
        names of models that cannot be used, which is told elsewhere; `groups` are those of operators."""
        self._tenant = tenant
        self._aliases = aliases
        self._groups = groups
        self._root = root
        self._settings = settings
        self._store = store

    # ---------------------------------------------------------------- what files name

    def model(self, name: str) -> Said | None:
        """An alias, or a provider's model."""
        if name in self._settings.models or name in self._aliases or name == "default":
            return None
        from fleetprompt.engine.llm.vendors import wrong_model

        error = wrong_model(name, self._settings.models)
        return Said(error.message, error.hint) if error is not None else None

    def tools(self, pattern: str) -> Said | None:
        """An entry in an agent's list of tools."""
        return self._tools.pattern(pattern)

    def call(self, tool: str, arguments: Mapping[str, Any] | None) -> Iterable[Said]:
        """A tool, and the arguments of a call of it."""
        return self._tools.call(tool, arguments)

    def function(self, call: str, arguments: Collection[str] | None, folder: Path | None) -> Iterator[Said]:
        """A function of Python that a file in that folder calls."""
        if folder is None:
            return
        from fleetprompt.engine.outside.functions import call_faults

        for fault in call_faults(folder, call, arguments):
            at = (fault.argument,) if fault.argument else () if fault.arguments else None
            code = ProblemCode.BAD_VALUE if fault.arguments else ProblemCode.UNKNOWN_NAME
            yield Said(fault.message, fault.hint, code, at=at, on="key" if fault.argument else "value")

    def workflow(self, name: str, folder: Path | None) -> Said | None:
        """A workflow that is started by a file in that folder: by the file of its name there or among the project's, or
        known to the store."""
        places = [place for place in (folder, *self._settings.workflows) if place is not None]
        if any((place / f"{name}{suffix}").is_file() for place in places for suffix in SUFFIXES):
            return None
        try:
            known = self._stored
        except FleetError as error:
            message = f"whether there is a workflow `{name}` is not known: {error.message}"
            return Said(message, error.hint, severity="warning")
        if name in known:
            return None
        stems = {path.stem for place in places if place.is_dir() for path in place.iterdir() if path.suffix in SUFFIXES}
        hint = did_you_mean(name, sorted({*known, *stems})) or f"write {places[-1].name}/{name}.yaml"
        return Said(f"there is no workflow `{name}`", hint)

    def approver(self, who: str) -> Said | None:
        """An entry in a list of those who may decide. Where a project has no groups at all, nothing is said of them."""
        kind, colon, name = who.partition(":")
        known = [f"group:{group}" for group in sorted(self._groups)]
        if colon and kind == "role":
            meant = f"did you mean `group:{name}`?" if name in self._groups else ""
            return Said("nobody approves by role", meant or f"write group:NAME, or user:NAME{_listed(known)}")
        if kind != "group" or not colon or not known or who in known:
            return None
        near = did_you_mean(name, sorted(self._groups)).replace("`", "`group:", 1)
        hint = near or f"add it under [groups] in {SETTINGS}{_listed(known)}"
        return Said(f"there is no group `{name}`: nobody in it could decide", hint)

    def policy(self, rules: Mapping[str, Any], named: str) -> Iterator[Said]:
        """The rules of an agent."""
        from fleetprompt.engine.tools.policy_read import faults_of

        faults = list(faults_of(rules))
        for fault in faults:
            code = ProblemCode.UNKNOWN_KEY if fault.unknown else ProblemCode.BAD_VALUE
            on = "key" if fault.unknown else "value"
            yield Said(f"{fault.place}{fault.message}", fault.hint, code, at=fault.path, on=on)
        if not faults:
            yield from self._tools.doubts(rules, self._functions)

    # ---------------------------------------------------------------- what is there

    @cached_property
    def _tools(self) -> KnownTools:
        from fleetprompt.engine.agents.toolbox import own_tools
        from fleetprompt.engine.tools.known import KnownTools, Server
        from fleetprompt.engine.tools.mcp_pins import Pins

        servers = {name: Server(_allowed(table)) for name, table in self._settings.mcp.items()}
        return KnownTools(
            _texts(self._settings.tools.get("python")),
            servers,
            Pins(self._root / ".fleet"),
            code=str(next(iter(self._settings.workflows), self._root)),
            own=[info.spec.name for info in own_tools()],
        )

    @property
    def _stored(self) -> frozenset[str]:
        from fleetprompt.engine.store.names import workflow_names

        return workflow_names(self._store, self._tenant) if self._store is not None else frozenset()

    @cached_property
    def _functions(self) -> frozenset[str]:
        """Functions of all agents of the project: policies can be about them as about tools."""
        from fleetprompt.engine.definition.agent_files import FOLDER, folders
        from fleetprompt.engine.definition.yaml import load_document

        found: set[str] = set()
        places = {self._root / FOLDER, *(each for folder in self._settings.workflows for each in folders(folder))}
        for path in (path for place in places for path in place.glob("*.yaml")):
            found |= mapping(mapping(load_document(path.read_bytes(), path.name).data).get("functions")).keys()
        for path in (path for folder in self._settings.workflows for path in folder.glob("*.y*ml")):
            agents = mapping(mapping(load_document(path.read_bytes(), path.name).data).get("agents"))
            for agent in agents.values():
                found |= mapping(mapping(agent).get("functions")).keys()
        return frozenset(found)

    # ---------------------------------------------------------------- what is wrong with the settings

    def settings_problems(self) -> list[Problem]:
        """What is wrong with `[models]`, `[tools]`, `[mcp]` and `[policy]` of the settings, and with `policy.toml`."""
        from fleetprompt.engine.tools.policy_file import policy_problems

        def doubts(policy: Mapping[str, Any]) -> Iterator[Said]:
            return self._tools.doubts(policy, self._functions)

        policy = policy_problems(self._root, self._settings.policy, doubts)
        return self._shown([*self._of_models(), *self._of_tables(), *policy])

    def settings_errors(self) -> list[Problem]:
        """Why the settings of tools or the policy cannot be used, so that nothing may be called; no tool is looked at
        for that."""
        from fleetprompt.engine.tools.policy_file import policy_problems

        found = policy_problems(self._root, self._settings.policy, lambda policy: ())
        if self._settings.tools or self._settings.mcp:
            from fleetprompt.engine.tools.settings_file import table_problems

            found += table_problems(self._root, self._settings.tools, self._settings.mcp)
        return self._shown([problem for problem in found if problem.severity == "error"])

    def _shown(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems with their files as people would name them from here."""
        return [replace(problem, file=shown(self._root / problem.file)) for problem in problems]

    def _of_models(self) -> Iterator[Problem]:
        """Models whose provider nobody knows."""
        found: list[tuple[tuple[str | int, ...], Said]] = []
        for alias, settings in self._settings.models.items():
            if not settings.api_base and (said := self.model(settings.model)) is not None:
                found.append((("models", alias, "model"), said))
            for place, name in enumerate(settings.fallback):
                if (said := self.model(name)) is not None:
                    found.append((("models", alias, "fallback", place), said))
        if found:
            from fleetprompt.engine.definition.toml import TomlFile

            file = TomlFile(self._root / SETTINGS, SETTINGS)
            for path, said in found:
                yield file.at(path, said.code, said.message, said.hint)

    def _of_tables(self) -> Iterator[Problem]:
        tools, servers = self._settings.tools, self._settings.mcp
        if not tools and not servers:
            return
        from fleetprompt.engine.definition.toml import TomlFile
        from fleetprompt.engine.tools.settings_file import table_problems

        found = table_problems(self._root, tools, servers)
        yield from found
        file = TomlFile(self._root / SETTINGS, SETTINGS)
        listed = not any(problem.pointer.startswith("/tools/python") for problem in found)
        for place, error in self._tools.look_at_functions().items() if listed else ():
            yield file.at(("tools", "python", place), ProblemCode.BAD_VALUE, error.message, error.hint)
        embedding = mapping(tools.get("memory")).get("embedding")
        if isinstance(embedding, str) and (said := self.model(embedding)) is not None:
            yield file.at(("tools", "memory", "embedding"), said.code, said.message, said.hint)


def _listed(known: Sequence[str]) -> str:
    return f"; there are: {', '.join(known[:LISTED])}{', …' if len(known) > LISTED else ''}" if known else ""


def _allowed(table: Any) -> list[str]:
    return _texts(mapping(table).get("allow", ["*"]))


def _texts(value: Any) -> list[str]:
    """The texts of a list: what else is in it is told where settings are looked at."""
    return [each for each in cast("list[Any]", value) if isinstance(each, str)] if isinstance(value, list) else []
