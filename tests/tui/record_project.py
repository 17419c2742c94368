"""The workflows that are recorded, and what they do: a small shop's fleet."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

from fleetprompt.engine.core.plan import Repeat
from fleetprompt.engine.definition.step import StepModel, step
from fleetprompt.engine.ports import Context, Done, Outcome

WORK = """
from fleetprompt.engine.steps.python import Permanent

PAGES = [f"/guide/{number:03}" for number in range(300)]


def pages():
    return PAGES


def crawl(page, context):
    if page.endswith(("117", "242")):
        raise Permanent(f"HTTP 404 for {page}: the page is linked from /guide/index")
    if page.endswith("0"):
        context.log(f"GET {page} 200")
    return len(page)


def hostile(context):
    for line in LINES:
        context.log(line)
    context.log("a table", data={"[red]key[/red]": "\\x1b[31mvalue\\x1b[0m", "wide": "日本語"})
    return {"said": LINES[0], "[b]bold[/b]": "\\u202eevil"}


LINES = [
    "\\x1b[2J\\x1b[31mred and cleared\\x1b[0m",
    "\\u202etxt.exe is a text\\u202c",
    "[bold red]markup[/] [@click=app.quit]leave[/]",
    "wide 日本語テキスト 🚀 and combining e\\u0301 a\\u0308 n\\u0303 z\\u0351\\u0350\\u034f",
    "a\\ttab, a bell \\x07, a backspace \\x08\\x08\\x08, a null \\x00, a return\\rhome",
    "\\x9b31mC1 and \\u200bzero\\u200bwidth\\ufeff",
]
"""

CRAWL = """
name: crawl-docs
description: Fetch every page of the documentation.
labels: {team: docs}
steps:
  - {id: list, type: python, call: "work:pages", repeat: safe}
  - id: fetch
    name: Fetch every page
    type: loop
    over: steps.list.output
    as: page
    concurrency: 20
    on_item_error: continue
    steps:
      - {id: get, type: python, call: "work:crawl", with: {page: "${{ page }}"}, repeat: safe}
  - {id: count, type: transform, output: {pages: "${{ steps.fetch.output | length }}"}}
"""
RETRIES = """
name: publish-docs
description: Put the documentation where people read it.
labels: {team: docs}
steps:
  - {id: build, type: shell, argv: [sh, -c, "echo building; echo 300 pages"], repeat: safe}
  - id: upload
    name: Upload it
    type: shell
    argv: [sh, -c, "echo uploading to the mirror; echo 'mirror: 503 Service Unavailable' >&2; exit 3"]
    repeat: safe
    retry: {max_attempts: 3, backoff: 200ms}
  - {id: announce, type: emit, signal: docs.published}
"""
DOUBT = """
name: pay-suppliers
description: Pay what is due.
labels: {team: finance}
steps:
  - {id: due, type: transform, output: {supplier: ACME, amount: 1240}}
  - id: pay
    name: Pay the bill
    type: shell
    argv: [sh, -c, "echo paying ACME; touch begun; sleep 60"]
    repeat: never
  - {id: book, type: transform, output: booked}
"""
PAUSED = """
name: reindex-search
description: Build the search index again.
labels: {team: docs}
steps:
  - {id: read, type: shell, argv: [sh, -c, "echo 300 pages"], repeat: safe}
  - {id: ready, type: wait, signal: mirror.ready}
  - {id: build, type: transform, output: built}
"""
CHAIN = ("release-train", "release-service", "roll-out-region", "roll-out-zone", "drain-node", "move-workload")
LAST = """
name: move-workload
steps:
  - {id: cordon, type: shell, argv: [sh, -c, "echo cordoned"], repeat: safe}
  - {id: drained, type: wait, signal: node.drained}
"""
HOSTILE = r"""
name: hostile
description: "\u202eeverything that texts can do[/] \u001b[31m"
labels: {team: "[red]red[/red]", "note": "\u001b]0;title\u0007"}
steps:
  - {id: say, name: "[bold]\u001b[2Jname\u202e 日本語", type: python, call: "work:hostile", repeat: safe}
  - id: gate
    type: approval
    message: "[red]Approve\u001b[31m\u202e everything[/red] 日本語 e\u0301? [@click=app.quit]yes[/]"
    show: {"cmd": "rm -rf \u001b[8m/\u001b[0m", "[b]k[/b]": "\u202egpj.exe", "wide": "日本語テキスト"}
    form: {why: {type: string, description: "[red]\u001b[31mwhy"}}
"""

TRIAGE = """
name: triage-inbox
description: Read what customers write, and answer or hand on.
inputs: {mails: {type: integer, default: 4}}
labels: {env: prod, team: support}
steps:
  - {id: read, type: shell, argv: [sh, -c, "echo read $0", "${{ inputs.mails }}"], repeat: safe}
  - {id: sort, name: Sort by urgency, type: ask_model, prompt: sort, tokens: "${{ inputs.mails * 1800 }}"}
  - {id: draft, name: Draft answers, type: ask_model, prompt: draft, tokens: "${{ inputs.mails * 5200 }}"}
"""
EVAL = """
name: nightly-eval
description: Score the assistant on the held-out questions.
labels: {env: staging, team: ml}
steps:
  - {id: load, type: transform, output: [1, 2, 3]}
  - {id: score, name: Score every answer, type: ask_model, prompt: score, tokens: 210000}
  - {id: verify, type: shell, argv: [sh, -c, "echo 'accuracy 0.83 < 0.85' >&2; exit 1"], repeat: safe}
"""
DEPLOY = """
name: deploy-canary
description: Put a release onto one machine, and ask before it goes everywhere.
inputs: {release: {type: string, default: "4.2.0"}}
labels: {env: prod, team: shop}
steps:
  - {id: build, type: shell, argv: [sh, -c, "echo built"], repeat: safe}
  - {id: canary, name: Watch the canary, type: shell, argv: [sh, -c, "echo healthy"], repeat: safe}
  - id: gate
    name: Everywhere?
    type: approval
    message: "Deploy ${{ inputs.release }} to all 40 machines?"
    show: {command: "kubectl rollout restart deploy/shop --context prod", machines: 40}
    approvers: ["user:ana", "user:bo"]
    quorum: 2
    form:
      batch: {type: integer, minimum: 1, maximum: 40, default: 10, description: Machines at a time}
      note: {type: string, default: "", description: Anything the log should say}
    timeout: 2h
  - {id: roll, type: shell, needs: [gate.approved], argv: [sh, -c, "echo rolled out"], repeat: safe}
"""
WATCH = """
name: watch-queue
description: Look at the queue until it is empty.
labels: {env: prod, team: shop}
steps:
  - {id: look, type: shell, argv: [sh, -c, "echo 1204 orders wait; sleep 60"], repeat: safe}
"""


def chain() -> dict[str, str]:
    """Workflows of which each starts the next one as a child."""
    texts = {"move-workload": LAST}
    for name, child in pairwise(CHAIN):
        texts[name] = f"name: {name}\nsteps:\n  - {{id: go, type: workflow, workflow: {child}}}\n"
    return texts


@step("ask_model")
class AskModel(StepModel):
    """Ask a model that always says the same, and count what that costs."""

    pool_name: ClassVar[str] = "http"

    prompt: str
    tokens: int | str

    def repeats(self) -> Repeat:
        return self.repeat or "safe"

    @classmethod
    async def perform(cls, ctx: Context) -> Outcome:
        given: dict[str, Any] = ctx.effect.input
        tokens = int(given["tokens"])
        ctx.log(f"{given['prompt']}: {tokens:,} tokens")
        return Done({"text": "done"}, usage={"tokens": tokens, "cost_nano": tokens * 4_000})


CHANGES = """# Changes since 4.6.0

- Orders are cancelled within a minute (#812)
- The pool of connections is closed where a coupon is refused (#815)
- [internal] rename a module
"""

TEAM = """
name: release-notes
description: Two agents write the notes of a release; people decide about what is published.
inputs: {release: {type: string, default: 4.7.0}}
agents:
  editor:
    system: You write the notes of a release.
    tools: [fs.read, fs.write, shell.run, human.ask]
    delegates: [checker]
  checker:
    system: You check facts.
    tools: [fs.grep]
steps:
  - id: notes
    type: agent
    agent: editor
    prompt: "Write notes for release ${{ inputs.release }} from changes.md."
    max_iterations: 8
  - {id: publish, type: transform, output: "${{ steps.notes.output }}"}
"""

TEAM_WORDS = """
rules:
  - agent: checker
    turn: 0
    say: I look for the change that the notes are about.
    call: {tool: fs.grep, with: {path: changes.md, pattern: "#815"}}
  - agent: checker
    say: "Yes: #815 closes the pool of connections where a coupon is refused."
  - agent: editor
    turn: 0
    think: First what has changed.
    say: I read what has changed, and have one of the changes checked.
    call:
      - {tool: fs.read, with: {path: changes.md}}
      - {tool: delegate_checker, with: {task: Is it true that a pool of connections is closed now?}}
      - {tool: fs.read, with: {path: /etc/shadow}}
  - agent: editor
    turn: 1
    say: I write the draft.
    call:
      tool: fs.write
      with:
        path: "notes/${{ inputs.release }}.md"
        content: "# ${{ inputs.release }}\n\nOrders are cancelled within a minute.\n"
  - agent: editor
    turn: 2
    say: Who signs the notes is not written anywhere.
    call:
      tool: human.ask
      with: {question: "Who signs the notes of ${{ inputs.release }}?", options: [Ana, Bo]}
  - agent: editor
    say: The notes are written.
"""
