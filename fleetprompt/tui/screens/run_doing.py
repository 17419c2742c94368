"""What can be done to a run and its steps, and what the operator is asked before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetprompt.client.wording import short
from fleetprompt.tui import deciding, deciding_calls
from fleetprompt.tui.acting import CANCEL, PAUSE, RESUME, Command, command_runs
from fleetprompt.tui.actions import Action
from fleetprompt.tui.retrying import retry, retry_from
from fleetprompt.tui.screens.base import QUIET, ConsoleScreen
from fleetprompt.tui.screens.resolve import ask_answer, doubt_of
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.run_verbs import Name, Verb, verbs
from fleetprompt.tui.widgets.run_beside import Beside
from fleetprompt.tui.widgets.run_tree import TreeView

if TYPE_CHECKING:
    from fleetprompt.engine.ports import Approval

_VERBS: dict[str, Name] = {
    "run.cancel": "cancel",
    "run.pause": "pause",
    "run.resume": "resume",
    "run.raise": "raise",
    "run.retry": "retry",
    "run.retry_from": "retry_from",
    "run.resolve": "resolve",
}
DECISIONS = tuple(
    f"approval.{verb}"
    for verb in ("approve", "reject", "edit", "comment", "grant_run", "grant_workflow", "end", "escalate")
)


class RunDoing(ConsoleScreen):
    """A screen with a run, its steps and what stands beside them, as far as something can be done to them."""

    def __init__(self) -> None:
        super().__init__()
        self.runview: RunView | None = None
        self._possible: tuple[tuple[str, int, str], dict[Name, Verb]] = (("", 0, ""), {})

    @property
    def steps(self) -> TreeView | None:
        """The tree, once the run is loaded."""
        found = self.query(TreeView)
        return found.first() if found else None

    @property
    def beside(self) -> Beside:
        """What stands beside the steps."""
        return self.query_one(Beside)

    # ------------------------------------------------------------ what is possible

    def possible(self) -> dict[Name, Verb]:
        """What can be done with the row of the cursor, and why the rest cannot."""
        view = self.runview
        if view is None:
            return {}
        fold, step = view.current_fold, view.current_step
        key = (fold.id, fold.run.n, step.path if step is not None else "")
        if self._possible[0] != key:
            self._possible = key, verbs(fold.run, step, me=self.app.who)
        return self._possible[1]

    def can(self, action: Action) -> bool:
        """Whether something can be done to what the cursor is at; to look at it is always possible."""
        if action.id in DECISIONS:
            # What is shown above the rest can be decided wherever the cursor is.
            return self.beside.ask_box.can_be(action.id)
        name = _VERBS.get(action.id)
        verb = self.possible().get(name) if name is not None else None
        return verb is None or verb.possible

    def _may(self, name: Name) -> Verb | None:
        verb = self.possible().get(name)
        if verb is None or verb.possible:
            return verb
        self.app.say("warning", f"{name.replace('_', ' ')}: {verb.why_not}")
        return None

    # ------------------------------------------------------------ doing it

    async def _command(self, name: Name, command: Command) -> None:
        view = self.runview
        if view is not None and self._may(name) is not None:
            head = await self.client.run(view.current_fold.id)
            await command_runs(self.app, command, [head])

    async def _asked(self, verb: str) -> Approval | None:
        """The approval that is shown beside the steps; None, and the operator is told why, where it cannot be meant."""
        asked = self.beside.ask_box.asked()
        if asked is None:
            self.app.say("warning", f"{verb}: the run asks for nothing")
        elif not self.beside.ask_box.steady.settled(self.app.now(), QUIET):
            self.app.say("warning", f"{verb}: what is shown has just changed; look again")
        else:
            return (await self.client.approval(asked.gate.id))[0]
        return None

    async def do_approval_approve(self) -> None:
        if (approval := await self._asked("approve")) is not None:
            await deciding.approve(self.app, approval)

    async def do_approval_reject(self) -> None:
        if (approval := await self._asked("reject")) is not None:
            await deciding.reject(self.app, approval)

    async def do_approval_edit(self) -> None:
        if (approval := await self._asked("edit")) is not None:
            await deciding.edit(self.app, approval)

    async def do_approval_comment(self) -> None:
        if (approval := await self._asked("comment")) is not None:
            await deciding.comment(self.app, approval)

    async def do_approval_grant_run(self) -> None:
        if (approval := await self._asked("allow in run")) is not None:
            await deciding_calls.grant(self.app, approval, "run")

    async def do_approval_grant_workflow(self) -> None:
        if (approval := await self._asked("allow in workflow")) is not None:
            await deciding_calls.grant(self.app, approval, "workflow")

    async def do_approval_end(self) -> None:
        if (approval := await self._asked("end the agent")) is not None:
            await deciding_calls.end(self.app, approval)

    async def do_approval_escalate(self) -> None:
        if (approval := await self._asked("hand on")) is not None:
            await deciding_calls.escalate(self.app, approval)

    async def do_run_cancel(self) -> None:
        await self._command("cancel", CANCEL)

    async def do_run_pause(self) -> None:
        await self._command("pause", PAUSE)

    async def do_run_resume(self) -> None:
        await self._command("resume", RESUME)

    async def do_run_raise(self) -> None:
        """Let the run spend more, or the step at the cursor, where that has limits of its own."""
        from fleetprompt.tui.raising import raise_limits

        view = self.runview
        verb = self._may("raise")
        if view is not None and verb is not None:
            await raise_limits(self.app, [await self.client.run(view.current_fold.id)], verb.target)

    async def do_run_retry(self) -> None:
        """The run again: what went wrong, or from a step that is asked for."""
        view = self.runview
        if view is not None:
            await retry(self.app, [await self.client.run(view.current_fold.id)], self._show_retried)

    async def do_run_retry_from(self) -> None:
        """The run again, from the step at the cursor."""
        view = self.runview
        verb = self._may("retry_from")
        if view is not None and verb is not None:
            head = await self.client.run(view.current_fold.id)
            await retry_from(self.app, head, verb.target, self._show_retried)

    async def _show_retried(self, run: str) -> str:
        """Go to the new run, unless the operator is somewhere else by now."""
        if not self.is_current:
            return f"`:run {short(run)}` opens it"
        await self.app.go_to(f"run {run}")
        return "it is shown now, esc goes back"

    async def do_run_resolve(self) -> None:
        """Answer for the step at the cursor; where it is not in doubt, for the first that is."""
        view = self.runview
        if view is None:
            return
        step = view.current_step
        if (step is None or step.status != "in_doubt") and view.fold.index.doubtful:
            view.tree.reveal_path(next(iter(view.fold.index.doubtful)))
            if self.steps is not None:
                self.steps.follow()
        verb = self._may("resolve")
        if verb is not None and view.current_step is not None:
            head = await self.client.run(view.current_fold.id)
            ask_answer(self.app, [doubt_of(head, view.current_step)])
