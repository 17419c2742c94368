"""Who acts through a console: a person or a program, in one tenant, in one role. PURE.

Permissions are few, and each role is a set of them: `guarded` holds every method of a console against one of them.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput, Refused

Role = Literal["viewer", "operator", "approver", "admin"]
Face = Literal["cli", "console", "http", "ssh"]
"""What a person or a program has in front of them who asks for something."""
Permission = Literal["read", "operate", "approve", "administer"]
"""`operate`: start, control, publish, chat, register. `approve`: vote, hand on. `administer`: what gives rights away or
shows who used them: tokens, grants, limits, the audit log."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)
PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    "viewer": frozenset({"read"}),
    "operator": frozenset({"read", "operate"}),
    "approver": frozenset({"read", "approve"}),
    "admin": frozenset({"read", "operate", "approve", "administer"}),
}
"""What each role may do."""
DEFAULT_TENANT: Final = "default"
LONGEST_NAME: Final = 100
"""Characters of the name of an identity, and of a tenant."""


class Identity(Struct, frozen=True, kw_only=True):
    """Who acts. Made by what has authenticated them, and by nothing else."""

    name: str
    """Recorded as `by` with everything that is done."""
    tenant: str = DEFAULT_TENANT
    role: Role
    via: Face
    """How they came: recorded beside `by`."""
    credential: str = ""
    """Id of the token that has authenticated them; empty where that was the operating system."""
    acts_for_others: bool = False
    """May name others as who did something: the operator of this machine, for demonstrations with several people."""

    def may(self, permission: Permission) -> bool:
        """Whether the role includes a permission."""
        return permission in PERMISSIONS[self.role]


class Forbidden(Refused):
    """The role of who asks does not include it."""

    def __init__(self, message: str = "", *, needs: tuple[Role, ...] = (), where: str = "", hint: str = "") -> None:
        """`needs` are the roles that include it, the least first."""
        self.needs = needs
        super().__init__(message, where=where, hint=hint)


def roles_with(permission: Permission) -> tuple[Role, ...]:
    """The roles that include a permission, the least first."""
    return tuple(role for role in ROLES if permission in PERMISSIONS[role])


def require(identity: Identity, permission: Permission, what: str) -> None:
    """Refuse what a role does not include; `what` is what was asked for, for people. Raises `Forbidden`."""
    if not identity.may(permission):
        needs = roles_with(permission)
        raise Forbidden(
            f"{identity.name} may not {what}: that takes the role {' or '.join(needs)}",
            needs=needs,
            hint=f"the role of {identity.name} is {identity.role}",
        )


def local_identity(name: str, via: Face, tenant: str = DEFAULT_TENANT) -> Identity:
    """Who is at the keyboard of this machine. They own the store's file: no role could keep anything from them."""
    return Identity(name=name, tenant=tenant, role="admin", via=via, acts_for_others=True)


def checked_name(name: str, what: str = "a name") -> str:
    """A name that an identity or a tenant can have. Raises `InvalidInput`.

    What stands for something else among approvers (`group:…`, `user:…`) would make one person pass for others.
    """
    if not name or name != name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"{what} is 1 to {LONGEST_NAME} printable characters, without spaces around it")
    if name.startswith(("group:", "user:")) or name == "run.starter":
        raise InvalidInput(f"`{name}` cannot be {what}: among approvers it means something else")
    return name
