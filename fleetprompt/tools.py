"""For code of yours that agents call: `from fleetprompt.tools import tool`. See docs/tools.md."""

from fleetprompt.engine.tools.python import DidNotHappen, OutcomeUnknown, ToolContext, tool

__all__ = ["DidNotHappen", "OutcomeUnknown", "ToolContext", "tool"]
