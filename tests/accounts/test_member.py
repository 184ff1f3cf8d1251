"""Roles and what they may do."""

import asyncpg
import pytest

from tallystick.accounts import member
from tallystick.accounts.member import AlreadyMember, Permission, Role
from tallystick.accounts.organization import Organization
from tallystick.accounts.user import Welcome
from tallystick.base.errors import Forbidden, NotFound


@pytest.mark.parametrize(
    ("permission", "holders"),
    [
        (Permission.BILLING, {Role.OWNER, Role.ADMIN, Role.BILLING}),
        (Permission.KEYS, {Role.OWNER, Role.ADMIN, Role.DEVELOPER}),
    ],
)
def test_who_may_what(permission: Permission, holders: set[Role]) -> None:
    for role in holders:
        member.require(role, permission)
    for role in set(Role) - holders:
        with pytest.raises(Forbidden, match=role):
            member.require(role, permission)


async def test_a_user_is_a_member_once(pool: asyncpg.Pool, ada: Welcome, acme: Organization) -> None:
    await member.add(pool, organization=acme.id, user_id=ada.user_id, role=Role.BILLING)
    with pytest.raises(AlreadyMember):
        await member.add(pool, organization=acme.id, user_id=ada.user_id, role=Role.OWNER)
    with pytest.raises(NotFound):
        await member.add(pool, organization="org_of_nobody", user_id=ada.user_id, role=Role.OWNER)
    found = await member.organizations_of(pool, ada.user_id)
    assert {(each.id, each.role) for each in found} == {(ada.organization_id, Role.OWNER), (acme.id, Role.BILLING)}


async def test_the_database_knows_the_same_roles(pool: asyncpg.Pool, ada: Welcome, acme: Organization) -> None:
    for role in Role:
        await pool.execute("delete from member where organization = $1", acme.id)
        await member.add(pool, organization=acme.id, user_id=ada.user_id, role=role)
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute("update member set role = 'root'")
