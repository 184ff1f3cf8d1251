"""Who belongs to an organization: listed, given another role, removed. It never loses its last owner."""

from collections.abc import Sequence
from typing import Final

import asyncpg
import msgspec

from tallystick.accounts import api_key
from tallystick.accounts.api_key import Scope
from tallystick.accounts.member import Permission, Role, holds, may_grant, require, role_in
from tallystick.accounts.organization import lock_organization
from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, Forbidden, InvalidInput, NotFound
from tallystick.base.ids import is_text_id
from tallystick.ledger import audit

OPERATOR: Final = "operator:"

queries = load_queries(__file__, "membership.sql")


class Member(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    email: str
    role: Role


class LastOwner(Conflict):
    """An organization without an owner could not be managed by anybody: make somebody else an owner first."""

    code = "last_owner"


class OwnOrganization(Conflict):
    """A user's personal organization is theirs: they can neither leave it nor be removed from it."""

    code = "personal_organization"


async def list_members(
    connection: asyncpg.Connection, organization: str, *, after: str | None = None, limit: int = 100
) -> Sequence[Member]:
    """The members in the order in which they signed up; with `after`, those behind that user."""
    if after is not None and not is_text_id(after):
        raise InvalidInput("after", "must be the id of a user")
    rows = queries.list_members(connection, organization=organization, after=after or "", row_limit=limit)
    return [msgspec.convert(dict(row), Member) async for row in rows]


async def authority(connection: asyncpg.Connection, organization: str, by: str) -> Role:
    """The role in which `by` acts, who is a user or an operator. To be asked under the organization's lock, so that it
    holds until the end of the transaction. Raises NotFound for who is no member."""
    if by.startswith(OPERATOR):
        return Role.OWNER
    role = await role_in(connection, organization=organization, user_id=by)
    if role is None:
        raise NotFound("There is no such organization.")
    return role


def require_grant(own: Role, role: Role) -> None:
    """Raises Forbidden where who has the role `own` may not make others of `role`."""
    require(own, Permission.MEMBERS)
    if not may_grant(own, role):
        raise Forbidden("Only an owner can make, change or remove an owner.", details={"roles": [Role.OWNER]})


async def user_named(connection: asyncpg.Connection, name: str) -> str:
    """The id of the user with this id or e-mail, for the operator. Raises NotFound."""
    found = await queries.user_named(connection, name=name) if name.isascii() and name.isprintable() else None
    if found is None:
        raise NotFound("There is no user with this e-mail or id.")
    return str(found)


async def change_role(connection: asyncpg.Connection, organization: str, user_id: str, role: Role, *, by: str) -> Role:
    """Give a member another role; returns the one they had."""
    async with connection.transaction():
        await lock_organization(connection, organization)
        own = await authority(connection, organization, by)
        require_grant(own, role)
        before = await _role_of(connection, organization, user_id)
        require_grant(own, before)
        if before is role:
            return before
        if before is Role.OWNER:
            await _refuse_last_owner(connection, organization)
        await queries.set_role(connection, organization=organization, user_id=user_id, role=role)
        await audit.record(
            connection, "member.changed", by=by, subject=user_id, organization=organization,
            before={"role": before}, after={"role": role},
        )  # fmt: skip
        await _narrow_keys(connection, organization, user_id, role, by)
    return before


async def remove(connection: asyncpg.Connection, organization: str, user_id: str, *, by: str) -> None:
    """End a membership. Who removes themselves leaves, whatever their role."""
    async with connection.transaction():
        await lock_organization(connection, organization)
        own = await authority(connection, organization, by)
        if user_id != by:
            require(own, Permission.MEMBERS)
        role = await _role_of(connection, organization, user_id)
        if user_id != by:
            require_grant(own, role)
        if await queries.is_personal(connection, organization=organization, user_id=user_id):
            raise OwnOrganization("This is the personal organization of this member, who stays in it.")
        if role is Role.OWNER:
            await _refuse_last_owner(connection, organization)
        await queries.remove_member(connection, organization=organization, user_id=user_id)
        await audit.record(
            connection, "member.removed", by=by, subject=user_id, organization=organization, before={"role": role}
        )
        await _narrow_keys(connection, organization, user_id, None, by)


async def _role_of(connection: asyncpg.Connection, organization: str, user_id: str) -> Role:
    role = await role_in(connection, organization=organization, user_id=user_id) if is_text_id(user_id) else None
    if role is None:
        raise NotFound("There is no such member.")
    return role


async def _refuse_last_owner(connection: asyncpg.Connection, organization: str) -> None:
    if await queries.count_owners(connection, organization=organization) <= 1:
        raise LastOwner("This is the organization's last owner. Make somebody else an owner first.")


async def _narrow_keys(
    connection: asyncpg.Connection, organization: str, user_id: str, role: Role | None, by: str
) -> None:
    if role is None or not holds(role, Permission.BILLING):
        await api_key.narrow(connection, organization=organization, created_by=user_id, scope=Scope.BILLING, by=by)
