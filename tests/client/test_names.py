"""What files name is looked at whatever else is wrong with them: every mistake is told in one go, at its place."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from fleetprompt.client.agents import read_agents
from fleetprompt.client.definitions import check_files, check_settings
from fleetprompt.client.names import AgencySettings, ProjectNames
from fleetprompt.client.workflow_files import WorkflowFiles
from fleetprompt.engine.definition.problems import Problem
from fleetprompt.engine.llm.settings import ModelSettings
from fleetprompt.engine.tools.mcp_pins import Pins, SeenServer, seen_tool
from fleetprompt.settings import load_project

MONEY = '''
from fleetprompt.tools import tool

@tool(effect="write")
def refund(order: str, cents: int, why: str = "") -> str:
    """Refund an order."""
    return ""
'''
TOLD = {
    "name": "create",
    "description": "Open a ticket.",
    "input_schema": {
        "type": "object",
        "properties": {"title": {"type": "string"}, "level": {"enum": ["low", "high"]}},
        "required": ["title"],
        "additionalProperties": False,
    },
}


class Project:
    """A folder with workflows, and what is told of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workflows = root / "workflows"
        self.workflows.mkdir()
        (root / "agents").mkdir()

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(dedent(text))

    def names(self, groups: Collection[str] = (), **settings: Any) -> ProjectNames:
        return ProjectNames(self.root, AgencySettings(workflows=(self.workflows,), **settings), groups=groups)

    def told(self, text: str, **settings: Any) -> list[str]:
        """What is told of a workflow file."""
        self.write("workflows/flow.yaml", text)
        (checked,) = check_files([self.workflows / "flow.yaml"], self.names(**settings))
        return [self.shown(problem) for problem in checked.problems]

    def shown(self, problem: Problem) -> str:
        file = Path(problem.file).relative_to(self.root) if Path(problem.file).is_absolute() else Path(problem.file)
        mark = "" if problem.severity == "error" else "?"
        return f"{file.name}:{problem.line}:{problem.column} {problem.code}{mark} {problem.message} | {problem.hint}"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_names_are_looked_at_although_something_else_is_wrong(project: Project) -> None:
    project.write(
        "agents/sre.yaml",
        """\
        name: sre
        model: chepa
        tools: [fs.raed, gti.*, human.aks, git.log, vars.*]
        functions: {go: {workflow: flw}, on: flow}
        handoffs: [hepler]
        policy: {deny: [{tool: git.push, were: {}}]}
        tols: [x]
        """,
    )
    told = project.told(
        """\
        name: flow
        ouput: 3
        agents:
          helper: {tools: [fs.lst], model: openai/x, delegates: [sra], memory: {scop: agent}}
        steps:
          - {id: a, type: agent, agent: sre, prompt: hi}
          - {id: b, type: agent, agent: helpr, promt: hi}
          - {id: c, type: chat, prompt: hi, model: opnai/gpt}
          - {id: d, type: workflow, workflow: folw}
          - {id: e, type: workflow, workflow: flow}
          - id: f
            type: transform
            output: 1
            compensate: {type: agent, agent: ser, prompt: x}
        on_failure: compensate
        """,
        models={"cheap": ModelSettings(model="openai/gpt-5.4-mini")},
    )
    assert told == [
        "sre.yaml:2:8 unknown-name there is no model `chepa` | did you mean `cheap`?",
        "sre.yaml:3:9 unknown-name there is no tool `fs.raed` | did you mean `fs.read`?",
        "sre.yaml:3:18 unknown-name no tool matches `gti.*` | did you mean `git.*`?",
        "sre.yaml:3:25 unknown-name there is no tool `human.aks` | did you mean `human.ask`?",
        "sre.yaml:4:28 unknown-name there is no workflow `flw` | did you mean `flow`?",
        "sre.yaml:5:12 unknown-name there is no agent `hepler` | did you mean `helper`?",
        "sre.yaml:6:34 unknown-key deny[1]: there is no `were` | did you mean `where`?",
        "sre.yaml:7:1 unknown-key unknown key `tols` | did you mean `tools`?",
        "flow.yaml:2:1 unknown-key unknown key `ouput` | did you mean `output`?",
        "flow.yaml:4:20 unknown-name there is no tool `fs.lst` | did you mean `fs.list`?",
        "flow.yaml:4:58 unknown-name there is no agent `sra` | did you mean `sre`?",
        "flow.yaml:4:73 unknown-key unknown key `scop` | did you mean `scope`?",
        "flow.yaml:6:33 missing-file the agent `sre` cannot be used: "
        f"{project.root}/agents/sre.yaml | mend what is wrong in that file",
        "flow.yaml:7:6 missing-key missing key `prompt` | ",
        "flow.yaml:7:33 unknown-name there is no agent `helpr` | did you mean `helper`?",
        "flow.yaml:7:40 unknown-key unknown key `promt` | did you mean `prompt`?",
        "flow.yaml:8:44 unknown-name nobody knows the provider `opnai` of `opnai/gpt` | did you mean `openai`?",
        "flow.yaml:9:39 unknown-name there is no workflow `folw` | did you mean `flow`?",
        "flow.yaml:14:38 unknown-name there is no agent `ser` | did you mean `sre`?",
    ]


def test_functions_are_looked_at_without_running_them(project: Project) -> None:
    project.write("workflows/books.py", "raise RuntimeError\n\ndef close(month, *, dry=False, context): ...\n")
    assert project.told(
        """\
        name: flow
        steps:
          - {id: a, type: python, call: "books:close", with: {month: "${{ run.id }}"}}
          - {id: b, type: python, call: "books:close", with: "${{ steps.a.output }}"}
          - {id: c, type: python, call: "books:clsoe"}
          - {id: d, type: python, call: "boks:close"}
          - {id: e, type: python, call: "books:close"}
          - {id: f, type: python, call: "books:close", with: {month: 1, dyr: true}}
          - id: g
            type: transform
            output: 1
            compensate: {type: python, call: "books:opne"}
        on_failure: compensate
        """
    ) == [
        "flow.yaml:5:33 unknown-name module `books` has no `clsoe` | did you mean `close`?",
        "flow.yaml:6:33 unknown-name there is no module `boks` | did you mean `books`?",
        "flow.yaml:7:33 bad-value `books:close` needs `month` | its parameters: month, dry=…",
        "flow.yaml:8:65 bad-value `books:close` does not take `dyr` | did you mean `dry`?",
        "flow.yaml:12:38 unknown-name module `books` has no `opne` | it has: close",
    ]


ASKS = """\
name: flow
agents:
  sre: {system: Hi., approval: {approvers: [group:lead], timeout: 1h, escalate: {to: [role:oncall]}}}
steps:
  - {id: a, type: approval, message: ok?, approvers: [user:ana, group:oncal, "group:${{ run.id }}"]}
  - {id: b, type: approval, message: ok?, approvers: group:marketing, timeout: 1h, on_timeout: escalate,
     escalate: {to: group:lead}}
  - {id: c, type: transform, output: 1, approval: {message: ok?, approvers: [group:oncall, role:boss]}}
  - {id: d, type: tool, tool: fs.list, with: {path: .}, ask: {approvers: [group:onkall]}}
  - {id: e, type: agent, agent: sre, prompt: hi}
"""


def test_groups_of_approvers_are_looked_at(project: Project) -> None:
    there = "there are: group:leads, group:oncall"
    none = "nobody in it could decide"
    assert [re.sub(r":\d+ unknown-name", "", told) for told in project.told(ASKS, groups=("oncall", "leads"))] == [
        f"flow.yaml:3 there is no group `lead`: {none} | did you mean `group:leads`?",
        "flow.yaml:3 nobody approves by role | did you mean `group:oncall`?",
        f"flow.yaml:5 there is no group `oncal`: {none} | did you mean `group:oncall`?",
        f"flow.yaml:6 there is no group `marketing`: {none} | add it under [groups] in fleet.toml; {there}",
        f"flow.yaml:7 there is no group `lead`: {none} | did you mean `group:leads`?",
        f"flow.yaml:8 nobody approves by role | write group:NAME, or user:NAME; {there}",
        f"flow.yaml:9 there is no group `onkall`: {none} | did you mean `group:oncall`?",
    ]
    assert [told.partition(" ")[2] for told in project.told(ASKS)] == [
        "unknown-name nobody approves by role | write group:NAME, or user:NAME"
    ] * 2, "where a project says nothing of groups, nothing is known of them"


def test_groups_are_looked_at_where_somebody_is_excluded(project: Project) -> None:
    told = project.told(
        """\
        name: flow
        steps:
          - {id: a, type: approval, message: ok?, approvers: {any_of: [user:ana, group:oncal], not: run.starter}}
        """,
        groups=("oncall",),
    )
    there = "there is no group `oncal`: nobody in it could decide | did you mean `group:oncall`?"
    assert told == [f"flow.yaml:3:74 unknown-name {there}"]


def test_arguments_of_tools_are_looked_at(project: Project) -> None:
    project.write("workflows/money.py", MONEY)
    told = project.told(
        """\
        name: flow
        steps:
          - {id: a, type: tool, tool: sql.qurey}
          - {id: b, type: tool, tool: sql.query, with: {databse: x, sql: 3}}
          - id: c
            type: tool
            tool: fs.list
            with:
              path: "${{ steps.b.output }}"
              depth: "2"
              kind: fil
              match: 3
            reconcile: {type: tool, tool: fs.stat, with: {}, happened: result}
            repeat: never
          - {id: d, type: tool, tool: refund, with: {order: o, cents: "${{ 1 + 1 }}", wy: x}}
          - {id: e, type: tool, tool: refund, with: {order: "a ${{ run.id }}", cents: "about ${{ 1 }}"}}
          - {id: f, type: tool, tool: vars.set, with: {name: x}}
          - {id: g, type: tool, tool: git.*}
          - {id: h, type: tool, tool: git.log, with: "${{ steps.a.output }}"}
          - id: i
            type: tool
            tool: record_decision
            with: {question: a, options: [b], chosen: c, reasoning: d, confidence: 1}
        """,
        tools={"python": ["money:refund"]},
    )
    about_sql = "arguments: database (string, required), sql (string, required), parameters (array or object)"
    assert [each.replace(about_sql, "…") for each in told] == [
        "flow.yaml:3:31 unknown-name there is no tool `sql.qurey` | did you mean `sql.query`?",
        "flow.yaml:4:42 missing-key `sql.query` needs the argument `database` | add `database`: Name that the operator "
        "gave it, or the path of a SQLite file of the workspace.",
        "flow.yaml:4:49 unknown-key `sql.query` has no argument `databse` | did you mean `database`?",
        "flow.yaml:4:66 wrong-type the argument `sql` of `sql.query` must be text, not a whole number | quote it",
        "flow.yaml:10:14 wrong-type the argument `depth` of `fs.list` must be a whole number, not text | "
        "remove the quotes",
        "flow.yaml:11:13 bad-value the argument `kind` of `fs.list` must be `any`, `file` or `folder` | "
        "did you mean `file`?",
        "flow.yaml:12:14 wrong-type the argument `match` of `fs.list` must be text, not a whole number | quote it",
        "flow.yaml:13:29 missing-key `fs.stat` needs the argument `path` | add `path`: Path relative to the workspace.",
        "flow.yaml:15:79 unknown-key `refund` has no argument `wy` | did you mean `why`?",
        "flow.yaml:16:79 wrong-type the argument `cents` of `refund` must be a whole number, not text | "
        "an expression keeps its type where nothing else is in the value",
        "flow.yaml:17:31 unknown-name `vars.set` is for agents: a step cannot call it | "
        "write `set: {NAME: expression}` on a step",
        "flow.yaml:18:31 bad-value a step calls one tool, and this is a pattern | `fleet tools` lists them",
        told[-1],
    ]
    assert told[-1].startswith("flow.yaml:23:11 bad-value the arguments of `record_decision` cannot be used")


def test_a_server_is_never_started_to_look_at_a_name(project: Project) -> None:
    flow = """\
        name: flow
        agents: {desk: {tools: [desk.crate, desk.*]}}
        steps:
          - {id: a, type: tool, tool: desk.create, with: {titel: x, level: mid}}
          - {id: b, type: tool, tool: desk.close}
          - {id: c, type: tool, tool: dsk.create}
        """
    # Whoever started it would be told that there is no such program.
    servers = {"desk": {"command": ["no-such-program"], "allow": ["c*"]}}
    notes = [each for each in project.told(flow, mcp=servers) if "?" in each.split()[1]]
    assert [each.split()[0] for each in notes] == [
        "flow.yaml:2:25",
        "flow.yaml:2:37",
        "flow.yaml:4:31",
        "flow.yaml:5:31",
    ]
    assert "never started here | `fleet tools` starts it" in notes[0]
    tools = {name: seen_tool({**TOLD, "name": name}) for name in ("create", "close", "delete")}
    Pins(project.root / ".fleet").accept("desk", SeenServer(start='["no-such-program"]', tools=tools))
    assert project.told(flow.replace("desk.close}", "desk.delete}"), mcp=servers) == [
        "flow.yaml:2:25 unknown-name the MCP server `desk` has no tool `desk.crate` | did you mean `desk.create`?",
        "flow.yaml:4:44 missing-key `desk.create` needs the argument `title` | add `title`: "
        "arguments: level ('low' or 'high'), title (string, required)",
        "flow.yaml:4:51 unknown-key `desk.create` has no argument `titel` | did you mean `title`?",
        "flow.yaml:4:68 bad-value the argument `level` of `desk.create` must be `low` or `high` | write one of them",
        "flow.yaml:5:31 unknown-name the tool `desk.delete` is left out by `allow` of [mcp.desk] | "
        "add it there, in fleet.toml",
        "flow.yaml:6:31 unknown-name there is no tool `dsk.create` | did you mean `desk.create`?",
    ]


def test_a_function_that_cannot_be_loaded_leaves_names_in_doubt(project: Project) -> None:
    project.write("fleet.toml", '[tools]\npython = [\n  "money:refund",\n  "money:gone",\n]\n')
    project.write("workflows/money.py", MONEY)
    names = project.names(tools={"python": ["money:refund", "money:gone"]})
    (settings,) = check_settings(names)
    assert [project.shown(problem) for problem in settings.problems] == [
        "fleet.toml:4:3 bad-value module `money` has no `gone` | it has: refund, tool"
    ]
    (doubt,) = project.told(
        "{name: flow, steps: [{id: a, type: tool, tool: pay_out}]}", tools={"python": ["money:gone"]}
    )
    assert doubt.startswith("flow.yaml:1:48 unknown-name? whether there is a tool `pay_out` is not known")


@pytest.mark.parametrize("pattern", ["*", "fs.*"])
def test_a_pattern_that_may_mean_a_function_needs_all_of_them(project: Project, pattern: str) -> None:
    flow = f"name: flow\nagents: {{a: {{tools: ['{pattern}']}}}}\nsteps: [{{id: a, type: agent, agent: a, prompt: x}}]"
    tools = {"python": ["money:refund", "nowhere:gone"]}
    project.write("workflows/money.py", MONEY)
    (said,) = project.told(flow, tools=tools)
    assert f"`{pattern}` cannot be used: nowhere:gone of [tools] python: there is no module `nowhere`" in said
    assert "bad-value" in said
    assert project.told(flow.replace(pattern, "fs.read"), tools=tools) == [], "no function is meant"


MODELS = """\
[models.cheap]
model = "opnai/gpt-5.4-mini"
fallback = ["dear", "antropic/claude"]
[models.dear]
model = "mine/large"
api_base = "http://127.0.0.1:1/v1"
"""


def test_models_that_no_provider_has_are_told_before_one_is_asked(project: Project) -> None:
    project.write("fleet.toml", MODELS)
    (settings,) = check_settings(project.names(models=load_project(project.root).settings.models))
    assert [project.shown(problem) for problem in settings.problems] == [
        "fleet.toml:2:1 unknown-name nobody knows the provider `opnai` of `opnai/gpt-5.4-mini` | "
        "did you mean `openai`?",
        "fleet.toml:3:21 unknown-name nobody knows the provider `antropic` of `antropic/claude` | "
        "did you mean `anthropic`?",
    ]


POLICY = """\
tools = ["fs.*", "gti.*"]
deny = [
  "git.pus", # not "git.push"
  {tool = ["fs.write", "desk.*"], where = {pth = "x"}},
  {tool = "sql.query", where = {sql = "DROP*"}},
  {tool = "triage", where = {path = "x"}},
]
off = ["model", "shell.rum"]
"""


def test_rules_that_are_about_nothing_are_told(project: Project) -> None:
    project.write("agents/sre.yaml", "name: sre\nfunctions: {triage: flow}\n")
    project.write("policy.toml", POLICY)
    project.write("fleet.toml", 'max_runs = 3\n[[policy.ask]]\ntool = "git.log"\n[[policy.ask]]\ntool = "notfy"\n')
    table = load_project(project.root).settings.policy
    mine, ours = check_settings(project.names(policy=table, mcp={"desk": {"command": ["none"]}}))
    assert [project.shown(problem) for problem in mine.problems] == [
        "policy.toml:1:18 unknown-name? this rule is about no tool: no tool matches `gti.*` | did you mean `git.*`?",
        "policy.toml:3:3 unknown-name? this rule is about no tool: there is no tool `git.pus` | "
        "did you mean `git.push`?",
        "policy.toml:4:44 unknown-name? this rule is about no call: `pth` is not what calls of these tools are judged "
        "by | did you mean `path`?",
        "policy.toml:5:33 unknown-name? this rule is about no call: `sql` is not what calls of `sql.query` are judged "
        "by | they are judged by database",
        "policy.toml:8:17 unknown-name? this rule is about no tool: there is no tool `shell.rum` | "
        "did you mean `shell.run`?",
    ]
    assert [project.shown(problem) for problem in ours.problems] == [
        "fleet.toml:5:1 unknown-name? this rule is about no tool: there is no tool `notfy` | did you mean `notify`?"
    ]


def test_the_console_shows_the_same(project: Project) -> None:
    project.write("agents/sre.yaml", "name: sre\ndescription: Helps.\ntools: [fs.raed]\n")
    project.write("workflows/flow.yaml", "{name: flow, steps: [{id: a, type: tool, tool: fs.raed, with: {path: x}}]}")
    files = WorkflowFiles(project.root, project.workflows, project.names)
    state = files.look(project.workflows / "flow.yaml")
    assert [project.shown(problem).split(" |")[0] for problem in state.problems] == [
        "flow.yaml:1:48 unknown-name there is no tool `fs.raed`"
    ]
    (agent,) = read_agents([project.root / "agents"], project.names())
    assert (agent.errors, agent.agent is not None and agent.agent.description) == (1, "Helps.")
