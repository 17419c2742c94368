"""What docs/deploy holds: metrics and options of commands that exist, and units that systemd understands."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_kit import Fleet

from fleetprompt.engine.telemetry.exposition import NAMES

FOLDER = Path(__file__).parents[2] / "docs/deploy"
HISTOGRAMS = {"workflow_step_duration_seconds", "approval_wait_seconds"}
LABELS = {
    "workflow_executions_total": {"workflow", "status"},
    "workflow_step_duration_seconds": {"workflow", "step_type", "le"},
    "llm_requests_total": {"model", "outcome"},
    "llm_overshoots_total": {"model"},
    "llm_tokens_total": {"model", "direction"},
    "llm_cost_usd_total": {"kind"},
    "approval_wait_seconds": {"decision", "le"},
    "tool_calls_total": {"tool", "outcome"},
    "signals_total": {"outcome"},
    "fleet_info": {"version"},
}
OTHERS = {"up", "process_resident_memory_bytes"}
"""Metrics of Prometheus and of its client library."""
WORDS = {
    "sum", "rate", "increase", "by", "on", "and", "histogram_quantile", "label_values", "or", "unless", "max", "min",
}  # fmt: skip
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text())


def queries() -> list[str]:
    """Every query that is written down."""
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    variables = [each["query"]["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    return [rule["expr"] for rule in RULES] + panels + variables


def base(name: str) -> str:
    """The metric that a series belongs to."""
    short = re.sub(r"_(bucket|count|sum)$", "", name)
    return short if short in HISTOGRAMS else name


@pytest.mark.parametrize("query", queries())
def test_every_metric_and_label_in_a_query_exists(query: str) -> None:
    grouped = {label for found in re.findall(r"\bby \(([^)]*)\)", query) for label in re.split(r",\s*", found)}
    plain = re.sub(r"\bby \([^)]*\)|\"[^\"]*\"|\[[^\]]*\]|\boffset \w+", "", query)
    matched = {label for found in re.findall(r"\{([^}]*)\}", plain) for label in re.findall(r"(\w+)\s*[=!]", found)}
    names = set(re.findall(r"[a-z_][a-z0-9_]*", re.sub(r"\{[^}]*\}", "", plain))) - WORDS
    if "label_values" in query:
        matched |= {"workflow"}
        names -= {"workflow"}
    metrics = {base(name) for name in names}
    assert metrics
    assert metrics <= set(NAMES) | OTHERS, metrics - set(NAMES) - OTHERS
    known = {label for metric in metrics for label in LABELS.get(metric, set[str]())} | {"job"}
    assert grouped | matched <= known
    assert query.count("(") == query.count(")")


def test_every_histogram_is_asked_for_by_its_series() -> None:
    for query in queries():
        for name in HISTOGRAMS:
            for found in re.findall(rf"{name}(\w*)", query):
                assert found in ("_bucket", "_count", "_sum"), query


def test_no_alert_depends_on_which_series_there_are() -> None:
    # A counter has no series before the first thing is counted, and one for each label after that.
    for rule in RULES:
        for name in re.findall(r"(?<!\()(?:rate|increase)\((\w+)", rule["expr"]):
            assert not LABELS.get(base(name)), (rule["alert"], "sum it up")
        assert "== 0" not in rule["expr"] or rule["expr"].startswith("up"), (rule["alert"], "use `unless`")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not here")
def test_alerts_fire_when_they_should() -> None:
    said = subprocess.run(
        ["promtool", "test", "rules", "alerts.test.yaml"], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr


def test_each_alert_is_tried_where_it_fires() -> None:
    tried = yaml.safe_load((FOLDER / "alerts.test.yaml").read_text())["tests"]
    fires = {each["alertname"] for test in tried for each in test["alert_rule_test"] if each.get("exp_alerts")}
    assert fires == {rule["alert"] for rule in RULES}


def test_each_alert_says_what_to_do() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"].keys() == {"summary", "action"}
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_the_dashboards_panels_do_not_lie_over_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def commands() -> list[list[str]]:
    """How `fleet` is called by units and containers."""
    found = []
    for file in FOLDER.glob("*.service"):
        [line] = [line for line in file.read_text().splitlines() if line.startswith("ExecStart=")]
        found.append(line.partition("/bin/fleet ")[2].split())
    text = (FOLDER / "Containerfile").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("CMD [")]
    found.append(json.loads(line.removeprefix("CMD ")))
    found += [re.findall(r"fleetprompt (token create .*)", text)[0].split()]
    return found


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_options_of_commands_exist(fleet: Fleet, arguments: list[str]) -> None:
    words = [word for word in arguments if not word.startswith("-")]
    verbs = words[:2] if words[0] in ("db", "token") else words[:1]
    shown = fleet(*verbs, "--help").out
    for option in (word for word in arguments if word.startswith("--")):
        assert option in shown


def test_all_units_find_the_same_store() -> None:
    for file in FOLDER.glob("*.service"):
        assert "EnvironmentFile=-/etc/fleetprompt/environment" in file.read_text().splitlines(), file.name


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    units = []
    for file in (*FOLDER.glob("*.service"), *FOLDER.glob("*.timer")):
        units.append(tmp_path / file.name)
        units[-1].write_text(file.read_text().replace("/opt/fleetprompt/bin/fleet", "/bin/true"))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *map(str, units)],
        capture_output=True,
        text=True,
        check=False,
    )
    about_ours = [line for line in said.stderr.splitlines() if str(tmp_path) in line or "fleet" in line]
    assert not about_ours


def test_the_container_copies_what_is_there_and_runs_as_nobody_in_particular() -> None:
    text = (FOLDER / "Containerfile").read_text()
    root = FOLDER.parents[1]
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (root / source).exists(), source
    [uid] = re.findall(r"^USER (\d+)$", text, re.MULTILINE)
    head = " ".join(line.removeprefix("#") for line in text.splitlines() if line.startswith("#"))
    runs, builds = re.findall(r"podman run (.*?) fleetprompt", head), re.findall(r"podman build (.*?) -t", head)
    assert (len(runs), len(builds)) == (2, 1)
    for command in runs:
        assert f"--userns keep-id:uid={uid},gid={uid}" in command, "it can write into the project"
    assert "--format docker" in builds[0], "podman's own format has no health checks"
    healthcheck = json.loads(re.findall(r"HEALTHCHECK .*\\\n\s*CMD (.*)", text)[0])
    compile(healthcheck[2], "healthcheck", "exec")
