"""What stands below the help of each command: examples, exit codes, the fields of its filter."""

from __future__ import annotations

from typing import Any

EXAMPLES: dict[str, tuple[str, ...]] = {
    "init": ("fleet init", "fleet init new/project"),
    "run": (
        "fleet run hello -i name=Ada",
        "fleet run workflows/deploy.yaml --label env=prod",
        "fleet run deploy --inputs in.json --json > out.json",
        "fleet run deploy --key release-42 --no-wait",
    ),
    "serve": (
        "fleet serve",
        "fleet serve --port 0 --json",
        "fleet serve --log-format json",
        "fleet serve --host 0.0.0.0 --tls-cert fleet.pem --tls-key fleet.key",
    ),
    "notify": ("fleet notify", "fleet notify --json"),
    "notify test": ("fleet notify test", "fleet notify test oncall"),
    "switch": (
        "fleet switch",
        "fleet switch pause --reason 'incident 7'",
        "fleet switch drain",
        "fleet switch off --yes",
        "fleet switch on",
    ),
    "recover": ("fleet recover", "fleet recover 1a2b3c4d --json"),
    "validate": ("fleet validate", "fleet validate a.yaml more/ --format json", "fleet validate - < a.yaml"),
    "import": (
        "fleet import triage.json",
        "fleet import flow.yaml --format list -o workflows/flow.yaml --force",
        "fleet import - --stdout < triage.json > triage.yaml",
    ),
    "schema": ("fleet schema", "fleet schema -o workflow.schema.json"),
    "workflows": ("fleet workflows", "fleet workflows status:paused --json", "fleet workflows pause deploy"),
    "workflows pause": ("fleet workflows pause deploy",),
    "workflows activate": ("fleet workflows activate deploy",),
    "workflows archive": ("fleet workflows archive deploy",),
    "triggers": ("fleet triggers", "fleet triggers --json", "fleet triggers firings outcome:failed"),
    "triggers firings": (
        "fleet triggers firings",
        "fleet triggers firings kind:webhook outcome:duplicate,skipped since:1d --limit 50",
    ),
    "schedules": ("fleet schedules", "fleet schedules status:paused --json", "fleet schedules fire nightly"),
    "schedules show": ("fleet schedules show nightly", "fleet schedules show nightly outcome:missed --limit 50"),
    "schedules fire": ("fleet schedules fire nightly", "fleet schedules fire audit/weekly --json"),
    "schedules pause": ("fleet schedules pause nightly --reason 'incident 7'",),
    "schedules resume": ("fleet schedules resume nightly",),
    "schedules next": ("fleet schedules next '0 9 * * 1-5' --timezone Europe/Berlin", "fleet schedules next @weekly"),
    "agents": ("fleet agents", "fleet agents status:failed --json --since today", "fleet agents show sre"),
    "agents show": ("fleet agents show sre", "fleet agents show sre --since 30d --json"),
    "agents validate": ("fleet agents validate", "fleet agents validate agents/sre.yaml"),
    "chat": (
        "fleet chat sre",
        "fleet chat sre 'why do orders fail?' --json",
        "fleet chat sre --session incident-42",
        "fleet chat sre < error.log",
    ),
    "runs": (
        "fleet runs",
        "fleet runs status:failed,timeout since:24h",
        "fleet runs wf:deploy label.env=prod 'dur>10m' --json",
        "fleet runs -wf:crawl '\"rate limit\"'",
    ),
    "show": ("fleet show last", "fleet show 1a2b3c4d --full", "fleet show 1a2b3c4d --at 12 --json"),
    "logs": ("fleet logs last -f", "fleet logs 1a2b3c4d --step deploy --tail 50"),
    "facts": ("fleet facts last", "fleet facts 1a2b3c4d --upto 20 --json"),
    "record": ("fleet record last recordings/triage.jsonl", "fleet record 1a2b3c4d triage.jsonl"),
    "cost": ("fleet cost", "fleet cost --by step wf:deploy --since today", "fleet cost --by day --since 30d --json"),
    "cancel": ("fleet cancel 1a2b3c4d --reason 'wrong branch'", "fleet cancel wf:crawl status:waiting --yes"),
    "pause": ("fleet pause 1a2b3c4d", "fleet pause label.env=prod --reason 'incident'"),
    "resume": ("fleet resume 1a2b3c4d", "fleet resume waiting:paused --yes"),
    "retry": ("fleet retry last", "fleet retry 1a2b3c4d --from deploy", "fleet retry status:failed since:2h"),
    "raise": (
        "fleet raise 1a2b3c4d --usd 0.5 --reason 'it is nearly there'",
        "fleet raise wf:research --requests 10 --step plan --yes",
    ),
    "resolve": (
        "fleet resolve 1a2b3c4d pay --happened '{\"receipt\": 7}'",
        "fleet resolve 1a2b3c4d pay --run --comment 'not on the statement'",
        "fleet resolve 1a2b3c4d 'each[3].pay' --skip",
    ),
    "approvals": ("fleet approvals", "fleet approvals wf:deploy 'age>1h'", "fleet approvals status:rejected --json"),
    "approvals show": ("fleet approvals show last", "fleet approvals show ap-1a2b3c --json"),
    "approve": (
        "fleet approve last",
        "fleet approve ap-1a2b3c --set amount=12 --comment 'as agreed' --yes",
        "fleet approve last --for-workflow",
    ),
    "reject": ("fleet reject last --comment 'too dear'", "fleet reject ap-1a2b3c --end --comment 'enough'"),
    "escalate": ("fleet escalate last --comment 'not for me to say'",),
    "memory": ("fleet memory", "fleet memory --scope agent/sre --type learned --json"),
    "memory search": ("fleet memory search checkout index", "fleet memory search redis --tag ports"),
    "memory show": ("fleet memory show m-1a2b3c",),
    "memory add": ("fleet memory add 'The shop closes at 6.' --scope agent/support --tag hours",),
    "memory forget": ("fleet memory forget m-1a2b3c --yes",),
    "audit": ("fleet audit --since 24h", "fleet audit --refused --by ana --json"),
    "audit verify": ("fleet audit verify", "fleet audit verify --head 5f0c --json"),
    "grants": ("fleet grants", "fleet grants --all --json"),
    "grants revoke": ("fleet grants revoke ap-1a2b3c",),
    "token": ("fleet token", "fleet token list --all --json"),
    "token list": ("fleet token list", "fleet token list --all --json"),
    "token create": (
        "fleet token create ci --role operator --expires 30d",
        "fleet token create ana --role approver --expires never",
    ),
    "token revoke": ("fleet token revoke 7kq3v5wxyz",),
    "signal": (
        'fleet signal deploy.finished --data \'{"env": "prod"}\'',
        "fleet signal order.placed --data @order.json --key order-42",
    ),
    "signals": ("fleet signals", "fleet signals 'type:deploy.*' since:1h --json", "fleet signals show ID"),
    "signals show": ("fleet signals show ID --json",),
    "signals replay": (
        "fleet signals replay ID",
        "fleet signals replay dl-1a2b3c4d5e6f7a8b",
        "fleet signals replay --since 2h --type 'deploy.*' --dry-run",
        "fleet signals replay --since 2026-11-20 --until 2026-11-21 --workflow triage --key again --yes",
    ),
    "signals dead": ("fleet signals dead", "fleet signals dead wf:triage since:24h --json", "fleet signals dead --all"),
    "signals deliveries": (
        "fleet signals deliveries",
        "fleet signals deliveries status:pending --json",
    ),
    "signals dismiss": ("fleet signals dismiss dl-1a2b3c4d5e6f7a8b", "fleet signals dismiss wf:old --yes"),
    "db": ("fleet db check", "fleet db backup copy.db", "fleet db prune --older-than 30d --dry-run"),
    "db upgrade": ("fleet db upgrade",),
    "db check": ("fleet db check", "fleet db check --json"),
    "db backup": ("fleet db backup backups/fleet.db",),
    "db prune": ("fleet db prune", "fleet db prune --older-than 30d --logs-older-than 7d --yes"),
    "engine": ("fleet engine", "fleet engine --until-eof < pipe"),
    "models": ("fleet models", "fleet models --ask", "fleet models --json"),
    "tools": ("fleet tools", "fleet tools 'git.*'", "fleet tools --json"),
    "tools accept": ("fleet tools accept tickets",),
    "doctor": ("fleet doctor", "fleet doctor --json", "fleet doctor --bundle support.zip"),
    "demo": ("fleet demo", "fleet demo --list", "fleet demo data-quality --approve-as you", "fleet demo up"),
}
_RUN = "0 completed, 1 failed or held, 2 usage or validation, 3 still waiting, 4 cancelled, 5 timeout, 130 parked"
_VERB = "0 done, 1 refused for some, or not confirmed, 2 usage"
EXIT_CODES = {
    "run": _RUN,
    "recover": f"the worst of {_RUN}",
    "demo": _RUN,
    "chat": _RUN,
    "validate": "0 valid, 2 not",
    "import": "0 imported, 2 it cannot be, or the result is not valid",
    "agents validate": "0 valid, 2 not",
    "db check": "0 in order, 1 not, 2 it cannot be read",
    "engine": "0 ended as it was told, 2 it cannot be had",
    "doctor": "0 in order, 1 something is broken",
    **dict.fromkeys(("cancel", "pause", "resume", "retry"), _VERB),
    "resolve": "0 done, 1 refused, 2 usage",
    "schedules fire": "0 fired, 2 usage, or refused",
    **dict.fromkeys(("approve", "reject", "escalate"), "0 it counts, 1 not confirmed, 2 usage, or refused"),
}
_FILTERS = {
    **dict.fromkeys(("runs", "cost", "cancel", "pause", "resume", "retry"), "RUN_FIELDS"),
    "approvals": "APPROVAL_FIELDS",
    "signals": "SIGNAL_FIELDS",
    "workflows": "WORKFLOW_FIELDS",
    "schedules": "SCHEDULE_FIELDS",
    "triggers firings": "FIRING_FIELDS",
    "agents": "AGENT_FIELDS",
}
_GRAMMAR = (
    "All terms must hold; a comma means or: status:failed,waiting; - in front means not: -wf:crawl. Words and "
    "/regular expressions/ are searched for. Quote < and > for the shell."
)


def complete_help(name: str, command: Any) -> None:
    """Put it below the help of a command, and of those inside it."""
    parts = ["\b\nExamples:\n" + "\n".join(f"  {example}" for example in EXAMPLES.get(name, ()))]
    if name in EXIT_CODES:
        parts.append(f"Exit codes: {EXIT_CODES[name]}.")
    if name in _FILTERS:
        parts += [f"Fields of FILTER: {_fields(_FILTERS[name])}.", _GRAMMAR]
    parts.append("--utc, --db URL, -C DIR and --tenant NAME, which `fleet --help` explains, may stand anywhere.")
    command.epilog = "\n\n".join(parts)
    for param in command.params:
        if param.param_type_name == "argument":
            # Names of Python types say nothing to people.
            param.display_type_rich = lambda ctx: None
    for inner, each in getattr(command, "commands", {}).items():
        if not each.hidden:
            complete_help(f"{name} {inner}", each)


def _fields(table: str) -> str:
    from fleetprompt.engine.core import query_fields

    fields = getattr(query_fields, table).fields
    return ", ".join(f"{field.name}.KEY" if field.kind == "label" else field.name for field in fields)
