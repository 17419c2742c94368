"""Settings: `fleet.toml`, then the environment, then flags. Read by the command line and the daemon only.

The project is the nearest folder upwards that holds `fleet.toml` or `.fleet/`; its state lives in `.fleet/`.
"""

from __future__ import annotations

import os
import pwd
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, ValidationError, convert

from fleetprompt.engine.core.errors import InvalidInput

FILE = "fleet.toml"
STATE = ".fleet"


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a project says about itself."""

    database: str = ""
    """URL or path of the store; empty: `.fleet/fleet.db`. Environment: FLEET_DATABASE_URL."""
    workflows: str = "workflows"
    """Folder of the workflow files."""
    max_runs: int | None = None
    """Active runs in the whole fleet. Environment: FLEET_MAX_RUNS."""
    pools: dict[str, int] = {}
    """Places of step pools by name."""
    threads: int = 64
    """Threads for functions that block."""
    grace: float = 10.0
    """Seconds that work may take to finish when the engine closes."""
    groups: dict[str, list[str]] = {}
    """Groups of operators, for `approvers: [group:NAME]`."""
    log_retention_days: float = 14.0
    retention_days: float = 90.0


class Project(Struct, frozen=True):
    """Where we are."""

    root: Path
    settings: Settings

    @property
    def state(self) -> Path:
        """Folder of the project's state."""
        return self.root / STATE

    @property
    def database(self) -> str:
        """URL or path of the store."""
        return self.settings.database or str(self.state / "fleet.db")

    @property
    def workflows(self) -> Path:
        return self.root / self.settings.workflows


def find_root(start: Path) -> Path:
    """The nearest folder upwards with `fleet.toml` or `.fleet/`, or the start itself."""
    for folder in (start, *start.parents):
        if (folder / FILE).is_file() or (folder / STATE).is_dir():
            return folder
    return start


def load_project(start: Path | None = None, *, database: str = "") -> Project:
    """The project of a folder. Raises `InvalidInput` for a `fleet.toml` that cannot be used."""
    root = find_root((start or Path.cwd()).resolve())
    values: dict[str, Any] = {}
    file = root / FILE
    if file.is_file():
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
            if isinstance(values.get("database"), str) and "://" not in values["database"]:
                # What a file says starts at the file, what a person types starts where the person is.
                values["database"] = str(root / values["database"])
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{file}: {error}", hint="it is read as TOML 1.0") from None
    values = {**values, **_environment(os.environ)}
    if database:
        values["database"] = database
    try:
        return Project(root, convert(values, Settings))
    except ValidationError as error:
        raise InvalidInput(f"{file if file.is_file() else 'environment'}: {error}") from None


def _environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if environment.get("FLEET_DATABASE_URL"):
        values["database"] = environment["FLEET_DATABASE_URL"]
    if environment.get("FLEET_MAX_RUNS"):
        try:
            values["max_runs"] = int(environment["FLEET_MAX_RUNS"])
        except ValueError:
            raise InvalidInput(f"FLEET_MAX_RUNS is a number, not {environment['FLEET_MAX_RUNS']!r}") from None
    return values


def operator() -> str:
    """Who is at the keyboard: the user of the operating system. Variables such as LOGNAME are anybody's to set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"
