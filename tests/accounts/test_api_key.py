"""Keys: shown once, stored as a digest, limited in number, revoked by their own organization only."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest

from tallystick.accounts import api_key
from tallystick.accounts.api_key import TooManyKeys
from tallystick.accounts.organization import Organization
from tallystick.accounts.secret_token import digest
from tallystick.base.errors import InvalidInput, NotFound

SOON = datetime.now(UTC) + timedelta(days=1)


async def test_the_secret_is_given_once_and_not_stored(pool: asyncpg.Pool, acme: Organization) -> None:
    async with pool.acquire() as connection:
        made = await api_key.create(connection, organization=acme.id, name=" CI ", expires_at=SOON)
    assert made.secret.startswith("tsk_")
    assert made.key.prefix == made.secret[:12]
    assert (made.key.name, made.key.expires_at, made.key.revoked_at) == ("CI", SOON, None)
    stored = await pool.fetchval("select api_key::text from api_key")
    assert made.secret not in stored
    assert made.secret[12:] not in stored
    assert await pool.fetchval("select hash from api_key") == digest(made.secret)


async def test_listed_by_organization_the_newest_first(
    pool: asyncpg.Pool, acme: Organization, other: Organization
) -> None:
    async with pool.acquire() as connection:
        for n in range(3):
            await api_key.create(connection, organization=acme.id, name=f"k{n}")
        await api_key.create(connection, organization=other.id, name="theirs")
    # To the millisecond: of two made in the same one, either may come first.
    await pool.execute("update api_key set id = 'key_' || name")
    async with pool.acquire() as connection:
        await api_key.revoke(connection, organization=acme.id, key="key_k1")
    listed = await api_key.of_organization(pool, acme.id)
    assert [key.name for key in listed] == ["k2", "k1", "k0"]
    assert [key.revoked_at is not None for key in listed] == [False, True, False]
    assert [key.name for key in await api_key.of_organization(pool, acme.id, limit=1)] == ["k2"]
    assert [key.name for key in await api_key.of_organization(pool, acme.id, before="key_k2")] == ["k1", "k0"]
    with pytest.raises(InvalidInput):
        await api_key.of_organization(pool, acme.id, before="\0")


async def test_only_its_own_organization_revokes_a_key(
    pool: asyncpg.Pool, acme: Organization, other: Organization
) -> None:
    async with pool.acquire() as connection:
        made = await api_key.create(connection, organization=acme.id, name="mine")
    answers = []
    for organization, key in [(other.id, made.key.id), (acme.id, "key_of_nobody"), (acme.id, "\0"), (acme.id, "")]:
        with pytest.raises(NotFound) as refused:
            async with pool.acquire() as connection:
                await api_key.revoke(connection, organization=organization, key=key)
        answers.append(str(refused.value))
    assert len(set(answers)) == 1
    assert await pool.fetchval("select count(*) from change") == 0
    assert (await api_key.find(pool, made.key.id)).revoked_at is None


async def test_revoking_is_announced_with_it_and_once_more_changes_nothing(
    pool: asyncpg.Pool, acme: Organization
) -> None:
    async with pool.acquire() as connection:
        made = await api_key.create(connection, organization=acme.id, name="mine")
    async with pool.acquire() as connection:
        await api_key.revoke(connection, organization=acme.id, key=made.key.id)
    first = await api_key.find(pool, made.key.id)
    async with pool.acquire() as connection:
        await api_key.revoke(connection, organization=acme.id, key=made.key.id)
    assert first.revoked_at is not None
    assert await api_key.find(pool, made.key.id) == first
    heard = {tuple(row) for row in await pool.fetch("select kind, subject from change")}
    assert heard == {("api_key", digest(made.secret).hex())}


async def test_a_revocation_that_is_rolled_back_is_not_announced(pool: asyncpg.Pool, acme: Organization) -> None:
    async with pool.acquire() as connection:
        made = await api_key.create(connection, organization=acme.id, name="mine")
        transaction = connection.transaction()
        await transaction.start()
        await api_key.revoke(connection, organization=acme.id, key=made.key.id)
        await transaction.rollback()
    assert await pool.fetchval("select count(*) from change") == 0


@pytest.mark.parametrize(
    "expires_at",
    [
        datetime.now(UTC) - timedelta(seconds=1),
        datetime(2999, 1, 1),  # noqa: DTZ001 - without an offset on purpose
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12))),
    ],
    ids=["past", "no offset", "first", "last"],
)
async def test_an_expiry_that_is_no_future_moment_is_refused(
    pool: asyncpg.Pool, acme: Organization, expires_at: datetime
) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(InvalidInput) as refused:
            await api_key.create(connection, organization=acme.id, name="k", expires_at=expires_at)
    assert refused.value.field == "expires_at"
    assert await pool.fetchval("select count(*) from api_key") == 0


@pytest.mark.parametrize("organization", ["", "org_of_nobody", "\0"])
async def test_no_key_for_an_organization_that_is_not_there(pool: asyncpg.Pool, organization: str) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(NotFound):
            await api_key.create(connection, organization=organization, name="k")


async def test_the_number_of_live_keys_is_limited_exactly(
    pool: asyncpg.Pool, acme: Organization, other: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_key, "LIVE_KEYS_MAX", 3)

    async def create(organization: str) -> object:
        async with pool.acquire() as connection:
            return await api_key.create(connection, organization=organization, name="k")

    outcomes = await asyncio.gather(*(create(acme.id) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(outcome, TooManyKeys) for outcome in outcomes) == 5
    assert await pool.fetchval("select count(*) from api_key") == 3
    await create(other.id)
    [newest, *_] = await api_key.of_organization(pool, acme.id)
    async with pool.acquire() as connection:
        await api_key.revoke(connection, organization=acme.id, key=newest.id)
    await create(acme.id)
