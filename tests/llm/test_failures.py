"""What is read out of failures: waits, messages, keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.engine.llm.failures import Fault, failure, fault_of, retry_after
from fleetprompt.engine.llm.redaction import redactor
from fleetprompt.engine.llm.simulation import load_simulation
from fleetprompt.settings import load_project

DOCS = Path(__file__).parents[2] / "docs"
BODY = '{"error": {"message": "slow down"}}'
NOW = 1_795_698_000.0


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({}, "", None),
        ({"retry-after": "2"}, "", 2.0),
        ({"retry-after": "0.5"}, "", 0.5),
        ({"retry-after": "-3"}, "", 0.0),
        ({"retry-after": "9999999"}, "", 86_400.0),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "Thu, 26 Nov 2026 13:01:00 GMT"}, "", 60.0),
        ({"retry-after": "Thu, 26 Nov 2026 12:00:00 GMT"}, "", 0.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, "", 1.5),
        ({}, '{"error": {"details": [{"retryDelay": "34s"}]}}', 34.0),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], message: str, seconds: float | None) -> None:
    assert retry_after(headers, message, NOW) == seconds


def meaning(*classes: str, message: str = "x", status: int | None = None, begun: bool = False) -> tuple[Any, ...]:
    error = failure(Fault(classes, message, status), model="m", base="", begun=begun, received=3, now=NOW)
    return error.kind, error.code, error.retryable, error.spent


@pytest.mark.parametrize(
    ("classes", "message", "status", "begun", "means"),
    [
        (("InternalServerError", "ConnectError"), "", None, False, ("not_sent", "AGENT_ERROR", True, "nothing")),
        (("Timeout", "ConnectTimeout"), "", None, False, ("not_sent", "AGENT_ERROR", True, "nothing")),
        (("Timeout", "ReadTimeout"), "", None, False, ("timeout", "TIMEOUT", True, "uncertain")),
        (("Timeout", "ReadTimeout"), "", None, True, ("timeout", "TIMEOUT", True, "uncertain")),
        (("ReadError",), "", None, False, ("broken", "AGENT_ERROR", True, "uncertain")),
        (("ConnectError",), "", None, True, ("broken", "AGENT_ERROR", True, "uncertain")),
        (("UnsupportedParamsError",), "", 400, False, ("refused", "VALIDATION_ERROR", False, "nothing")),
        (("BadRequestError",), "prompt is too long", 400, False, ("context", "VALIDATION_ERROR", False, "nothing")),
        (("X",), "", 402, False, ("refused", "AGENT_ERROR", False, "nothing")),
        (("X",), "", 504, False, ("timeout", "TIMEOUT", True, "uncertain")),
        (("MidStreamFallbackError",), "", 429, False, ("overloaded", "RATE_LIMIT", True, "nothing")),
        (("X",), "", 429, True, ("broken", "AGENT_ERROR", True, "uncertain")),
        (("JSONDecodeError",), "", None, False, ("answer", "AGENT_ERROR", True, "uncertain")),
        (("TypeError",), "", None, False, ("broken", "AGENT_ERROR", False, "uncertain")),
    ],
)
def test_what_a_fault_means(
    classes: tuple[str, ...], message: str, status: int | None, begun: bool, means: tuple[Any, ...]
) -> None:
    assert meaning(*classes, message=message, status=status, begun=begun) == means


def test_what_libraries_put_around_a_message_is_taken_off() -> None:
    class RateLimitError(Exception):
        pass

    for text in (
        "litellm.RateLimitError: RateLimitError: OpenAIException - slow down",
        "litellm.MidStreamFallbackError: litellm.APIConnectionError: OpenAIException - slow down Original exception: X",
        "litellm.InternalServerError: Vertex_ai_betaException InternalServerError - b'" + BODY + "'",
        f"AnthropicException - b'{BODY}'. Handle with `litellm.InternalServerError`.",
    ):
        assert fault_of(RateLimitError(text)).message == "slow down"
    assert fault_of(RateLimitError()).message == "RateLimitError"
    assert fault_of(RateLimitError("x")).status == 429


@pytest.mark.parametrize(
    "text",
    [
        "the key s3cr3t/+ here",
        "https://x/v1?key=s3cr3t%2F%2B&alt=sse",
        'Authorization: "Basic czNjcjN0Lys="',
        "Bearer abcdefghijkl",
        "sk-proj-abcdefghij",
        "Incorrect API key provided: sk-abcd***********wxyz",
        "AIzaSyA1234567890abcdefghijklm",
        "https://x/v1/models?key=other-key-here",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    ],
)
def test_keys_are_taken_out_in_every_form(text: str) -> None:
    clean = redactor("s3cr3t/+", lambda said: said)(text)
    for part in re.findall(r"s3cr3t\S+|czNj\S+|(?:abcd|wxyz|AIza|other|eyJ)\w*", text):
        assert part not in clean


def test_what_is_no_key_is_left_alone() -> None:
    text = "The model `stub-404` does not exist; key_not_found, sk-1, task-12345678"
    assert redactor("", lambda said: said)(text) == text


def test_the_examples_of_the_pages_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "simulation.md").read_text(), re.S)
    (tmp_path / "x.yaml").write_text(example)
    assert len(load_simulation(tmp_path / "x.yaml", "x.yaml").rules) == 3
    monkeypatch.chdir(tmp_path)
    shown = []
    for settings in re.findall(r"```toml\n(.*?)```", (DOCS / "models.md").read_text(), re.S):
        (tmp_path / "fleet.toml").write_text(settings)
        shown.append(set(load_project().settings.models))
    assert shown == [{"default", "backup", "gpu"}, {"default"}]
