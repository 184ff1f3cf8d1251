"""A session works until it ends, in whichever way it ends, and no dump of the database holds one."""

import asyncpg
import pytest

from tallystick.accounts import member, session
from tallystick.accounts.member import Role
from tallystick.accounts.organization import Organization
from tallystick.accounts.secret_token import new_token
from tallystick.accounts.user import Welcome
from tallystick.base.errors import NotFound, Unauthorized


async def test_a_session_says_who_and_for_which_organization(pool: asyncpg.Pool, ada: Welcome) -> None:
    found = await session.find(pool, ada.session.token)
    assert (found.user_id, found.email, found.organization) == (ada.user_id, "ada@example.com", ada.organization_id)
    assert (found.role, found.organization_state) == (Role.OWNER, "active")
    account = await pool.fetchval("select account from organization where id = $1", ada.organization_id)
    assert found.account == account


async def test_it_ends_when_signed_out(pool: asyncpg.Pool, ada: Welcome) -> None:
    await session.end(pool, ada.session.token)
    with pytest.raises(Unauthorized):
        await session.find(pool, ada.session.token)
    await session.end(pool, ada.session.token)


async def test_it_ends_when_it_expires(pool: asyncpg.Pool, ada: Welcome) -> None:
    await pool.execute("update user_session set expires_at = clock_timestamp()")
    with pytest.raises(Unauthorized):
        await session.find(pool, ada.session.token)


async def test_another_organization_only_for_its_members(
    pool: asyncpg.Pool, ada: Welcome, acme: Organization, other: Organization
) -> None:
    await member.add(pool, organization=acme.id, user_id=ada.user_id, role=Role.VIEWER)
    found = await session.find(pool, ada.session.token, organization=acme.id)
    assert (found.organization, found.account, found.role) == (acme.id, acme.account, Role.VIEWER)
    answers = []
    for organization in (other.id, "org_of_nobody", "", "\0", "x" * 1000, "' or true --"):
        with pytest.raises(NotFound) as refused:
            await session.find(pool, ada.session.token, organization=organization)
        answers.append(str(refused.value))
    assert len(set(answers)) == 1


@pytest.mark.parametrize("organization", [None, "org_of_nobody", "\0"])
async def test_a_token_that_is_none_is_told_before_anything_else(pool: asyncpg.Pool, organization: str | None) -> None:
    for token in ("", "tss_", new_token("tss_"), new_token("tsk_"), "tss_" + "\0" * 43, "x" * 1_000_000):
        with pytest.raises(Unauthorized):
            await session.find(pool, token, organization=organization)


async def test_no_session_starts_from_a_password_that_was_replaced(pool: asyncpg.Pool, ada: Welcome) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(Unauthorized):
            await session.start(connection, ada.user_id, password_hash="$argon2id$of an older password")


async def test_what_is_stored_signs_nobody_in(pool: asyncpg.Pool, ada: Welcome) -> None:
    rows = await pool.fetch("select user_session::text as row from user_session")
    assert len(rows) == 1
    assert ada.session.token not in rows[0]["row"]
    stored = await pool.fetchval("select encode(hash, 'hex') from user_session")
    with pytest.raises(Unauthorized):
        await session.find(pool, "tss_" + stored[:43])


async def test_sessions_long_expired_are_dropped_at_the_next_sign_in(pool: asyncpg.Pool, ada: Welcome) -> None:
    await pool.execute("update user_session set expires_at = clock_timestamp() - interval '31 days'")
    async with pool.acquire() as connection:
        password_hash = await connection.fetchval("select password_hash from app_user")
        await session.start(connection, ada.user_id, password_hash=password_hash)
    assert await pool.fetchval("select count(*) from user_session") == 1
