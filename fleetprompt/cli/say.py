"""One line for each fact that is worth one: what a run says where no tree can be drawn, and the list of its facts."""

from __future__ import annotations

from rich.text import Text

from fleetprompt.cli.render import marked, plain
from fleetprompt.cli.tree import Tree
from fleetprompt.client.telling import told_fact
from fleetprompt.engine.core import facts as f
from fleetprompt.engine.core.facts import AnyFact

NOT_WORTH_IT = (f.RunStarted, f.StepNoted, f.ApprovalVoted)


def news(tree: Tree, fact: AnyFact) -> Text | None:
    """What a fact that was just applied means to somebody who waits for the run; None where it means nothing."""
    if isinstance(fact, NOT_WORTH_IT) and getattr(fact, "kind", "") != "reconcile":
        return None
    if isinstance(fact, f.StepStarted) and fact.attempt == 1 and not fact.approval:
        step = tree.run.steps.get(fact.path)
        if step is None or step.program.node.kind in ("transform", "choose", "approval", "delay", "wait", "emit"):
            return None
    return summary(fact, tree)


def summary(fact: AnyFact, tree: Tree) -> Text:
    """A fact in a few words."""
    status, text = told_fact(fact, tree.run)
    path = getattr(fact, "path", "")
    line = marked(status)
    line.append(" ")
    if path:
        line.append_text(plain(path, "bold")).append("  " if text else "")
    return line.append_text(plain(text))
