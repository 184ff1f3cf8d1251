"""Organizations: one account each, found by their id or their user's, listed in the order they were made."""

import asyncpg
import pytest

from tallystick.accounts import organization
from tallystick.accounts.organization import Organization, OrganizationState
from tallystick.accounts.user import Welcome
from tallystick.base.errors import InvalidInput, NotFound

NO_IDS = ["", "org_of_nobody", "user_abc123", "\0", "x" * 100_000, "' or true --", "\u00e9"]


async def test_each_has_an_account_of_its_own(acme: Organization, other: Organization) -> None:
    assert acme.account != other.account
    assert (acme.name, acme.state, acme.default_max_tokens) == ("Acme", OrganizationState.ACTIVE, None)
    assert acme.id.startswith("org_")


async def test_a_refused_name_opens_no_account(pool: asyncpg.Pool) -> None:
    accounts = await pool.fetchval("select count(*) from ledger_account")
    async with pool.acquire() as connection:
        for name in ("", " ", "x" * 255, "a\nb"):
            with pytest.raises(InvalidInput):
                await organization.create(connection, name=name)
    assert await pool.fetchval("select count(*) from ledger_account") == accounts


async def test_found_by_its_id(pool: asyncpg.Pool, acme: Organization) -> None:
    assert await organization.find(pool, acme.id) == acme
    for nothing in NO_IDS:
        with pytest.raises(NotFound):
            await organization.find(pool, nothing)


async def test_listed_page_by_page(pool: asyncpg.Pool, acme: Organization, other: Organization) -> None:
    first, second = sorted([acme, other], key=lambda each: each.id)
    assert await organization.page(pool) == [first, second]
    assert await organization.page(pool, limit=1) == [first]
    assert await organization.page(pool, after=first.id) == [second]


async def test_the_payer_of_a_user_is_the_personal_organization(
    pool: asyncpg.Pool, acme: Organization, ada: Welcome
) -> None:
    personal = await organization.find(pool, ada.organization_id)
    assert await organization.resolve_payer(pool, ada.user_id) == (personal.id, personal.account)
    assert await organization.resolve_payer(pool, acme.id) == (acme.id, acme.account)
    for nobody in NO_IDS:
        with pytest.raises(NotFound):
            await organization.resolve_payer(pool, nobody)


async def test_a_change_is_kept_and_announced(pool: asyncpg.Pool, acme: Organization) -> None:
    async with pool.acquire() as connection:
        changed = await organization.change(
            connection, acme.id, state=OrganizationState.SUSPENDED, default_max_tokens=100
        )
    assert (changed.state, changed.default_max_tokens) == (OrganizationState.SUSPENDED, 100)
    assert await organization.find(pool, acme.id) == changed
    assert tuple(await pool.fetchrow("select kind, subject from change")) == ("organization", acme.id)
    with pytest.raises(NotFound):
        async with pool.acquire() as connection:
            await organization.change(
                connection, "org_of_nobody", state=OrganizationState.ACTIVE, default_max_tokens=None
            )
