"""The audit log over HTTP: for administrators, of their tenant; who is not let in is told of, once a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daemon_kit import served

from fleetprompt.client.identity import Identity
from fleetprompt.daemon.access import Rules

TOKENS = {
    "admin": Identity(name="ana", role="admin", via="http", credential="t1"),
    "viewer": Identity(name="vic", role="viewer", via="http", credential="t2"),
    "other": Identity(name="eve", tenant="acme", role="admin", via="http", credential="t3"),
}


async def test_who_did_what_is_told_to_administrators_of_the_tenant(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(operator="root", local_role=None), TOKENS) as daemon:

        async def ask(who: str, method: str, path: str, **more: Any) -> Any:
            return await daemon.http.request(method, path, headers={"Authorization": f"Bearer {who}"}, **more)

        begun = await ask("admin", "POST", "/api/workflows/quick/execute", json={})
        execution = begun.json()["execution_id"]
        assert (await ask("viewer", "POST", "/api/workflows/quick/execute", json={})).status_code == 403
        for _ in range(3):
            assert (await ask("wrong", "GET", "/api/executions")).status_code == 401
        assert (await ask("viewer", "GET", "/api/audit")).status_code == 403
        await daemon.console.refusals.close()
        found = (await ask("admin", "GET", "/api/audit")).json()
        told = {(each["by"], each["action"], each["outcome"], each["code"]) for each in found}
        assert told == {
            ("ana", "start", "done", ""),
            ("vic", "start", "refused", "FORBIDDEN"),
            ("vic", "audit", "refused", "FORBIDDEN"),
            ("127.0.0.1", "authenticate", "refused", "401"),
        }
        assert sum(each["count"] for each in found if each["action"] == "authenticate") == 3
        [start] = [each for each in found if each["action"] == "start" and each["outcome"] == "done"]
        assert (start["object"], start["role"], start["via"], start["credential"]) == (execution, "admin", "http", "t1")
        page = (await ask("admin", "GET", "/api/audit", params={"before": found[0]["seq"], "limit": 1})).json()
        assert page == found[1:2]
        verdict = (await ask("admin", "GET", "/api/audit/verify", params={"head": start["hash"]})).json()
        assert (verdict["ok"], verdict["head"]) == (True, found[0]["hash"])
        assert (await ask("other", "GET", "/api/audit")).json() == []
        assert not (await ask("admin", "GET", "/api/audit/verify", params={"head": "0" * 63 + "1"})).json()["ok"]
