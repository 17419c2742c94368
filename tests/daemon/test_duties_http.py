"""Two people with tokens: who executes what keeps duties apart cannot approve it, over HTTP as anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daemon_kit import served

from fleetprompt.client.identity import Identity
from fleetprompt.daemon.access import Rules

FLOW = """\
name: apart
steps:
  - {id: gate, type: approval, message: "Pay?", approvers: {any_of: [ana, bo], not: run.starter},
     form: {n: {type: integer, default: 1}}}
"""
TOKENS = {who: Identity(name=who, role="admin", via="http", credential=who) for who in ("ana", "bo", "cy")}


async def test_who_executes_it_cannot_approve_it(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(operator="root", local_role=None), TOKENS, apart=FLOW) as daemon:

        async def ask(who: str, method: str, path: str, body: Any = None) -> Any:
            return await daemon.http.request(method, path, json=body, headers={"Authorization": f"Bearer {who}"})

        begun = await ask("ana", "POST", "/api/workflows/apart/execute", {})
        assert begun.status_code == 202, begun.text
        execution = begun.json()["execution_id"]
        daemon.http.headers["Authorization"] = "Bearer bo"
        asked = await daemon.pending(execution)
        assert (asked["approvers"], asked["barred"]) == (["ana", "bo"], ["ana"])
        for body in ({"decision": "approved"}, {"decision": "rejected"}, {"decision": "approved", "values": {"n": 2}}):
            refused = await ask("ana", "POST", f"/api/approvals/{asked['id']}", body)
            assert (refused.status_code, "ana started the run" in refused.text) == (403, True), refused.text
        alias = f"/agents/workflows/executions/{execution}/approve"
        assert (await ask("ana", "POST", alias, {"decision": "approved"})).status_code == 403
        stranger = await ask("cy", "POST", f"/api/approvals/{asked['id']}", {"decision": "approved"})
        assert (stranger.status_code, "cy may not decide this" in stranger.text) == (403, True), stranger.text
        wrong = await ask("bo", "POST", f"/api/approvals/{asked['id']}", {"decision": "approved", "values": {"n": "x"}})
        assert (wrong.status_code, "of type integer" in wrong.text) == (422, True), wrong.text
        assert (await daemon.pending(execution))["votes"] == []
        done = await ask("bo", "POST", f"/api/approvals/{asked['id']}", {"decision": "approved"})
        assert done.status_code == 200, done.text
        second = await ask("bo", "POST", f"/api/approvals/{asked['id']}", {"decision": "rejected"})
        assert second.status_code == 409, second.text
        assert (await daemon.until(execution, "completed"))["status"] == "completed"
