"""One line for each fact that is worth one: what a run says where no tree can be drawn, and the list of its facts."""

from __future__ import annotations

from rich.text import Text

from fleetprompt.cli.render import marked, plain
from fleetprompt.cli.tree import Tree
from fleetprompt.client.telling import told_fact
from fleetprompt.client.wording import mode_label
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
    line = summary(fact, tree)
    if _is_of_models(tree, fact) and (label := mode_label(tree.mode)):
        line.append(f"  {label}", style="bold yellow")
    return line


def _is_of_models(tree: Tree, fact: AnyFact) -> bool:
    """Whether it speaks of a run as a whole, of an agent, or of what somebody is asked: where models have had no part
    in that, it is said. What ends a run says it by itself."""
    if isinstance(fact, f.RunCreated | f.RunForked | f.ApprovalRequested | f.ApprovalDecided):
        return True
    step = tree.run.steps.get(getattr(fact, "path", ""))
    return step is not None and step.program.node.type in ("agent", "chat", "image")


def summary(fact: AnyFact, tree: Tree) -> Text:
    """A fact in a few words."""
    status, text = told_fact(fact, tree.run)
    path = getattr(fact, "path", "")
    line = marked(status)
    line.append(" ")
    if path:
        line.append_text(plain(path, "bold")).append("  " if text else "")
    return line.append_text(plain(text))
