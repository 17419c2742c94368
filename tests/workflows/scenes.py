"""The examples, each with what it is given and how one sees what it has really done."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from flow_kit import Scene, actions, rows


def _triage_inputs(folder: Path, url: str) -> dict[str, Any]:
    service, control = json.loads(url)
    return {"service_url": service, "control_url": control}


def _triage_effects(folder: Path) -> Any:
    control = folder / "demo" / "control.db"
    return {
        "restarts": len(actions(control, "restart")),
        "rollbacks": len(actions(control, "rollback")),
        "report": (folder / "demo" / "incident.md").is_file(),
    }


def _quality_inputs(folder: Path, url: str) -> dict[str, Any]:
    return {"feed_url": url}


def _quality_effects(folder: Path) -> Any:
    warehouse = folder / "demo" / "warehouse.db"
    return {
        "loaded": rows(warehouse, "SELECT count(*), count(DISTINCT order_id), sum(amount_cents) FROM orders")[0],
        "staged": rows(warehouse, "SELECT count(*) FROM stg_orders")[0][0],
        "quarantined": [order for (order,) in rows(warehouse, "SELECT order_id FROM quarantine ORDER BY order_id")],
        "loads": [loaded for (loaded,) in rows(warehouse, "SELECT rows FROM loads")],
    }


def _quality_happened(folder: Path, path: str, run: str) -> Any:
    """The one call that can be in doubt is the agent's SQL: the quarantine tells."""
    moved = rows(folder / "demo" / "warehouse.db", f"SELECT count(*) FROM quarantine WHERE batch = '{run}'")[0][0]
    return {"database": "demo/warehouse.db", "rows": 3 + 2 * moved, "statements": 3} if moved else None


def _release_inputs(folder: Path, url: str) -> dict[str, Any]:
    return {"control_url": url}


def _release_effects(folder: Path) -> Any:
    repo = folder / "demo" / "shop"
    tags = subprocess.run(["git", "tag", "--list", "v2.15*"], cwd=repo, capture_output=True, text=True, check=True)
    columns = rows(folder / "demo" / "shop.db", "SELECT name FROM pragma_table_info('orders')")
    return {
        "deployed": [each["version"] for each in actions(folder / "demo" / "office.db", "deployment")],
        "tags": tags.stdout.split(),
        "migrated": ("discount_percent",) in columns,
    }


def _support_inputs(folder: Path, url: str) -> dict[str, Any]:
    return {"desk_url": url}


def _support_effects(folder: Path) -> Any:
    return [[each["ticket"], each["text"]] for each in actions(folder / "demo" / "office.db", "reply")]


def _research_inputs(folder: Path, url: str) -> dict[str, Any]:
    return {}


def _research_effects(folder: Path) -> Any:
    report = folder / "demo" / "research.md"
    return report.read_text() if report.is_file() else ""


SCENES = {
    scene.name: scene
    for scene in (
        Scene("incident-triage", _triage_inputs, _triage_effects, incident=True),
        Scene("data-quality", _quality_inputs, _quality_effects, happened=_quality_happened),
        Scene("release-gate", _release_inputs, _release_effects, people=("ana", "ben")),
        Scene("support-reply", _support_inputs, _support_effects),
        Scene("research-fanout", _research_inputs, _research_effects),
    )
}
