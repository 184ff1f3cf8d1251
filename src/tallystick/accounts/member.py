"""Members of an organization, and what each role may do there."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, Forbidden, NotFound
from tallystick.ledger import audit

queries = load_queries(__file__, "member.sql")


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    BILLING = "billing"
    DEVELOPER = "developer"
    VIEWER = "viewer"


class Permission(StrEnum):
    """Something that not every member may do."""

    BILLING = "billing"
    KEYS = "keys"
    MEMBERS = "members"


_HOLDERS: Final = {
    Permission.BILLING: frozenset({Role.OWNER, Role.ADMIN, Role.BILLING}),
    Permission.KEYS: frozenset({Role.OWNER, Role.ADMIN, Role.DEVELOPER}),
    Permission.MEMBERS: frozenset({Role.OWNER, Role.ADMIN}),
}


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """One organization of a user."""

    id: str
    name: str
    state: str
    role: Role


class AlreadyMember(Conflict):
    """This user is a member of this organization already."""

    code = "already_member"


def holds(role: Role, permission: Permission) -> bool:
    return role in _HOLDERS[permission]


def require(role: Role, permission: Permission) -> None:
    """Raises Forbidden, saying which roles would do, when this role may not."""
    holders = _HOLDERS[permission]
    if role not in holders:
        raise Forbidden(
            f"The role {role} does not have the {permission} permission.",
            details={"roles": sorted(holders)},
        )


def may_grant(own: Role, role: Role) -> bool:
    """Whether a member of the role `own` may make others, and unmake those, of `role`."""
    return holds(own, Permission.MEMBERS) and (role is not Role.OWNER or own is Role.OWNER)


async def add(
    connection: asyncpg.Connection, *, organization: str, user_id: str, role: Role, by: str = "process"
) -> None:
    """Make a user a member."""
    try:
        await queries.add_member(connection, organization=organization, user_id=user_id, role=role)
    except asyncpg.UniqueViolationError as error:
        raise AlreadyMember("This user is a member of the organization already.") from error
    except asyncpg.ForeignKeyViolationError as error:
        raise NotFound("There is no such user or organization.") from error
    await audit.record(
        connection, "member.added", by=by, subject=user_id, organization=organization, after={"role": role}
    )


async def role_in(connection: asyncpg.Connection, *, organization: str, user_id: str) -> Role | None:
    """None for who is no member."""
    found = await queries.role_in(connection, organization=organization, user_id=user_id)
    return None if found is None else Role(found)


async def organizations_of(connection: asyncpg.Connection, user_id: str) -> Sequence[Membership]:
    """Every organization of a user, the oldest first."""
    return [
        msgspec.convert(dict(row), Membership) async for row in queries.organizations_of(connection, user_id=user_id)
    ]
