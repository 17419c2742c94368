"""Which tools there are, what is known of them, and settings that cannot be used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.registry import TOOLS
from fleetprompt.engine.tools.catalog import Catalog, checked_tables, discover

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


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"htttp": {}}, "did you mean `http`?"),
        ({"http": {"host": []}}, "`host`"),
        ({"http": []}, "has to be a table"),
        ({"sql": {"shop": "x"}}, "[tools.sql.shop]"),
        ({"sql": {"shop": {}}}, "[tools.sql.shop]"),
        ({"notify": {"desk": {}}}, "`file`, `webhook` or `webhook_secret`"),
        ({"python": "x:y"}, "a list of functions"),
        ({"python": ["os.system"]}, "a list of functions"),
        ({"shell": {"timeout": -1}}, "`timeout`"),
        ({"git": {"tokens": ["x"]}}, "`tokens`"),
        ({"fs": {"free": "out"}}, "`free`"),
    ],
)
def test_tables_that_cannot_be_used(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked_tables(tables)
    assert said in f"{caught.value.message} {caught.value.hint}"


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
