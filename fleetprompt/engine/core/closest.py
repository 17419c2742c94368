"""What somebody may have meant who wrote a name that does not exist. PURE."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

MAX_CANDIDATES = 500
"""Names that are compared at most: a hostile file may define a hundred thousand."""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`did you mean …?` with the one to three closest candidates, or nothing when none is close."""
    if not word or len(word) > 100:
        return ""
    plain = _plain_word(word)
    scores: dict[str, float] = {}
    for candidate in islice(candidates, MAX_CANDIDATES):
        score = _closeness(plain, _plain_word(candidate))
        if score >= 0.6 and candidate != word:
            scores[candidate] = score
    best = sorted(scores, key=lambda candidate: (-scores[candidate], candidate))[:3]
    close = [f"`{name}`" for name in best if scores[name] >= scores[best[0]] - 0.1]
    if not close:
        return ""
    listed = close[0] if len(close) == 1 else f"{', '.join(close[:-1])} or {close[-1]}"
    return f"did you mean {listed}?"


def _plain_word(word: str) -> str:
    return word.casefold().replace("-", "_").replace(" ", "_")


def _closeness(word: str, candidate: str) -> float:
    if word == candidate:
        return 1.0
    # The ratio of short words is useless: `fi` and `if` share half their letters and are one slip apart.
    if len(word) == len(candidate) and len(word) > 1 and sorted(word) == sorted(candidate):
        return 0.9
    matcher = difflib.SequenceMatcher(a=word, b=candidate, autojunk=False)
    if matcher.real_quick_ratio() < 0.6 or matcher.quick_ratio() < 0.6:
        return 0.0
    return matcher.ratio()
