"""`fleet token`: made once, listed without the secret, revoked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli_kit import Fleet

from fleetprompt.client.tokens import FORMAT


def listed(fleet: Fleet, *more: str) -> list[dict[str, Any]]:
    return json.loads(fleet.ok("token", "list", "--all", "--json", *more))


def test_a_token_is_printed_once_and_listed_without_its_secret(fleet: Fleet) -> None:
    made = fleet("token", "create", "ci", "--role", "operator", "--expires", "30d")
    match = FORMAT.fullmatch(made.out.strip())
    assert match is not None
    assert "kept nowhere" in made.err
    assert f"fleet token revoke {match[1]}" in made.err
    [token] = listed(fleet)
    assert (token["id"], token["name"], token["role"], token["status"]) == (match[1], "ci", "operator", "valid")
    assert token["expires_at"] > token["created_at"]
    shown = fleet.ok("token") + fleet.ok("token", "--json")
    assert match[1] in shown
    assert match[0] not in shown
    assert match[0].rpartition("_")[2] not in shown


def test_a_token_is_for_programs_too(fleet: Fleet) -> None:
    made = json.loads(fleet.ok("token", "create", "ana", "--expires", "never", "--json"))
    assert FORMAT.fullmatch(made["token"])
    assert (made["role"], made["expires_at"], made["tenant"]) == ("viewer", None, "default")


def test_tenants_have_their_own(fleet: Fleet) -> None:
    fleet.ok("token", "create", "ci", "--tenant", "acme")
    assert listed(fleet) == []
    [token] = listed(fleet, "--tenant", "acme")
    assert token["tenant"] == "acme"
    refused = fleet("token", "revoke", token["id"])
    assert refused.code == 2
    assert "there is no token" in refused.err
    fleet.ok("token", "revoke", token["id"], "--tenant", "acme")
    assert listed(fleet, "--tenant", "acme")[0]["status"] == "revoked"
    assert "there are no tokens" in fleet("token", "--tenant", "acme").err
    assert "revoked" in fleet.ok("token", "list", "--all", "--tenant", "acme")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("group:ops",), "cannot be the name of a token"),
        (("",), "printable"),
        (("ci", "--expires", "30"), "write `30s`"),
        (("ci", "--expires", "0s"), "has to last"),
        (("ci", "--role", "root"), "root"),
        (("ci", "--tenant", "group:x"), "cannot be the name of a tenant"),
    ],
)
def test_what_cannot_be_a_token(fleet: Fleet, arguments: tuple[str, ...], said: str) -> None:
    refused = fleet("token", "create", *arguments)
    assert refused.code == 2
    assert said in refused.err
    assert not FORMAT.search(refused.out)
