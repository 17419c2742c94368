"""`python docs/screenshots.py [NAME …]`: the pictures of the console in docs/, from recorded journals.

It needs `rsvg-convert`, Fira Code and DejaVu (apt install librsvg2-bin fonts-firacode fonts-dejavu-core), and Pillow
(`uv run --with pillow`). The same journals give the same pictures.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
os.environ |= {"COLORTERM": "truecolor", "TERM": "xterm-256color"}
os.environ.pop("NO_COLOR", None)

from PIL import Image  # noqa: E402

from tests.tui.recorded import RecordedProject, Tape, shop  # noqa: E402
from tests.tui.recorded_console import pressing, still  # noqa: E402

WIDTH = 1700
"""Pixels."""
MOST = 150_000
"""Bytes of a picture."""
SIZE = (132, 36)
PICTURES: dict[str, tuple[str, tuple[str, ...]]] = {
    "runs": ("", ()),
    "run": (f"run {Tape('incident').run}", ("2",)),
    "approvals": ("approvals", ("down",)),
    "workflows": ("workflows", ("down",)),
    "cost": ("cost", ()),
    "agent": (f"run {Tape('diagnosis').run} diagnose", ("right", "down", "down", "down", "down", "2")),
    "call": (f"approvals run:{Tape('team').runs[1]}", ()),
    "agents": ("agents sre", ()),
}
AGENTS = ("agent", "call", "agents")
"""Pictures for which agents have worked, too: their words are simulated, what they did is real."""
"""Name to where the console opens, and what is pressed there."""


async def svg(folder: Path, link: str, keys: tuple[str, ...], *, agents: bool) -> str:
    """What the console shows then."""
    os.chdir(folder)
    project = RecordedProject(Path("shop"))
    await project.put(*shop())
    if agents:
        await project.put(Tape("team", ago=300), Tape("diagnosis", ago=60))
        (project.root / "agents").mkdir()
        shutil.copy(HERE.parent / "agents" / "sre.yaml", project.root / "agents")
    app = still(project, link=link)
    async with app.run_test(size=SIZE) as pilot:
        await pressing(*keys)(pilot)
        return app.export_screenshot()


def png(text: str) -> bytes:
    """The picture with as few colours as make it small enough. Raises `SystemExit` where it stays too large."""
    made = subprocess.run(["rsvg-convert", "-w", str(WIDTH)], input=text.encode(), capture_output=True, check=True)
    image = Image.open(io.BytesIO(made.stdout)).convert("RGB")
    for colors in (200, 128, 64, 32):
        out = io.BytesIO()
        image.quantize(colors, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if len(out.getvalue()) <= MOST:
            return out.getvalue()
    raise SystemExit(f"a picture has {len(out.getvalue()):,} bytes, whatever its colours")


def main() -> None:
    """Make what is named, or everything."""
    for name in sys.argv[1:] or PICTURES:
        link, keys = PICTURES[name]
        with tempfile.TemporaryDirectory() as folder:
            text = asyncio.run(svg(Path(folder), link, keys, agents=name in AGENTS))
        file = HERE / f"console-{name}.png"
        file.write_bytes(png(text))
        sys.stdout.write(f"{file.relative_to(HERE.parent)}: {file.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
