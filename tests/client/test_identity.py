"""Who acts: what each role may do, and what nobody can be called."""

import pytest

from fleetprompt.client.identity import (
    PERMISSIONS,
    ROLES,
    Forbidden,
    Identity,
    checked_name,
    local_identity,
    require,
    roles_with,
)
from fleetprompt.engine.core.errors import InvalidInput


def test_what_each_role_may_do() -> None:
    assert set(PERMISSIONS) == set(ROLES)
    assert {role for role in ROLES if "read" in PERMISSIONS[role]} == set(ROLES)
    assert roles_with("operate") == ("operator", "admin")
    assert roles_with("approve") == ("approver", "admin")
    assert roles_with("administer") == ("admin",)


def test_what_a_role_does_not_include_is_refused_with_who_may() -> None:
    require(Identity(name="ana", role="operator", via="http"), "operate", "start runs")
    with pytest.raises(Forbidden, match=r"^ben may not start runs: that takes the role operator or admin$") as caught:
        require(Identity(name="ben", role="approver", via="http"), "operate", "start runs")
    assert caught.value.needs == ("operator", "admin")
    assert "approver" in caught.value.hint


def test_who_is_at_the_keyboard_may_everything() -> None:
    me = local_identity("ana", "cli")
    assert all(me.may(permission) for permission in PERMISSIONS["admin"])
    assert me.acts_for_others
    assert me.tenant == "default"
    assert not Identity(name="ana", role="admin", via="http").acts_for_others


@pytest.mark.parametrize("name", ["ana", "Ana Ö. Müller", "ci-bot", "ana@example.org", "uid-1000"])
def test_names(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " ana", "ana ", "a\nb", "\x1b[2J", "x" * 101, "group:finance", "user:ana", "run.starter", "a\u202eb"]
)
def test_what_nobody_can_be_called(name: str) -> None:
    with pytest.raises(InvalidInput):
        checked_name(name)
