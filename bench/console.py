"""The console over a pseudo-terminal: how soon it paints, how soon it answers a key, and what it costs at rest.

Rows are recognised by the colour behind the cursor together with the id that must stand there, so that neither an
older frame nor a row that is not read yet is taken for the answer.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from textual.color import Color

from bench.ours import place
from bench.past import fill
from bench.session import PAST
from bench.startup import fleet
from bench.task import ROOT, Figures, Task, spread
from bench.terminal import ESCAPES, Terminal
from fleetprompt.client.opening import open_console
from fleetprompt.client.wording import short
from fleetprompt.tui.widgets.filter_bar import OFFERED
from fleetprompt.tui.widgets.palette import DARK, TINT

RUNS, FEW_RUNS = 100_000, 10_000
ROWS = 20
"""Rows that every list shows at 160x50, also with a preview below it."""
FILTERS = (
    "status:failed",
    "wf:nightly-eval by:ada",
    "label.env=prod -wf:triage-inbox",
    '"Too Many Requests" by:ada',
    "cost>0.1",
    "since:2d by:ada",
)
"""The last key of each changes the rows at the top, also where all the others have been looked for meanwhile."""
COVERED = OFFERED + 3
"""Rows at the top of the list that may lie under what is offered to complete a filter."""
TYPING = 0.04
"""Seconds between two keys of a text that is typed."""
FRAME = "/ filter"
"""Stands in the last line of the frame."""
HOLE = "·" * 60
"""A row that has not been read yet."""
MINIMAL = """
from textual.app import App
from textual.widgets import Static

class Minimal(App):
    def compose(self):
        yield Static("painted")

Minimal().run()
"""


def _behind(tint: float) -> bytes:
    """How a terminal is told the colour behind a cursor, as it is made by the palette."""
    assert DARK.background is not None
    color = Color.parse(DARK.background).blend(Color.parse(DARK.primary), tint, 1)
    return b"48;2;%d;%d;%dm" % color.rgb


CURSOR = _behind(TINT)


def row_of(id_: str, behind: bytes = CURSOR) -> Callable[[bytes], bool]:
    """Whether the whole row of that id has been painted as the cursor's: up to where the terminal's cursor moves on."""
    ground = re.escape(behind)
    rest = rb"(?:\x1b\[0m)?(?:\x1b\[[0-9;]*%s[^\x1b]*(?:\x1b\[0m)?)*(?:\r\n)?\x1b\[\d+;\d+H" % ground
    found = re.compile(ground + rb"[^\x1b]*" + short(id_).encode() + rb"[^\x1b]*" + rest)
    return lambda painted: found.search(painted) is not None


def rows_of(ids: Sequence[str]) -> Callable[[bytes], bool]:
    """Whether all these rows have been painted."""
    wanted = [short(id_).encode() for id_ in ids]
    return lambda painted: wanted[-1] in painted and all(id_ in painted for id_ in wanted)


def past(task: Task) -> Path:
    """A project with many runs in its store, made once for all measures. Whoever changes anything there copies it."""
    runs = FEW_RUNS if task.quick else RUNS
    folder = Path(task.shared).parent / f"{PAST}{runs}"
    if not (folder / "filled").exists():
        shutil.rmtree(folder, ignore_errors=True)
        asyncio.run(fill(folder, runs))
        # What the runs of the past were doing when they were interrupted is settled, and files and byte code are warm.
        with console(folder) as terminal:
            terminal.until_text(f"{runs:,} runs")
            terminal.read(3.0)
        (folder / "filled").touch()
    return folder


def copied(task: Task) -> Path:
    """The same in the task's folder, to be changed."""
    shutil.rmtree(task.path / ".fleet", ignore_errors=True)
    shutil.copytree(past(task), task.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
    # The disk is not to be busy with the copy while something else is measured.
    os.sync()
    return task.path


@contextmanager
def console(folder: Path, *options: str) -> Iterator[Terminal]:
    """The console of a project, with the engine embedded, in a terminal of 160x50; the settings of nobody."""
    env = {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder / "nobody")}
    terminal = Terminal([*fleet(), "-C", str(folder), *options], folder, env=env)
    try:
        yield terminal
    finally:
        terminal.close()


def listed(folder: Path, filter_: str = "", most: int = 10_000) -> list[str]:
    """Ids of the runs that match, as the list must show them."""

    async def read() -> list[str]:
        asked = await open_console(place(folder), "attach")
        try:
            seqs = await asked.index(filter_)
            return [head.id for head in await asked.heads(seqs[:most]) if head is not None]
        finally:
            await asked.close()

    return asyncio.run(read())


class Keys:
    """Presses keys in the list of runs and waits for what they must paint."""

    def __init__(self, terminal: Terminal, ids: Sequence[str]) -> None:
        self.terminal = terminal
        self.ids = ids
        self.at = 0
        self.holes = 0
        """Frames of an answer in which rows were missing."""
        self._random = random.Random(1)

    def move(self, key: str, step: int) -> float:
        """Seconds from a key that moves the cursor so many rows to the last byte of the row it moves to."""
        self.terminal.forget()
        self.at += step
        self.terminal.press(key)
        took = self.terminal.until(row_of(self.ids[self.at]))
        self.holes += HOLE.encode() in self.terminal.painted
        return took

    def pause(self, least: float = 0.05, most: float = 0.35) -> None:
        """As somebody does who reads: out of step with all clocks, and now and then long enough for the preview."""
        self.terminal.read(self._random.uniform(least, most))

    def find(self, key: str) -> int:
        """How many rows a key moves the cursor."""
        self.terminal.forget()
        self.terminal.press(key)
        self.terminal.read(0.5)
        before = self.at
        self.at = max(at for at, id_ in enumerate(self.ids) if row_of(id_)(self.terminal.painted))
        return self.at - before

    def down(self, times: int) -> list[float]:
        """The cursor down, at first on the screen, then with the list scrolling under it."""
        return [self._moved("down", 1) for _ in range(times)]

    def up_and_down(self, times: int, rows: int) -> list[float]:
        """The cursor to and fro on rows that are on the screen."""
        took: list[float] = []
        while len(took) < times:
            key, step = ("down", 1) if len(took) // (rows - 1) % 2 == 0 else ("up", -1)
            took.append(self._moved(key, step))
        return took

    def pages(self, times: int) -> list[float]:
        """Pages down."""
        step = self.find("pagedown")
        self.pause()
        return [self._moved("pagedown", step) for _ in range(times)]

    def _moved(self, key: str, step: int) -> float:
        took = self.move(key, step)
        self.pause()
        return took

    def top(self) -> None:
        """To the first run, and rest."""
        self.terminal.press("home")
        self.terminal.read(0.6)
        self.at = 0

    def refilter(self, filter_: str, ids: Sequence[str]) -> float:
        """Seconds from the last key of a filter that is typed to the last row of its result.

        Rows under the offered completions cannot be seen.
        """
        self.terminal.press("/")
        self.terminal.read(0.3)
        for character in filter_[:-1]:
            self.terminal.press(character)
            self.terminal.read(TYPING)
        self.terminal.forget()
        self.terminal.press(filter_[-1])
        took = self.terminal.until(rows_of(ids[COVERED:]))
        self.terminal.press("enter")
        self.terminal.read(0.3)
        self.terminal.press("escape")
        self.terminal.read(0.4)
        return took


def _first_paint(folder: Path, ids: Sequence[str]) -> tuple[float, float]:
    """Seconds from exec to the frame, and to the rows."""
    with console(folder) as terminal:
        return _painted(terminal, ids)


def _painted(terminal: Terminal, ids: Sequence[str]) -> tuple[float, float]:
    terminal.until_text(FRAME)
    frame = terminal.age
    terminal.until(rows_of(ids[:ROWS]))
    return frame, terminal.age


def measure(task: Task) -> Figures:
    """Everything about the list of runs while nothing happens."""
    folder = past(task)
    ids = listed(folder)
    results = {filter_: listed(folder, filter_, ROWS) for filter_ in FILTERS}
    firsts = [_first_paint(folder, ids) for _ in range(0 if task.quick else 2)]
    with console(folder) as terminal:
        firsts.append(_painted(terminal, ids))
        terminal.read(2.0)
        found: Figures = {"memory_mb": terminal.memory}
        keys = Keys(terminal, ids)
        found |= spread(keys.down(20 if task.quick else 100), "down")
        found |= spread(keys.pages(10 if task.quick else 60), "page")
        keys.top()
        typed = [(filter_, results[filter_]) for filter_ in FILTERS] * (1 if task.quick else 4)
        found |= spread([keys.refilter(filter_, shown) for filter_, shown in typed], "refilter")
        terminal.read(2.0)
        seconds = 3 if task.quick else 20
        before = terminal.cpu
        terminal.read(seconds)
        found |= {"idle_percent": (terminal.cpu - before) / seconds * 100, "memory_after_mb": terminal.memory}
    found |= {"frame_s": statistics.median(frame for frame, _ in firsts)}
    found |= {"rows_s": statistics.median(rows for _, rows in firsts)}
    if keys.holes:
        found["notes"] = [f"{keys.holes} answers came with rows that had not been read"]
    return found


def floor(task: Task) -> Figures:
    """What Textual alone takes: to be imported, and to paint one word."""

    def imported() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import textual.app"], check=True)
        return time.perf_counter() - began

    def painted() -> float:
        terminal = Terminal([sys.executable, "-c", MINIMAL], task.path)
        try:
            terminal.until_text("painted")
            return terminal.age
        finally:
            terminal.close()

    times = 1 if task.quick else 3
    word = statistics.median([painted() for _ in range(times + 1)][1:])
    return {"import_s": statistics.median([imported() for _ in range(times)]), "frame_s": word, "rows_s": word}


def painted_text(painted: bytes) -> str:
    """What was painted, without colours and positions."""
    return ESCAPES.sub(b"", painted).decode(errors="replace")
