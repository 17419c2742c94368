"""What `fleet doctor` says of a daemon's set-up, and what a support bundle holds."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
from cli_kit import Fleet
from client_kit import attached, embedded, place_at
from daemon_kit import served

from fleetprompt.client.bundle import CONTENTS
from fleetprompt.client.daemon_diagnosis import DaemonSetUp, diagnose_daemon
from fleetprompt.client.diagnosis import Finding, diagnose
from fleetprompt.client.opening import Place
from fleetprompt.engine.core.notice_settings import NoticeSettings

SLOW = "name: slow\nsteps: [{id: nap, type: shell, argv: [sleep, '60'], repeat: safe}]\n"


async def found(place: Place, **options: object) -> dict[str, Finding]:
    given = {"host": "127.0.0.1", "port": 0, "socket": place.state / "fleet.sock"} | options
    return {one.what: one for one in await diagnose_daemon(place, DaemonSetUp(**given))}  # type: ignore[arg-type]


async def test_a_daemon_that_runs_is_found_at_its_place(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    async with served(tmp_path) as daemon:
        port = int(daemon.url.rpartition(":")[2])
        said = await found(place, port=port)
        assert {one.status for one in said.values()} == {"ok"}, said
        assert "the daemon is ok" in said["socket"].text
        assert said["version"].status == "ok"
        assert (await found(place, port=1))["port"].status == "warn", "it listens elsewhere"
        (place.state / "fleet.sock").chmod(0o666)
        said = await found(place, port=port)
        assert (said["socket"].status, "chmod 600" in said["socket"].remedy) == ("fail", True)


async def test_what_would_keep_a_daemon_from_starting_is_told_with_its_remedy(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    await (await embedded(place)).close()
    said = await found(place, host="0.0.0.0")
    assert (said["tls"].status, said["tokens"].status) == ("fail", "fail")
    assert "fleet token create" in said["tokens"].remedy
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        said = await found(place, port=other.getsockname()[1])
        assert (said["port"].status, "something else listens" in said["port"].text) == ("fail", True)
    long = tmp_path / ("x" * 120) / "fleet.sock"
    assert (await found(place, socket=long))["socket"].status == "fail"


def certificate(folder: Path, days: int, name: str = "fleet") -> tuple[Path, Path]:
    key, file = folder / f"{name}.key", folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ops.example.com"]
    command += ["-keyout", str(key), "-out", str(file), "-days", str(days)]
    subprocess.run(command, check=True, capture_output=True)
    return file, key


async def test_a_certificate_is_looked_at_as_a_client_would(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    file, key = certificate(tmp_path, 90)
    key.chmod(0o600)
    said = (await found(place, host="0.0.0.0", certificate=file, key=key))["tls"]
    assert (said.status, "good for" in said.text) == ("ok", True), said
    key.chmod(0o644)
    assert (await found(place, certificate=file, key=key))["tls"].remedy == f"chmod 600 {key}"
    soon, its = certificate(tmp_path, 3, "soon")
    its.chmod(0o600)
    assert (await found(place, certificate=soon, key=its))["tls"].status == "warn"
    assert (await found(place, certificate=soon, key=key))["tls"].status == "fail"
    key.chmod(0o600)
    assert "cannot be used" in (await found(place, certificate=soon, key=key))["tls"].text, "of another key"
    assert (await found(place, certificate=tmp_path / "none.pem", key=key))["tls"].status == "fail"


async def test_the_clock_the_switch_and_who_is_notified_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_at(tmp_path)
    async with served(tmp_path) as daemon:
        await daemon.finished()
        await daemon.console.set_switch("paused", by="ana")
        position = await daemon.console.position()
        await daemon.console.store.operations.set_cursor("notify/desk", 0)
        daemon.console.engine.unsent["desk"] = "the receiver has answered with 503"
        away = (await found(place, notifications={"desk": NoticeSettings(webhook="https://x.example/")}))["notify"]
        assert (away.status, away.text) == ("warn", "desk: the receiver has answered with 503")
    console = await attached(place)
    await console.close()
    desk = {"desk": NoticeSettings(webhook="https://ops.example.com/hook")}
    said = await found(place, notifications=desk)
    assert (said["switch"].status, "the fleet is paused (by ana)" in said["switch"].text) == ("warn", True)
    assert said["notify"].status == "ok"
    assert said["clock"].status == "ok"
    monkeypatch.setattr("fleetprompt.client.daemon_diagnosis.MOST_BEHIND", position - 1)
    assert (await found(place, notifications=desk))["notify"].status == "warn"
    now = time.time
    monkeypatch.setattr("fleetprompt.client.daemon_diagnosis.time.time", lambda: now() - 3600)
    assert (await found(place))["clock"].status == "fail"


def test_a_bundle_holds_what_helps_and_no_secret(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_SECRET_KEY", "hunter2hunter2")
    fleet.write("leaks", "name: leaks\nsteps: [{id: a, type: shell, argv: [sh, -c, 'exit 3']}]\n")
    fleet("run", "leaks.yaml", "--label", "env=hunter2hunter2")
    fleet("run", "quick.yaml", "-i", "name=private-input")
    (fleet.root / "fleet.toml").write_text(
        'grace = 7\n[notifications.desk]\nwebhook = "https://ops.example.com/private-hook"\n'
        '[telemetry.otlp_headers]\nauthorization = "Bearer private-bearer"\n'
    )
    (fleet.root / ".fleet/engine.log").write_text("it broke: hunter2hunter2\n")
    said = fleet("doctor", "--bundle", "support.zip")
    assert "runs.json" in said.err
    with zipfile.ZipFile(fleet.root / "support.zip") as bundle:
        texts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert set(texts) == set(CONTENTS)
    whole = "".join(texts.values())
    for secret in ("hunter2", "private-hook", "private-bearer", "private-input"):
        assert secret not in whole, secret
    assert json.loads(texts["settings.json"])["grace"] == 7
    runs = json.loads(texts["runs.json"])
    assert {(run["workflow"], run["status"], run["error_code"]) for run in runs} == {
        ("leaks", "failed", "TOOL_ERROR"),
        ("quick", "completed", ""),
    }
    assert json.loads(texts["store.json"])["rows"]["runs"] == 2
    assert {one["what"] for one in json.loads(texts["doctor.json"])} >= {"python", "store", "port", "tokens"}
    assert texts["engine.log"] == "it broke: •••\n"
    assert (fleet.root / "support.zip").stat().st_mode & 0o777 == 0o600
    again = fleet("doctor", "--bundle", "support.zip")
    assert "exists already" in again.err


def test_a_bundle_holds_nothing_that_looks_like_a_secret_and_nothing_that_a_run_was_given(fleet: Fleet) -> None:
    fleet.write(
        "login",
        "name: login\ninputs: {who: {type: string}}\n"
        "steps: [{id: a, type: shell, argv: [sh, -c, 'echo $0 is refused >&2; exit 3', '${{ inputs.who }}']}]\n",
    )
    fleet.write(
        "parent", "name: parent\nsteps: [{id: kid, type: workflow, workflow: login, with: {who: child-input}}]\n"
    )
    token = json.loads(fleet.ok("token", "create", "ci", "--role", "operator", "--json"))["token"]
    given = (token, "correct-horse", "ghp_" + "a1B2" * 9, "postgres://u:db-password@h/x")
    for who in given:
        fleet("run", "login.yaml", "-i", f"who={who}")
    fleet.write("sk-" + "f1" * 12, "name: named\nsteps: [{id: a, type: transform, output: 1}]\n")
    fleet.ok("run", f"sk-{'f1' * 12}.yaml")
    fleet("run", "parent.yaml")
    (fleet.root / "fleet.toml").write_text(
        '[models.big]\nmodel = "openai/gpt"\napi_base = "https://user:base-password@llm.example.com/v1"\n'
        '[notifications.desk]\nwebhook = "https://ops.example.com/x"\nlink = "https://ops.example.com/?sig=s1gned&r={run}"\n'
    )
    (fleet.root / ".fleet/engine.log").write_text(f"refused: Bearer {token}, password=open-sesame, port=8377\n")
    fleet("doctor", "--bundle", "support.zip")
    with zipfile.ZipFile(fleet.root / "support.zip") as bundle:
        texts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    for secret in (*given, "db-password", "base-password", "s1gned", "open-sesame", "child-input", "sk-f1"):
        assert not [name for name, text in texts.items() if secret in text], secret
    messages = {run["error_message"] for run in json.loads(texts["runs.json"]) if run["workflow"] == "login"}
    assert messages == {"`sh` exited with 3: ••• is refused"}, "what else it says stays"
    assert "port=8377" in texts["engine.log"]
    assert (
        json.loads(texts["settings.json"])["notifications"]["desk"]["link"]
        == "https://ops.example.com/?sig=•••&r={run}"
    )


def test_what_keeps_a_project_from_working_is_told_before_it_runs(fleet: Fleet) -> None:
    def found(what: str) -> dict[str, str]:
        return next(one for one in fleet("doctor", "--json").json if one["what"] == what)

    (fleet.root / ".fleet").mkdir(mode=0o700, exist_ok=True)
    (fleet.root / "workflows").mkdir(exist_ok=True)
    (fleet.root / "workflows/good.yaml").write_text("name: good\nsteps: [{id: a, type: transform, output: 1}]\n")
    assert found("workflows")["text"] == "1 workflow file, all of them valid"
    (fleet.root / "workflows/bad.yaml").write_text("name: bad\nsteps: [{id: a, type: nope}]\n")
    told = found("workflows")
    assert (told["status"], told["text"]) == ("fail", "1 of 2 workflow files cannot be used: workflows/bad.yaml")
    secrets = fleet.root / ".fleet/secrets.toml"
    secrets.write_text("not toml")
    secrets.chmod(0o600)
    assert "it is not TOML" in found("secrets")["text"]
    secrets.unlink()
    (fleet.root / "fleet.toml").write_text(
        '[telemetry]\notlp_endpoint = "http://127.0.0.1:9"\notlp_headers = {authorization = "env:NOWHERE"}\n'
        '[models.big]\nmodel = "openai/gpt-4o"\nsecret = "NOWHERE"\n'
    )
    told = found("traces")
    assert (told["status"], "NOWHERE" in told["text"]) == ("warn", True)
    problems = [one["text"] for one in fleet("doctor", "--json").json if one["what"] == "model"]
    assert any(text.startswith("`big`: ") for text in problems), "whose secret it is"


async def test_runs_under_way_are_no_warning_while_somebody_drives_them(tmp_path: Path) -> None:
    async def runs() -> Finding:
        return next(one for one in await diagnose(place) if one.what == "runs")

    place = place_at(tmp_path)
    async with served(tmp_path, slow=SLOW) as daemon:
        await daemon.execute("slow")
        assert ((await runs()).status, (await runs()).text) == ("ok", "1 run under way")
    found = await runs()
    assert (found.status, found.text) == ("warn", "1 run interrupted")
