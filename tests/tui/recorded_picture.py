"""Pictures of a console as SVG: what Rich exports, in a third of the bytes, a line for every line of the screen."""

from __future__ import annotations

import io
import re
from typing import Any

from rich.console import Console
from textual.app import App
from textual.color import Color

CELL, LINE = 12.2, 24.4
"""Width and height of a cell in Rich's pictures."""
BORDER = 10
LONG = 8
"""Cells from which on a text is told its length, so that it ends where it should in fonts that are narrower."""
FORMAT = "{unique_id}\0{styles}\0{backgrounds}\0{matrix}"
"""What is taken from Rich; the window, fonts from the web and a clip path for every line are not."""
PICTURE = """<svg class="rich-terminal" xmlns="http://www.w3.org/2000/svg" xml:space="preserve"
viewBox="0 0 {width:g} {height:g}">
<style>
.{id}-matrix {{ font-family: Fira Code, DejaVu Sans Mono, monospace; font-size: 20px; }}
{styles}
</style>
<rect class="{id}-ground" fill="{ground}" width="{width:g}" height="{height:g}" rx="8"/>
<g transform="translate({border}, {border})">
{backgrounds}
<g class="{id}-matrix">
{lines}
</g>
</g>
</svg>
"""
_RECT = re.compile(r'<rect fill="([^"]*)" x="([^"]*)" y="([^"]*)" width="([^"]*)"')
_TEXT = re.compile(r'<text class="([^"]*)" x="([^"]*)" y="([^"]*)" textLength="([^"]*)"[^>]*>([^<]*)</text>')
_SPACE = "&#160;"


def picture(app: App[Any]) -> str:
    """What the app shows now."""
    width, height = app.size
    console = Console(
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        record=True,
        legacy_windows=False,
        safe_box=False,
    )
    behind = app._background_screens
    console.print(app.screen._compositor.render_update(full=True, screen_stack=behind, simplify=True))
    id_, styles, backgrounds, matrix = console.export_svg(title="", code_format=FORMAT).split("\0")
    return PICTURE.format(
        id=id_,
        styles=styles.strip(),
        width=width * CELL + 2 * BORDER,
        height=height * LINE + 2 * BORDER,
        border=BORDER,
        ground=Color.parse(app.theme_variables["panel"]).hex6,
        backgrounds="\n".join(_grounds(backgrounds)),
        lines="\n".join(_lines(matrix, set(re.findall(r"\.(\S+) \{[^}]*text-decoration", styles)))),
    )


def _grounds(backgrounds: str) -> list[str]:
    """Neighbours of the same colour are one rectangle, and so are those that stand on top of each other."""
    rows: list[tuple[str, float, float, float]] = []
    for fill, x, y, width in _RECT.findall(backgrounds):
        left, top, wide = float(x), float(y), float(width)
        if rows and rows[-1][0] == fill and rows[-1][2] == top and abs(rows[-1][1] + rows[-1][3] - left) < 0.1:
            _, left, _, before = rows.pop()
            wide += before
        rows.append((fill, left, top, wide))
    blocks: dict[tuple[str, int, int], list[float]] = {}
    found: list[tuple[str, float, float, float, float]] = []
    for fill, left, top, wide in rows:
        key = (fill, round(left), round(wide))
        block = blocks.get(key)
        if block is not None and abs(block[0] + block[1] - top) < 0.1:
            block[1] += LINE
        else:
            if block is not None:
                found.append((fill, left, block[0], wide, block[1]))
            blocks[key] = [top, LINE]
    found += [(fill, left, top, wide, high) for (fill, left, wide), (top, high) in blocks.items()]
    return [
        f'<rect fill="{fill}" x="{left:.5g}" y="{top:.5g}" width="{wide + 0.3:.5g}" height="{high + 0.3:.5g}"/>'
        for fill, left, top, wide, high in sorted(found, key=lambda block: (block[2], block[1]))
    ]


def _lines(matrix: str, lined: set[str]) -> list[str]:
    """The texts of each line, without the spaces around them, which are nothing unless they are underlined."""
    lines: dict[float, list[str]] = {}
    for style, x, y, length, said in _TEXT.findall(matrix):
        left, wide = float(x), float(length)
        while style not in lined and said.startswith(_SPACE):
            said, left, wide = said.removeprefix(_SPACE), left + CELL, wide - CELL
        while style not in lined and said.endswith(_SPACE):
            said, wide = said.removesuffix(_SPACE), wide - CELL
        if said:
            length = f' textLength="{wide:.5g}"' if wide > LONG * CELL else ""
            lines.setdefault(float(y), []).append(f'<tspan class="{style}" x="{left:.5g}"{length}>{said}</tspan>')
    return [f'<text y="{y:.5g}">{"".join(line)}</text>' for y, line in sorted(lines.items())]
