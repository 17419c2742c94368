"""Pictures: what kind of file bytes are, and a real one drawn without asking any model. PURE."""

from __future__ import annotations

import re
import struct
import zlib
from hashlib import sha256
from typing import Final

from fleetprompt.engine.core.errors import InvalidInput

MOST_PIXELS: Final = 4096
_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")
_GRID: Final = 8
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)


def media_type(data: bytes) -> str:
    """The media type of a picture, by how it begins."""
    for start, name in _SIGNATURES:
        if data.startswith(start):
            return name
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else "application/octet-stream"


def parse_size(size: str) -> tuple[int, int]:
    """Width and height of `1024x768`. Raises `InvalidInput`."""
    found = _SIZE.fullmatch(size)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (0 < width <= MOST_PIXELS and 0 < height <= MOST_PIXELS):
        raise InvalidInput(f"`{size}` is no size of a picture", hint=f"write 1024x1024, with at most {MOST_PIXELS}")
    return width, height


def draw(prompt: str, size: str) -> bytes:
    """A PNG of coloured tiles, mirrored down the middle: always the same for the same prompt. Raises `InvalidInput`."""
    width, height = parse_size(size)
    seed = sha256(prompt.encode("utf-8", "replace")).digest()
    colours = [bytes(64 + byte * 3 // 4 for byte in seed[at : at + 3]) for at in (0, 3, 6)]
    bits = sha256(seed).digest()
    # One row of pixels per row of tiles: the others are the same.
    columns = [min(x * _GRID // width, _GRID - 1 - x * _GRID // width) for x in range(width)]
    tiles: list[bytes] = []
    for row in range(_GRID):
        shades = [colours[bits[row * 4 + column] % 3] for column in range(_GRID // 2)]
        tiles.append(b"\0" + b"".join(shades[column] for column in columns))
    body = zlib.compress(b"".join(tiles[y * _GRID // height] for y in range(height)), 6)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    text = b"Comment\0SIMULATED by FleetPrompt: no model was asked"
    chunks = [(b"IHDR", header), (b"tEXt", text), (b"IDAT", body), (b"IEND", b"")]
    return _SIGNATURES[0][0] + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
