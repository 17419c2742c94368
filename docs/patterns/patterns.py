"""The few functions that the pattern files call. They stand for services: quick, offline, always the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

LINKS = {"home": ["news", "shop"], "news": ["news/1"], "shop": [], "news/1": []}
PAYMENTS: dict[str, dict[str, Any]] = {}
"""What the payment service has on its books: idempotency key to payment."""


async def ending_in(names: list[str], end: str) -> list[str]:
    """The names with that end."""
    return [name for name in names if name.endswith(end)]


async def links(page: str) -> list[str]:
    """The pages that a page names."""
    return LINKS[page]


async def count_words(text: str) -> dict[str, int]:
    """How often each word stands in a text."""
    return Counter(text.split())


async def add_up(counts: list[dict[str, int]]) -> dict[str, int]:
    """Counts added up, the most frequent words first."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items(), key=lambda one: (-one[1], one[0])))


async def good_and_bad(results: list[Any]) -> dict[str, int]:
    """How many iterations of a loop went well, and how many did not."""
    bad = sum(isinstance(result, dict) and "error" in result for result in results)
    return {"good": len(results) - bad, "bad": bad}


async def good_from(attempt: int, context: Any) -> str:
    """Fails until the given attempt."""
    if context.attempt < attempt:
        raise ConnectionError(f"no answer to attempt {context.attempt}")
    return f"answered attempt {context.attempt}"


async def job(done_after: int, context: Any) -> dict[str, Any]:
    """A job that is done when it has been asked for so many times."""
    return {"status": "done" if context.attempt >= done_after else "running", "errors": 0}


async def fails(why: str) -> None:
    """Fails."""
    raise RuntimeError(why)


async def never_answers() -> None:
    """Takes a day."""
    await asyncio.sleep(86_400)


async def book(what: str) -> str:
    """A booking."""
    return f"booked {what}"


async def release(booking: str) -> str:
    """Undoes a booking, which takes a second."""
    await asyncio.sleep(1)
    return f"undone: {booking}"


async def pays_and_hangs(amount: int, context: Any) -> None:
    """Pays, and then the line is dead."""
    PAYMENTS[context.key] = {"amount": amount}
    await asyncio.sleep(86_400)


async def payment(key: str) -> dict[str, Any] | None:
    """The payment under a key, if there is one."""
    return PAYMENTS.get(key)
