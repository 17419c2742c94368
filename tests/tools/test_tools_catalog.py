"""Which tools there are, what is known of them, and settings that cannot be used."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.definition.problems import ordered
from fleetprompt.engine.registry import TOOLS
from fleetprompt.engine.tools.catalog import Catalog, discover
from fleetprompt.engine.tools.settings_file import InvalidSettings, require_usable, table_problems

discover()
DEFAULTS = {
    "fs.read": ("read", "safe", "allow"),
    "fs.list": ("read", "safe", "allow"),
    "fs.stat": ("read", "safe", "allow"),
    "fs.grep": ("read", "safe", "allow"),
    "fs.write": ("write", "safe", "ask"),
    "fs.edit": ("write", "never", "ask"),
    "fs.delete": ("write", "never", "ask"),
    "fs.restore": ("write", "safe", "ask"),
    "shell.run": ("write", "never", "ask"),
    "http.request": ("write", "never", "ask"),
    "git.log": ("read", "safe", "allow"),
    "git.diff": ("read", "safe", "allow"),
    "git.show": ("read", "safe", "allow"),
    "git.blame": ("read", "safe", "allow"),
    "git.status": ("read", "safe", "allow"),
    "git.branch": ("write", "never", "ask"),
    "git.commit": ("write", "never", "ask"),
    "git.tag": ("write", "never", "ask"),
    "git.delete_tag": ("write", "never", "ask"),
    "git.push": ("write", "never", "ask"),
    "sql.query": ("read", "safe", "allow"),
    "sql.execute": ("write", "never", "ask"),
    "notify": ("write", "never", "ask"),
    "record_decision": ("read", "safe", "allow"),
    "workflow.start": ("write", "safe", "ask"),
    "memory.remember": ("write", "safe", "allow"),
    "memory.recall": ("read", "safe", "allow"),
    "memory.forget": ("write", "safe", "ask"),
}


def test_the_defaults_are_these() -> None:
    known = {name: (tool.info.reach, tool.info.repeat, tool.info.verdict) for name, tool in TOOLS}
    assert known == DEFAULTS


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_tool_says_what_it_is(name: str) -> None:
    spec = TOOLS.get(name).info.spec
    assert spec.name == name
    assert len(spec.description) > 20
    assert spec.parameters["type"] == "object"
    assert spec.parameters["additionalProperties"] is False


def test_docs_name_every_tool_and_setting() -> None:
    text = (Path(__file__).parents[2] / "docs" / "tools.md").read_text()
    for name in DEFAULTS:
        assert f"`{name}`" in text, name
    from fleetprompt.engine.tools._mcp_settings import McpSettings
    from fleetprompt.engine.tools.catalog import _sections

    for section in (*_sections().values(), McpSettings):
        for field in section.model_fields:
            assert f"`{field}`" in text, (section, field)


async def test_tools_are_found_by_name_and_pattern(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from fleetprompt.tools import tool\n"
        "@tool(effect='read')\ndef look(x: int):\n    'Look at x.'\n"
        "@tool(effect='read', name='fs.read')\ndef other(): ...\n"
    )
    catalog = Catalog({"python": ["mine:look"], "http": {"hosts": ["x.test"]}}, code=str(tmp_path))
    assert [tool.info.spec.name for tool in await catalog.find(["git.l*", "look", "fs.read"])] == [
        "fs.read",
        "git.log",
        "look",
    ]
    with pytest.raises(NotFound) as caught:
        await catalog.find(["fs.reed"])
    assert caught.value.hint == "did you mean `fs.read`?"
    assert catalog.settings("http.request") == {"hosts": ["x.test"]}
    assert catalog.settings("look") == {}
    assert catalog.settings("fs.read") == {}
    twice = Catalog({"python": ["mine:other"]}, code=str(tmp_path))
    with pytest.raises(InvalidInput, match=r"two tools are called `fs.read`: built-in and python mine:other"):
        await twice.find(["*"])


WRONG = """\
[tools.htttp]
[tools.http]
host = []
hosts = ["api.test", "a b"]
networks = ["10.0.0.1/8"]
timeout = "30"
[tools.http.auth."api.test"]
barer = "TOKEN"
headers = {X-Key = 3}
[tools]
python = ["a:b", "os.system"]
git = []
[tools.sql]
shop = "x"
[tools.sql."my db"]
timeout = 0
[tools.notify.desk]
[tools.notify.both]
file = "x"
webhook = "https://desk.test"
[tools.shell]
timeout = 1e9
programs = ["./a", 1]
[tools.fs]
free = "out"
[tools.memory]
most = 1.5
[mcp.Desk]
command = []
[mcp.fs]
url = "ftp://desk.test"
tmeout = 3
"""


def test_everything_that_is_wrong_is_told_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(WRONG)
    settings = tomllib.loads(WRONG)
    problems = table_problems(tmp_path, settings["tools"], settings["mcp"])
    assert [f"{p.line}:{p.column} {p.code} {p.message} | {p.hint}" for p in ordered(problems)] == [
        "1:8 unknown-key there is no [tools.htttp] | did you mean `http`?",
        "3:1 unknown-key there is no setting `host` in [tools.http] | did you mean `hosts`?",
        "4:22 bad-value `a b`: the host is not a name | ",
        "5:13 bad-value `10.0.0.1/8` is no network: write 10.20.0.0/16 | ",
        "6:1 wrong-type `tools.http.timeout` must be a number, not text | remove the quotes",
        '8:1 unknown-key there is no setting `barer` in [tools.http.auth."api.test"] | did you mean `bearer`?',
        '9:12 wrong-type `tools.http.auth."api.test".headers.X-Key` must be text in quotes, not a whole number | '
        "put it in quotes",
        '11:18 bad-value [tools] python has to be a list of functions | write ["billing.tools:refund"]',
        "12:1 wrong-type [tools.git] has to be a table | write [tools.git], and its keys below it",
        "14:1 wrong-type [tools.sql] holds tables by name | write [tools.sql.NAME]",
        '15:12 missing-key `url` is missing in [tools.sql."my db"] | ',
        '16:1 bad-value `tools.sql."my db".timeout` must be more than 0 | ',
        "17:15 bad-value a channel has `file`, `webhook` or `webhook_secret` | ",
        "20:1 conflicting-keys a channel has `file`, `webhook` or `webhook_secret` | keep one of them",
        "22:1 bad-value `tools.shell.timeout` must be at most 3600 | ",
        "23:20 wrong-type this item of `tools.shell.programs` must be text in quotes, not a whole number | "
        "put it in quotes",
        '25:1 wrong-type `tools.fs.free` must be a list, not text | write ["out"]',
        "27:1 wrong-type `tools.memory.most` must be a whole number, not 1.5 | ",
        "28:6 bad-value [mcp.Desk]: this cannot be the name of a server | a-z, 0-9, - and _",
        "29:1 bad-value `mcp.Desk.command` must not be empty | ",
        "30:6 bad-value [mcp.fs]: this cannot be the name of a server | tools of ours begin with it: choose another",
        "32:1 unknown-key there is no setting `tmeout` in [mcp.fs] | did you mean `timeout`?",
    ]
    with pytest.raises(
        InvalidSettings, match=r"^fleet\.toml:1:8: there is no \[tools.htttp\] \(and 21 more problems\)$"
    ):
        require_usable(tmp_path, settings["tools"], settings["mcp"])
    require_usable(tmp_path, {"http": {"hosts": ["api.test"]}}, {})


LATER = """\
[tools.sql]
a = {url = "mysql://u@h/d"}
b = {url = "sqlite://shop.db"}
c = {url = "postgresql://u@h:port/d"}
d = {url = "shop.db"}
e = {url = "sqlte:///shop.db"}
[tools.notify]
a = {file = "../x"}
b = {file = ".env"}
c = {webhook = "desk.test"}
d = {webhook = "https://u:p@desk.test"}
e = {webhook = "http://169.254.169.254/x"}
f = {webhook = "http://127.0.0.1:8080/x"}
[tools.http.auth]
a = {bearer = "A", password = "B"}
b = {user = "ana"}
c = {user = "a:b", password = "B"}
d = {headers = {"X Key" = "K"}}
[tools.shell]
env = {"A=B" = "x"}
[tools.fs]
private = ["customers", "data/x"]
[mcp.desk]
url = "desk.test"
[mcp.shop]
url = "https://shop.test"
secrets = {"X Key" = "K"}
[mcp.tills]
command = ["x"]
env = ["FLEET_SECRET_X"]
"""
DOUBTED = """\
[tools.http]
hosts = ["api.test", "169.254.169.254", "localhost", "127.0.0.1:81", "10.0.0.1"]
[tools.http.auth]
"https://api.test" = {bearer = "A"}
"*.test" = {bearer = "A"}
"other.test" = {bearer = "A"}
"api.test" = {bearer = "A"}
"127.0.0.1:81" = {bearer = "A"}
[tools.shell]
path = "bin:/usr/bin"
programs = ["make", "./gradlew"]
[tools.fs]
free = ["out", "../x", "/tmp", "."]
[tools.git]
tokens = {"git.test" = "T", "https://Git.test" = "T"}
[tools.sql]
shop = {url = "sqlite:///shop.db"}
gone = {url = "sqlite:///gone.db"}
"""


def told(folder: Path, text: str) -> list[str]:
    (folder / "fleet.toml").write_text(text)
    settings = tomllib.loads(text)
    problems = ordered(table_problems(folder, settings["tools"], settings.get("mcp", {})))
    marks = {"error": "", "warning": "? "}
    return [f"{p.line}:{p.column} {marks[p.severity]}{p.message} | {p.hint}" for p in problems]


def test_what_every_call_would_stumble_over_is_told_beforehand(tmp_path: Path) -> None:
    how = "write sqlite:///path or postgresql://user@host/database"
    assert told(tmp_path, LATER) == [
        f"2:6 databases of kind `mysql` cannot be opened | {how}",
        f"3:6 this names no file | {how}",
        f"4:6 the host or port of this address is malformed | {how}",
        f"5:6 this is no address | {how}",
        "6:6 databases of kind `sqlte` cannot be opened | did you mean `sqlite`?",
        "8:6 `../x` leaves the workspace | paths stay in the workspace: a/b.txt",
        "9:6 `.env` is never written by tools: `.env*` is private | "
        "a person has to do that; the rule cannot be lifted by a policy",
        "10:6 the URL has to begin with http:// or https:// | ",
        "11:6 the address holds a name or a password | `webhook_secret` names a secret with the address",
        "12:6 `169.254.169.254` is link-local, a metadata service, or no host at all | ",
        "15:20 credentials are either `bearer`, or `user` and `password` | keep one of the two",
        "16:6 `user` goes with `password`, the name of a secret | ",
        "17:6 `user` holds a colon, which basic authentication cannot send | ",
        "18:17 `X Key` is not the name of a header | ",
        "20:1 `A=B` cannot be a variable: its name is empty, or holds `=` or a NUL byte | ",
        "22:25 this is the name of a file or folder at any depth, and no path | write its name alone",
        "24:1 the URL has to begin with http:// or https:// | ",
        "27:1 `X Key` is not the name of a header | ",
        '30:1 secrets are not inherited | write secrets = {FLEET_SECRET_X = "NAME OF THE SECRET"}',
    ]


def test_settings_of_no_effect_are_doubted(tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()
    assert told(tmp_path, DOUBTED) == [
        "2:22 ? `169.254.169.254` is never reached: it is link-local, a metadata service, or no host at all | ",
        "2:41 ? `localhost` is never reached: it is this machine, which has to be listed with its port, "
        "as 127.0.0.1:8080 | ",
        '4:1 ? credentials for `https://api.test` are never sent | write [tools.http.auth."api.test"]',
        "5:1 ? `*.test` is no single host, and credentials are for one | write a table for each",
        '6:1 ? `other.test` is not among the `hosts` that may be asked | add it there: hosts = ["other.test"]',
        "10:1 ? programs are not looked for in `bin`: its path is not absolute | write it from / on",
        "11:13 ? `make` is named without a path: every program can be | remove it, or write its path",
        "13:16 ? nobody can write in `../x` without asking: it is no folder of the workspace | "
        'write it from the workspace on, such as "out"',
        "13:24 ? nobody can write in `/tmp` without asking: it is no folder of the workspace | "
        'write it from the workspace on, such as "out"',
        "13:32 ? nobody can write in `.` without asking: it is no folder of the workspace | "
        'write it from the workspace on, such as "out"',
        "15:29 ? the token for `https://Git.test` is never sent: tokens are looked for by the name of the host | "
        'write "git.test"',
        "18:9 ? there is no file `gone.db`: tools open databases, and make none | paths start in the project's folder",
    ]
    settings = tomllib.loads(DOUBTED)
    require_usable(tmp_path, settings["tools"], {})


def test_what_is_not_in_the_file_any_more_is_told_without_a_place(tmp_path: Path) -> None:
    (problem,) = table_problems(tmp_path, {"http": {"host": []}}, {})
    assert (problem.file, problem.line, problem.hint) == ("fleet.toml", 0, "did you mean `hosts`?")


def test_listing_tools_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from fleetprompt.engine.tools.catalog import discover\n"
        "discover()\n"
        "heavy = ('mcp', 'sqlglot', 'httpx', 'asyncpg', 'jsonschema', 'litellm')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


async def test_a_function_that_cannot_be_loaded_is_in_the_way_of_those_who_may_mean_it() -> None:
    catalog = Catalog({"python": ["nowhere:gone"]})
    assert [tool.info.spec.name for tool in await catalog.find(["fs.read", "git.log"])] == ["fs.read", "git.log"]
    with pytest.raises(InvalidInput, match="there is no module `nowhere`"):
        await catalog.find(["fs.*"])
