"""Full text as every store understands it: the words of a text, and which of some texts say most about others. Pure.

The databases only index what `words_of` gives, and find candidates by it: the order is the same everywhere.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

MOST_WORDS: Final = 48
"""Words of a question that are looked for: the longest ones, which say most."""
LONGEST: Final = 60
"""Characters of a word that count."""
CANDIDATES: Final = 300
"""Texts that are ranked."""
_WORD: Final = re.compile(r"[^\W_]+")
_BEGINS: Final = 0.6
"""What a word counts that only begins like the one that is looked for."""
_SATURATION, _LENGTH = 1.2, 0.5


def words_of(text: str) -> list[str]:
    """The words of a text without accents and in lower case; nothing but letters and digits."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(char for char in plain if not unicodedata.combining(char))
    return [word[:LONGEST] for word in _WORD.findall(bare)]


def wanted(text: str) -> list[str]:
    """The words of a question, each once."""
    words = [word for word in dict.fromkeys(words_of(text)) if len(word) > 1 or word.isdigit()]
    return sorted(words, key=len, reverse=True)[:MOST_WORDS]


def ranked(question: Sequence[str], texts: Mapping[int, Sequence[str]]) -> list[int]:
    """Keys of the texts that hold one of the words, or a word that begins so, the best first (BM25); of equal ones the
    highest key."""
    meaning = _Meaning(question)
    found = {key: meaning.counts(words) for key, words in texts.items()}
    found = {key: counts for key, counts in found.items() if any(counts)}
    if not found:
        return []
    number, mean = len(found), sum(len(texts[key]) for key in found) / len(found)
    held = [sum(counts[at] > 0 for counts in found.values()) for at in range(len(question))]
    weights = [math.log(1 + (number - n + 0.5) / (n + 0.5)) for n in held]

    def score(key: int) -> float:
        damping = _SATURATION * (1 - _LENGTH + _LENGTH * len(texts[key]) / mean)
        return sum(weight * count / (count + damping) for weight, count in zip(weights, found[key], strict=True))

    return sorted(found, key=lambda key: (-round(score(key), 9), -key))


class _Meaning:
    """Which words of a question a word stands for; each word is looked at once."""

    def __init__(self, question: Sequence[str]) -> None:
        self._places = {word: at for at, word in enumerate(question)}
        self._lengths = sorted({len(word) for word in question})
        self._known: dict[str, list[tuple[int, float]]] = {}

    def counts(self, words: Sequence[str]) -> list[float]:
        """How often each word of the question stands in a text."""
        counts = [0.0] * len(self._places)
        for word in words:
            known = self._known.get(word)
            if known is None:
                known = self._known[word] = self._stands_for(word)
            for at, amount in known:
                counts[at] += amount
        return counts

    def _stands_for(self, word: str) -> list[tuple[int, float]]:
        beginnings = (word[:length] for length in self._lengths if length <= len(word))
        return [
            (self._places[begin], 1.0 if begin == word else _BEGINS) for begin in beginnings if begin in self._places
        ]
