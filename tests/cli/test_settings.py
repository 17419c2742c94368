"""What `fleet.toml` and the environment may say, and where the fault is when they say something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.definition.problems import InvalidFile
from fleetprompt.settings import load_project

WRONG = """\
# pools = {shell = 1}
max_rums = 3
threads = "x"  # threads = 4
database = '''
grace = 1'''
grace = -1
[pools]
shell = 0
"ht tp" = 1.5
[groups]
oncall = "ana"
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLEET_DATABASE_URL", "FLEET_MAX_RUNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def said(text: str | bytes) -> list[str]:
    """The problems of a file, as `LINE:COLUMN code message`."""
    Path("fleet.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidFile) as refused:
        load_project()
    assert {problem.file for problem in refused.value.problems} == {"fleet.toml"}
    return [f"{p.line}:{p.column} {p.code} {p.message}" for p in refused.value.problems]


def test_every_wrong_setting_is_named_at_its_place() -> None:
    assert said(WRONG) == [
        "2:1 unknown-key there is no setting `max_rums`",
        "3:1 wrong-type `threads` must be a whole number of at least 1, such as 8",
        "6:1 wrong-type `grace` must be a number of at least 0, such as 1.5",
        "8:1 wrong-type `pools.shell` must be a whole number of at least 1, such as 8",
        "9:1 wrong-type `pools.ht tp` must be a whole number of at least 1, such as 8",
        '11:1 wrong-type `groups.oncall` must be a list of names, such as ["ana", "ben"]',
    ]
    with pytest.raises(InvalidFile) as refused:
        load_project()
    assert refused.value.problems[0].hint == "did you mean `max_runs`?"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("threads = many", "1:11 toml-syntax this is not a value"),
        ("\n\nthreads 4", "3:9 toml-syntax a key needs a `=` and a value"),
        ("threads = 1\r\nthreads = 2\r\n[pools]", "2:12 duplicate-key this is set twice"),
        ("[pools]\n[pools]", "2:7 duplicate-key this table is there twice"),
        ("database = 'x", "1:13 toml-syntax the quote is never closed"),
        ('database = "x\n"', "1:14 toml-syntax the quote is not closed on its line"),
        ("threads = 1 2", "1:13 toml-syntax nothing can follow the value on its line"),
        (b'database = "\xff"', "1:1 not-utf8 the file is not UTF-8 text, from byte 12 on"),
        ("a = " + "[" * 100_000, "1:100004 toml-syntax"),
        ("pools = 3", "1:1 wrong-type `pools` must be a table: write [pools], and its entries below it"),
        ("pools = {a = 1, http = '='}", "1:17 wrong-type `pools.http` must be a whole number of at least 1, such as 8"),
        ("groups.b = [1]", '1:8 wrong-type `groups.b` must be a list of names, such as ["ana", "ben"]'),
        ("grace = inf", "1:1 wrong-type `grace` must be a number of at least 0, such as 1.5"),
        ("workflows = true", '1:1 wrong-type `workflows` must be text in quotes, such as "a"'),
        ('"max\\u005frums" = 1', "1:1 unknown-key there is no setting `max_rums`"),
    ],
)
def test_a_fault_has_its_place(text: str | bytes, problem: str) -> None:
    (found,) = said(text)
    assert found.startswith(problem)


def test_what_the_file_says_starts_at_the_file_and_comes_before_the_defaults(tmp_path: Path) -> None:
    Path("fleet.toml").write_text('\ufeffdatabase = "x/y.db"\ngrace = 3\n[pools]\nshell = 2\n')
    Path("deep/down").mkdir(parents=True)
    project = load_project(Path("deep/down"))
    assert project.root == tmp_path
    assert project.database == str(tmp_path / "x/y.db")
    assert (project.settings.grace, project.settings.threads, project.settings.pools) == (3.0, 64, {"shell": 2})
    Path("fleet.toml").write_text('database = "sqlite:///z.db"\n')
    assert load_project(Path("deep/down")).database == str(tmp_path / "z.db")
    Path("fleet.toml").write_text('database = "postgresql://ana@here/fleet"\n')
    assert load_project().database == "postgresql://ana@here/fleet"
    assert load_project(database="other.db").database == "other.db"


def test_the_environment_comes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("fleet.toml").write_text("max_runs = 3\n")
    monkeypatch.setenv("FLEET_MAX_RUNS", "5")
    monkeypatch.setenv("FLEET_DATABASE_URL", "env.db")
    assert load_project().settings.max_runs == 5
    assert load_project().database == "env.db"
    for wrong in ("many", "0", "1.5"):
        monkeypatch.setenv("FLEET_MAX_RUNS", wrong)
        with pytest.raises(InvalidInput, match="FLEET_MAX_RUNS must be a whole number of at least 1"):
            load_project()


SIGNALS = """\
[signals."deploy.*"]
schema = "schemas/deploy.json"
rate = "100/s"
redact = ["/card", "/items/*/card"]
[signals."a b"]
rate = "fast"
redact = ["card"]
"""


def test_the_rules_of_signals_are_looked_at() -> None:
    assert said(SIGNALS) == [
        "5:10 bad-value `a b` matches no type of signals",
        "6:1 bad-value `fast` is not a rate",
        "7:1 bad-value `card` is not a JSON pointer",
    ]
    assert said("[signals.a]\nrate = 5\nredct = []\n") == [
        '2:1 wrong-type `signals.a.rate` must be a rate, such as "100/s"',
        "3:1 unknown-key there is no setting `redct` in [signals.a]",
    ]
    Path("fleet.toml").write_text(SIGNALS.partition('[signals."a b"]')[0])
    rule = load_project().settings.signals["deploy.*"]
    assert (rule.schema, rule.rate, rule.redact) == ("schemas/deploy.json", "100/s", ["/card", "/items/*/card"])
