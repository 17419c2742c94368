"""The help: every name is there, every example can be typed, nothing heavy is loaded for it."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from cli_kit import Fleet, environment

from fleetprompt.cli import commands
from fleetprompt.cli.examples import EXAMPLES, EXIT_CODES

NAMES = [name for section in commands.SECTIONS.values() for name in section]


def test_every_command_has_help_and_every_name_is_there(fleet: Fleet) -> None:
    assert len(NAMES) == len(set(NAMES))
    shown = fleet.ok("--help")
    for name in NAMES:
        assert f"\n  {name} " in shown
        assert fleet.ok(name, "--help").startswith(f"Usage: fleet {name}")
    assert fleet.ok() == shown
    assert fleet.ok("--version") == "fleet 0.1.0\n"


def leaves() -> list[str]:
    """Every command, and every command inside one."""
    found: list[str] = []
    for name in (*NAMES, *commands.HIDDEN):
        inner = getattr(commands.command().get_command(None, name), "commands", {})
        found += [name, *(f"{name} {each}" for each in inner if not inner[each].hidden)]
    return found


def test_every_command_has_examples_and_no_other_has() -> None:
    assert sorted(leaves()) == sorted(EXAMPLES)
    assert set(EXIT_CODES) < set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_stand_in_the_help_and_can_be_typed(fleet: Fleet, name: str) -> None:
    shown = fleet.ok(*name.split(), "--help")
    assert "<str>" not in shown
    for example in EXAMPLES[name]:
        assert f"\n    {example}\n" in shown
        fleet_, *words = shlex.split(example.partition(" > ")[0].partition(" < ")[0])
        assert fleet_ == "fleet"
        command, context = commands.command(), None
        while getattr(command, "commands", None) is not None and words:
            context = command.make_context(words[0], [], parent=context, resilient_parsing=True)
            verb = command.get_command(context, words[0])
            # A noun alone, or with options, lists.
            command, words = (verb, words[1:]) if verb else (command.get_command(context, "list"), words)
        command.make_context("last", words, parent=context)


def test_fields_of_filters_are_listed(fleet: Fleet) -> None:
    assert "Fields of FILTER: status, waiting, wf, run, by, label.KEY, step," in fleet.ok("runs", "--help")
    assert "Exit codes: 0 completed, 1 failed" in fleet.ok("run", "--help")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from fleetprompt.cli import main; main(['--help']);"
        "heavy = ('asyncio', 'rich.console', 'pydantic', 'sqlalchemy', 'jinja2', 'yaml', 'msgspec');"
        "print([name for name in heavy if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"
