"""What the shell completes, and how tables fit."""

from __future__ import annotations

import pytest
from cli_kit import Fleet
from rich.text import Text

from fleetprompt.cli.table import Column, layout
from fleetprompt.client.wording import ago, count, duration, money, rfc3339, short, size, span


def complete(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, words: str, position: int) -> list[str]:
    with monkeypatch.context() as patch:
        patch.setenv("_FLEET_COMPLETE", "complete_bash")
        patch.setenv("COMP_WORDS", words)
        patch.setenv("COMP_CWORD", str(position))
        return fleet().out.split()


def test_commands_runs_and_files_are_completed(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete(fleet, monkeypatch, "fleet re", 1) == ["recover", "record", "resume", "retry", "resolve", "reject"]
    assert complete(fleet, monkeypatch, "fleet show ", 2) == ["last"]
    fleet.ok("run", "quick.yaml", "-q")
    assert complete(fleet, monkeypatch, "fleet show ", 2) == ["last", fleet.runs()[0]["id"][-8:]]
    assert complete(fleet, monkeypatch, "fleet run qu", 2) == ["quick.yaml", "quick"]
    assert complete(fleet, monkeypatch, "fleet runs st", 2) == ["status:", "step:", "started>"]
    assert complete(fleet, monkeypatch, "fleet runs status:fa", 2) == ["status:failed"]
    assert complete(fleet, monkeypatch, "fleet runs status : fa", 4) == ["failed"], "bash cuts at a colon"
    assert complete(fleet, monkeypatch, "fleet runs -wf :", 3) == ["quick"], "and takes the colon for a word"


def test_verbs_signals_and_steps_are_completed(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet("run", "failing.yaml", "-q")
    signal = fleet("signals", "--json").json[0]["id"]
    assert complete(fleet, monkeypatch, "fleet workflows ", 2) == ["pause", "activate", "archive", "name:", "status:"]
    assert complete(fleet, monkeypatch, "fleet workflows name:x ", 3) == ["name:", "status:"]
    assert complete(fleet, monkeypatch, "fleet signals s", 2) == ["show", "source:", "status:", "since:"]
    assert signal in complete(fleet, monkeypatch, "fleet signals replay ", 3)
    assert complete(fleet, monkeypatch, "fleet retry last --from ", 4) == ["fine", "broken"]
    assert complete(fleet, monkeypatch, "fleet logs last --step b", 4) == ["broken"]
    assert complete(fleet, monkeypatch, "fleet resolve last ", 3) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_nothing_that_is_completed_can_be_a_command(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    nasty = "[bold]x[/no] \\\\$(touch pwned) `touch pwned` \\\\`touch pwned\\\\` ' \\\" ;"
    path = fleet.write("x\\$(touch pwned)", f'name: nasty\nsteps: [{{id: gate, type: approval, message: "{nasty}"}}]')
    assert fleet("run", path.name, "-q", "--no-wait").code == 3
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    for words, wanted in (("fleet approve ", "last"), ("fleet run ", "quick.yaml"), ("fleet resume ", "last")):
        monkeypatch.setenv("_FLEET_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", "2")
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", words)
        said = fleet()
        assert wanted in said.out
        assert "internal error" not in said.err
        for mark in "$`":
            assert mark not in said.out, said.out


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o default -F _fleet_completion fleet"),
        ("zsh", "compdef _fleet_completion fleet"),
        ("fish", "complete --command fleet"),
    ],
)
def test_the_script_of_the_shell_that_is_named_is_shown_whatever_shell_this_is(
    fleet: Fleet, shell: str, line: str
) -> None:
    for arguments in (("--show-completion", shell), ("--utc", f"--show-completion={shell}")):
        said = fleet(*arguments)
        assert (said.code, said.err) == (0, "")
        assert line in said.out


def test_the_script_is_installed_for_the_shell_that_is_named(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(fleet.root))
    assert "fish completion installed" in fleet.ok("--install-completion", "fish")
    assert "--command fleet" in (fleet.root / ".config/fish/completions/fleet.fish").read_text()


def test_a_shell_without_a_script_is_said_so(fleet: Fleet) -> None:
    said = fleet("--show-completion", "tcsh")
    assert said.code == 2
    assert "there is no completion for `tcsh`" in said.err
    assert "bash, zsh, fish" in said.err
    assert fleet("show", "--show-completion", "bash").code == 2, "it is an option of `fleet`, not of commands"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0.00s"),
        (0.994, "0.99s"),
        (0.999, "1.0s"),
        (9.96, "10s"),
        (59.6, "1m00s"),
        (61, "1m01s"),
        (3_599.6, "1h00m"),
        (3_720, "1h02m"),
        (180_000, "2d02h"),
        (-5, "0.00s"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(2_592_000, "30d"), (1_200, "20m"), (5_400, "1h30m"), (3_600, "1h"), (30, "30s"), (60, "1m")]
)
def test_times_that_were_set(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_words() -> None:
    assert [ago(s) for s in (0, 59, 60, 7_300, 90_000, -90)] == [
        "just now",
        "59s ago",
        "1m ago",
        "2h ago",
        "1d ago",
        "in 1m",
    ]
    assert [money(n) for n in (0, 1_000_000, 12_340_000, 10**12)] == ["$0.00", "$0.001", "$0.01", "$1,000.00"]
    assert (count(1, "run"), count(2_000, "run")) == ("1 run", "2,000 runs")
    assert (size(10), size(2048), size(5 * 1024**4)) == ("10 B", "2.0 KiB", "5120.0 GiB")
    assert (short("0123-456789abcdef"), short("ap-123456789abc")) == ("89abcdef", "ap-123456789abc")
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"


COLUMNS = [Column("ID"), Column("NAME", flexible=True), Column("DUR", right=True, drop=1), Column("NOTE", drop=2)]
ROWS = [["0123456789", "n" * 40, "4s", "what"], ["abcdefghij", "ñ字\x1b", "12m03s", ""]]


def test_a_table_without_a_width_is_whole() -> None:
    lines = [line.plain for line in layout(COLUMNS, ROWS, None)]
    assert lines[0] == "ID          NAME" + " " * 36 + "   DUR".rjust(8) + "  NOTE"
    assert lines[1] == f"0123456789  {'n' * 40}      4s  what"
    assert lines[2].endswith("12m03s")
    assert "\\x1b" in lines[2]


def test_a_narrow_table_drops_cuts_and_keeps_ids() -> None:
    for width in (60, 45, 30, 24):
        lines = layout(COLUMNS, ROWS, width)
        assert all(line.cell_len <= width for line in lines)
        assert [line.plain[:10] for line in lines[1:]] == ["0123456789", "abcdefghij"]
    assert "…" in lines[1].plain
    assert "DUR" not in lines[0].plain


def test_cells_keep_their_style() -> None:
    (_, line) = layout([Column("A")], [[Text("x", style="red")]], 20)
    assert [str(span.style) for span in line.spans] == ["red"]
