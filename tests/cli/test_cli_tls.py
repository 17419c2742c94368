"""A daemon with a certificate of an authority of one's own: who is given the authority reaches it, nobody else does."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from cli_kit import QUICK, Fleet
from test_cli_serve import Serving

NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost\n"


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def authority(folder: Path, name: str) -> Path:
    """The certificate of an authority; its key is beside it."""
    file = folder / f"{name}.pem"
    key = ("-newkey", "rsa:2048", "-nodes", "-keyout", str(folder / f"{name}.key"))
    _openssl("req", "-x509", *key, "-subj", f"/CN={name}", "-days", "2", "-out", str(file))
    return file


def certificate(folder: Path, signer: str) -> tuple[Path, Path]:
    """A certificate for this machine that an authority has signed, and its key."""
    file, key, wanted, names = (folder / f"fleet.{end}" for end in ("pem", "key", "csr", "ext"))
    names.write_text(NAMES)
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-subj", "/CN=fleet", "-out", str(wanted))
    by = ("-CA", str(folder / f"{signer}.pem"), "-CAkey", str(folder / f"{signer}.key"), "-CAcreateserial")
    _openssl("x509", "-req", "-in", str(wanted), *by, "-days", "2", "-extfile", str(names), "-out", str(file))
    key.chmod(0o600)
    return file, key


def test_files_that_are_no_certificate_are_refused_with_what_to_do(fleet: Fleet, tmp_path: Path) -> None:
    authority(tmp_path, "ours")
    file, key = certificate(tmp_path, "ours")
    for given, said in (
        ((file, tmp_path / "none.key"), "there is no such file"),
        ((file, file), "cannot be used: not in pem, or not a key"),
        ((file, tmp_path / "ours.key"), "cannot be used: key values mismatch"),
    ):
        found = fleet("serve", "--port", "0", "--tls-cert", str(given[0]), "--tls-key", str(given[1]))
        assert found.code == 2
        assert said in found.err
        assert "hint: " in found.err
        assert "_ssl.c" not in found.err
    assert key.exists()


def test_who_trusts_the_authority_reaches_the_daemon(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fleet.root / "workflows").mkdir(exist_ok=True)
    (fleet.root / "workflows/quick.yaml").write_text(QUICK)
    (fleet.root / "fleet.toml").write_text('[serve]\nlocal_role = "none"\n')
    made = fleet("token", "create", "ana", "--role", "operator", "--json").json
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "fleet.toml").write_text("")
    (elsewhere / "ana.token").write_text(made["token"])
    (elsewhere / "ana.token").chmod(0o600)
    ours, other = authority(tmp_path, "ours"), authority(tmp_path, "other")
    file, key = certificate(tmp_path, "ours")
    # Reachable by others, which is refused without both.
    arguments = ("--host", "0.0.0.0", "--tls-cert", str(file), "--tls-key", str(key))
    daemon = Serving(fleet.root, *arguments)
    try:
        assert daemon.url.startswith("https://0.0.0.0:"), daemon.url
        port = daemon.url.rpartition(":")[2]
        monkeypatch.chdir(elsewhere)
        there = ("--connect", f"https://127.0.0.1:{port}", "--token-file", "ana.token")
        ran = fleet(*there, "--ca-file", str(ours), "run", "quick", "-i", "name=moon", "--json")
        assert (ran.code, ran.json["output"]["said"]) == (0, "Hello, moon!"), ran
        named = ("--connect", f"https://localhost:{port}", "--token-file", "ana.token", "--ca-file", str(ours))
        assert [each["status"] for each in fleet(*named, "runs", "--json").json] == ["completed"]
        for trusted in ((), ("--ca-file", str(other))):
            refused = fleet(*there, *trusted, "runs")
            assert refused.code != 0
            assert "is not trusted" in refused.err
            assert "--ca-file" in refused.err
        wrong = fleet(
            "--connect", f"https://127.0.0.2:{port}", "--token-file", "ana.token", "--ca-file", str(ours), "runs"
        )
        assert (wrong.code != 0, "is not trusted" in wrong.err) == (True, True), wrong
        plain = fleet("--connect", f"http://127.0.0.1:{port}", "--token-file", "ana.token", "runs")
        assert plain.code != 0, "nothing is answered in the clear"
        _streams(f"https://127.0.0.1:{port}", ours, made["token"])
    finally:
        daemon.end(signal.SIGKILL)


def _streams(url: str, trusted: Path, token: str) -> None:
    """What goes on goes on over TLS, too."""
    context = ssl.create_default_context(cafile=str(trusted))
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, verify=context, headers=headers, timeout=60) as http:
        begun = http.post("/api/workflows/quick/execute", json={"input": {"name": "sun"}})
        assert begun.status_code == 202, begun.text
        with http.stream("GET", f"/api/executions/{begun.json()['execution_id']}/stream") as events:
            told = [line for line in events.iter_lines() if line.startswith(("event", "data"))]
    assert told[0] == "event: connected"
    assert told[-2] == "event: complete"
    assert json.loads(told[-1].removeprefix("data: "))["status"] == "completed"
