"""What is true of a console is true of one at the other end of HTTP: these tests run twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client import far

TWICE = {"test_listing", "test_figures", "test_console_agents", "test_chatting", "test_pieces"}
"""Modules of which every test is about what consoles are asked."""


ONCE = {"test_what_agents_did_is_told_run_by_run_and_in_sum"}
"""Of these the tests that need what lies beside a workflow's file: over HTTP it is sent as a text."""


@pytest.fixture(autouse=True)
def reach(request: pytest.FixtureRequest) -> Iterator[str]:
    """How consoles are reached: in this process, or over HTTP."""
    how: str = getattr(request, "param", "here")
    far.asked = how == "http"
    yield how
    far.asked = False


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in TWICE and metafunc.function.__name__ not in ONCE:
        metafunc.parametrize("reach", ["here", "http"], indirect=True)
