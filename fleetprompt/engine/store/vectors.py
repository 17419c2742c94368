"""Vectors as stores keep them, and the exact search for the nearest. Pure.

NumPy is imported by the first search, which may take a tenth of a second: search in a thread.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable, Sequence

LEAST = 0.05
"""Cosine below which two texts have nothing to do with each other."""


def packed(numbers: Sequence[float]) -> bytes:
    """A vector of length 1 in the same direction, as 32-bit numbers, little-endian; empty for one without direction."""
    length = math.sqrt(math.fsum(number * number for number in numbers))
    if not length or not math.isfinite(length):
        return b""
    row = array("f", (number / length for number in numbers))
    if sys.byteorder == "big":
        row.byteswap()
    return row.tobytes()


def nearest(numbers: Sequence[float], rows: Iterable[tuple[int, bytes]], limit: int) -> list[int]:
    """Keys of the packed vectors that are nearest, the nearest first; of equal ones the highest key. Those of another
    size are left out."""
    asked = packed(numbers)
    alike = [(key, data) for key, data in rows if len(data) == len(asked)] if asked else []
    if not alike:
        return []
    import numpy as np

    keys = np.array([key for key, _ in alike], dtype=np.int64)
    matrix = np.frombuffer(b"".join(data for _, data in alike), dtype="<f4").reshape(len(alike), -1)
    cosines = matrix @ np.frombuffer(asked, dtype="<f4")
    enough = cosines >= LEAST
    keys, cosines = keys[enough], cosines[enough].round(6)
    return keys[np.lexsort((-keys, -cosines))[:limit]].tolist()
