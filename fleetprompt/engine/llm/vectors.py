"""Vectors of texts without a model: words and pairs of words, hashed. Texts that share words are near. PURE."""

from __future__ import annotations

import math
import re
from hashlib import blake2b
from itertools import pairwise
from typing import Final

SIZE: Final = 256
_WORD: Final = re.compile(r"\w+")
_NOTHING: Final = "\0"
"""Stands for a text without words: every vector has length 1."""


def embed_text(text: str) -> tuple[float, ...]:
    """A vector of length 1, always the same for the same text."""
    words = _WORD.findall(text.casefold())
    vector = [0.0] * SIZE
    for gram in [*words, *(f"{a} {b}" for a, b in pairwise(words))] or [_NOTHING]:
        number = int.from_bytes(blake2b(gram.encode("utf-8", "replace"), digest_size=8).digest())
        vector[number % SIZE] += 1.0 if number >> 63 else -1.0
    length = math.sqrt(sum(value * value for value in vector))
    if not length:
        # Two grams that cancel each other out.
        vector[0] = length = 1.0
    return tuple(value / length for value in vector)
