"""litellm, imported when the first model is called and made quiet: the only module that imports it.

litellm's own retries, router, callbacks, caches, budgets and verbose output stay off.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import warnings
from functools import cache
from importlib import import_module
from threading import Lock
from typing import Any, Final

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.llm.warm import warm
from fleetprompt.engine.outside.uncollected import uncollected

_once: Final = Lock()
_LOGGERS: Final = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
_CHATTY: Final = ("openai", "httpx", "httpcore", "aiohttp")


def imported() -> Any:
    """litellm, imported and made quiet. The first call takes seconds: to be made in a thread."""
    # What an import makes stays: to look through all of it again and again took a quarter of the seconds, and
    # everything else stands still for a fifth of one each time.
    with _once, warnings.catch_warnings(), uncollected():
        # Of its own code, and of no use to anybody here: they would be written over the console.
        warnings.simplefilter("ignore")
        return _load()


def is_imported() -> bool:
    return bool(_load.cache_info().currsize)


@cache
def _load() -> Any:
    # Without these it fetches a price list, reads `.env` files, and prints, all while it is being imported.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    before = os.environ.get("LITELLM_MODE")
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    try:
        import litellm
    finally:
        if before is None:
            os.environ.pop("LITELLM_MODE", None)
        else:
            os.environ["LITELLM_MODE"] = before
    library: Any = litellm
    library.telemetry = False
    library.set_verbose = False
    library.suppress_debug_info = True
    library.drop_params = False
    library.modify_params = False
    library.num_retries = 0
    library.DEFAULT_MAX_RETRIES = 0
    library.max_budget = 0.0
    library.cache = None
    library.disable_streaming_logging = True
    library.turn_off_message_logging = True
    library.disable_hf_tokenizer_download = True
    # It breaks an answer off that says the same a hundred times over, such as a table with empty cells. What an answer
    # may be is limited by its tokens and its time, and whether an agent goes in circles is looked at elsewhere.
    library.REPEATED_STREAMING_CHUNK_LIMIT = sys.maxsize
    for name in _LOGGERS:
        # They write to the terminal, which belongs to the console. What matters comes as an exception.
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)
    for name in _CHATTY:
        # They write down headers and addresses, in which there are keys.
        logging.getLogger(name).setLevel(logging.WARNING)
    warm(library)
    # Last, for what it imports with its first request adds some.
    _call_nobody(library)
    return library


def _call_nobody(library: Any) -> None:
    for name in ("callbacks", "input_callback", "success_callback", "failure_callback", "service_callback"):
        setattr(library, name, [])
    for name in ("_async_success_callback", "_async_failure_callback", "_async_input_callback"):
        setattr(library, name, [])


async def library() -> Any:
    """litellm; the first call waits for it to be imported in a thread."""
    return _load() if is_imported() else await asyncio.to_thread(imported)


_GOOGLE: Final = "litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini"
_GOOGLE_CACHE: Final = "litellm.llms.vertex_ai.context_caching.vertex_ai_context_caching"
"""Imported with the first request to Google, it has litellm call its cache for every answer from then on."""
SAID: Final = "fleetprompt_finish"
"""Attribute of Google's streams that holds the finish reason that Google sent."""


def mark_google_ends() -> None:
    """Let streams of Google's keep the finish reason that was sent: litellm says `stop` for each chunk that has none,
    so that nothing else tells a whole answer from one that was cut off."""
    streams: Any = import_module(_GOOGLE).ModelResponseIterator
    if hasattr(streams, SAID):
        return
    import_module(_GOOGLE_CACHE)
    _call_nobody(_load())
    parse = streams.chunk_parser

    def chunk_parser(self: Any, chunk: dict[str, Any]) -> Any:
        for candidate in chunk.get("candidates") or ():
            if candidate.get("finishReason"):
                setattr(self, SAID, str(candidate["finishReason"]))
        if mapping(chunk.get("promptFeedback")).get("blockReason"):
            setattr(self, SAID, "SAFETY")
        return parse(self, chunk)

    streams.chunk_parser = chunk_parser
    setattr(streams, SAID, None)


def openai_below(stream: Any) -> type[Exception] | None:
    """What OpenAI's library raises, where it is what reads under a stream of litellm's; None where it is not."""
    from openai import AsyncStream, OpenAIError

    below = stream.custom_llm_provider == "openai" and isinstance(stream.completion_stream, AsyncStream)
    return OpenAIError if below else None


def image_client(key: str, base: str, timeout: Any) -> Any:
    """A client for pictures that makes one request: litellm tells the one that it makes itself to try twice more."""
    from openai import AsyncOpenAI

    class Once(AsyncOpenAI):
        def __init__(self) -> None:
            super().__init__(api_key=key, base_url=base or None, timeout=timeout, max_retries=0)

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, 0 if name == "max_retries" else value)

    return Once()
