"""How this operator likes the console: `console.toml` in the folder of user settings (XDG Base Directories).

```toml
theme = "light"            # or "dark"
[keys]
"run.cancel" = "ctrl+x"    # or a list of keys; [] takes them away
```
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from fleetprompt.client.definitions import TomlFile
from fleetprompt.engine.core.errors import FleetError, InvalidInput
from fleetprompt.tui.key_names import read_key
from fleetprompt.tui.keymap import Keymap

FILE = "console.toml"
SETTINGS = ("theme", "keys")
THEMES = ("dark", "light")
_UNREAD = "the console opens without it"


class ConsoleSettings(Struct, frozen=True):
    """What the file says, and what of it cannot be used."""

    light: bool = False
    keymap: Keymap = Keymap()
    file: str = ""
    problems: tuple[str, ...] = ()


def user_folder() -> Path:
    """Where settings of this user are kept."""
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".config") / "fleetprompt"


def state_folder() -> Path:
    """Where what this user has made in consoles is kept, of projects that are not here."""
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local" / "state") / "fleetprompt"


def load_settings(path: Path | None = None) -> ConsoleSettings:
    """The settings of this user; what is wrong in them is told, and the console opens all the same."""
    path = path or user_folder() / FILE
    light = os.environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")
    try:
        values = _read(path)
    except FleetError as error:
        return ConsoleSettings(light=light, file=str(path), problems=(_on_one_line(error),))
    problems = [_no_setting(name) for name in values if name not in SETTINGS]
    theme = values.get("theme", "light" if light else "dark")
    if theme not in THEMES:
        problems.append(f"`theme` is one of {', '.join(THEMES)}, not {str(theme)[:40]!r}")
    chosen, wrong = _keys(values.get("keys", {}))
    return ConsoleSettings(light=theme == "light", keymap=Keymap(chosen), file=str(path), problems=(*problems, *wrong))


def _read(path: Path) -> dict[str, Any]:
    """What the file says; nothing where there is none. Raises `FleetError`."""
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise InvalidInput(f"the file cannot be read: {why}", hint=_UNREAD) from None
    if not stat.S_ISREG(kind):
        what = "a folder" if stat.S_ISDIR(kind) else "no file"
        raise InvalidInput(f"this is {what}", hint=f"settings are a file of TOML; {_UNREAD}")
    return TomlFile(path, str(path)).values


def _on_one_line(error: FleetError) -> str:
    place = error.where.partition(".toml:")[2]
    line = f"line {place}: " if place else ""
    return f"{line}{error.message} — {error.hint or _UNREAD}"


def _no_setting(name: str) -> str:
    from fleetprompt.engine.core.closest import did_you_mean

    return f"there is no setting `{name}` — {did_you_mean(name, SETTINGS) or 'settings are `theme` and `[keys]`'}"


def _keys(given: Any) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    if not isinstance(given, dict):
        return {}, ["`keys` is a table — write [keys], and its entries below it"]
    chosen: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for id_, value in _flat(given):
        written = [value] if isinstance(value, str) else value
        if not isinstance(written, list) or not all(isinstance(key, str) and key for key in written):
            problems.append(f"`{id_}`: keys are a text or a list of texts — [] takes the keys away")
            continue
        keys: list[str] = []
        for text in written:
            try:
                keys.append(read_key(text))
            except InvalidInput as error:
                problems.append(f"`{id_}`: {error.message} — {error.hint}")
        # Where nothing can be used of what was chosen, nothing was.
        if keys or not written:
            chosen[id_] = tuple(keys)
    return chosen, problems


def _flat(given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Entries by their ids: without quotes, `run.cancel = "x"` is a table in a table."""
    for name, value in given.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{rest}", inner) for rest, inner in _flat(value))
        else:
            yield name, value
