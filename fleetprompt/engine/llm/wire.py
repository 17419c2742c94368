"""Messages, tools and parameters in the shape that every OpenAI-compatible interface takes. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fleetprompt.engine.llm.stream import estimate_tokens
from fleetprompt.engine.ports.model import Message, ToolSpec

MESSAGE_TOKENS: Final = 8
"""What a message takes besides its text."""


def messages_out(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """A conversation as it is sent."""
    return [_message(message) for message in messages]


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id, "name": message.name, "content": message.text}
    if not message.calls:
        return {"role": message.role, "content": message.text}
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.calls
    ]
    return {"role": message.role, "content": message.text or None, "tool_calls": calls}


def tools_out(tools: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    """Tools as they are sent."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": msgspec.to_builtins(tool.parameters),
            },
        }
        for tool in tools
    ]


def rough_tokens(messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
    """Tokens of a prompt, estimated from above without a tokenizer."""
    texts = [
        text
        for message in messages
        for text in (message.text, *(part for call in message.calls for part in (call.name, call.arguments)))
    ]
    told = [msgspec.json.encode(tool).decode() for tool in tools]
    return sum(map(estimate_tokens, [*texts, *told])) + MESSAGE_TOKENS * (len(messages) + len(tools))
