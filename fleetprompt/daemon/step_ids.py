"""Steps by the ids that their authors know: a workflow that came in another form has had to rename some. PURE."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import NotFound

_ID = re.compile(r"[a-z][a-z0-9_]*")


class Ids(Struct, frozen=True):
    """The ids of one plan."""

    theirs: Mapping[str, str] = {}
    """What its author calls a step, by its id here; where that differs."""

    def shown(self, path: str) -> str:
        """The path of a step in its author's words: `audit[3].fetch_data` as `audit[3].Fetch-Data`."""
        if not self.theirs or not path:
            return path
        return ".".join(_ID.sub(self._of, part, count=1) for part in path.split("."))

    def _of(self, found: re.Match[str]) -> str:
        return self.theirs.get(found[0], found[0]) if found.start() == 0 else found[0]

    def meant(self, text: str, paths: Iterable[str]) -> str:
        """The one of a run's steps that somebody means, in their words or in ours. Raises `NotFound`."""
        every = [*paths]
        # Who calls one step as another one is called here means their own.
        known = {path: path for path in every} | {self.shown(path): path for path in every}
        found = known.get(text)
        if found is None:
            hint = did_you_mean(text, known) or "GET /api/executions/{id} lists its steps"
            raise NotFound(f"the execution has no step `{text[:100]}`", hint=hint)
        return found


OWN = Ids()
"""Those of a plan that was written here."""
