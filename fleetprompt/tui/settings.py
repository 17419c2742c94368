"""How this operator likes the console: `console.toml` in the folder of user settings (XDG Base Directories).

```toml
theme = "light"            # or "dark"
[keys]
"run.cancel" = "ctrl+x"    # or a list of keys
```
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from msgspec import Struct

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.toml import TomlFile
from fleetprompt.tui.keymap import SIGNS, Keymap

FILE = "console.toml"
THEMES = ("dark", "light")


class ConsoleSettings(Struct, frozen=True):
    """What the file says, and what of it cannot be used."""

    light: bool = False
    keymap: Keymap = Keymap()
    file: str = ""
    problems: tuple[str, ...] = ()


def user_folder() -> Path:
    """Where settings of this user are kept."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "fleetprompt"


def load_settings(path: Path | None = None) -> ConsoleSettings:
    """The settings of this user; what is wrong in them is told, and the console opens all the same."""
    path = path or user_folder() / FILE
    light = os.environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")
    if not path.is_file():
        return ConsoleSettings(light=light)
    try:
        values = TomlFile(path, str(path)).values
    except FleetError as error:
        return ConsoleSettings(light=light, file=str(path), problems=(error.message,))
    problems = [f"there is no setting `{name}`" for name in values if name not in ("theme", "keys")]
    theme = values.get("theme", "light" if light else "dark")
    if theme not in THEMES:
        problems.append(f"`theme` is one of {', '.join(THEMES)}, not {theme!r}")
    chosen, wrong = _keys(values.get("keys", {}))
    return ConsoleSettings(
        light=theme == "light",
        keymap=Keymap(chosen),
        file=str(path),
        problems=(*problems, *wrong),
    )


def _keys(given: Any) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    if not isinstance(given, dict):
        return {}, ["`keys` is a table: write [keys], and its entries below it"]
    names = {sign: key for key, sign in SIGNS.items()}
    chosen: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for id_, value in given.items():
        keys = [value] if isinstance(value, str) else value
        if isinstance(keys, list) and keys and all(isinstance(key, str) and key for key in keys):
            chosen[id_] = tuple(names.get(key, key) for key in keys)
        else:
            problems.append(f"the keys of `{id_}` are a text or a list of texts")
    return chosen, problems
