"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from fleetprompt.cli.completion import (
    complete_agent,
    complete_approval,
    complete_run,
    complete_run_filter,
    complete_workflow,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many rows.")]
Since = Annotated[str, typer.Option("--since", metavar="TIME", help="From then on, such as 24h, today or 2026-11-20.")]
Full = Annotated[bool, typer.Option("--full", help="Whole ids and values.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Comment = Annotated[str, typer.Option("--comment", "-m", metavar="TEXT", help="Why; it is recorded.")]
RunId = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="Id of a run, its first or last characters, or `last`.", autocompletion=complete_run
    ),
]
Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|FILTER", help="Runs, or a filter such as status:waiting.", autocompletion=complete_run_filter
    ),
]
FinishedRuns = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|FILTER", help="Runs, or a filter such as status:failed.", autocompletion=complete_run_filter
    ),
]
ApprovalId = Annotated[
    str,
    typer.Argument(metavar="ID", help="Id of an approval, part of it, or `last`.", autocompletion=complete_approval),
]
AgentName = Annotated[str, typer.Argument(metavar="AGENT", help="Name of an agent.", autocompletion=complete_agent)]
WorkflowName = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a workflow.", autocompletion=complete_workflow)
]

FILTERED = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""Settings of commands that take a filter, so that `-wf:crawl` is a term. They have no short options: `-run:x` would
be read as `-r` with a value, and a term that gets lost widens what a command touches."""
