import asyncio
from typing import Any

import asyncpg
import pytest

from tallystick.base.errors import Conflict, InsufficientCreditsError, NotFound
from tallystick.base.ids import new_id
from tallystick.ledger.account import Balance, open_account
from tallystick.ledger.post import Transfer, post
from tallystick.ledger.read import balance
from tests.ledger.money import broken_laws, customer, give


async def test_the_same_operation_is_posted_once(connection: asyncpg.Connection) -> None:
    account, operation = await open_account(connection), new_id()
    for _ in range(3):
        await give(connection, account, 100, operation=operation)
    assert await balance(connection, account) == Balance(100, 0, 100)


async def test_fifty_at_once_are_posted_once(pool: asyncpg.Pool, connection: asyncpg.Connection) -> None:
    account, operation = await open_account(connection), new_id()

    async def giving() -> None:
        async with pool.acquire() as own:
            await give(own, account, 100, operation=operation)

    await asyncio.gather(*(giving() for _ in range(50)))
    assert await balance(connection, account) == Balance(100, 0, 100)
    assert await broken_laws(connection) == {}


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "adjustment"},
        {"fingerprint": "another"},
        {"amount": 11},
    ],
)
async def test_the_same_operation_with_other_content_is_a_conflict(
    connection: asyncpg.Connection, other: dict[str, Any]
) -> None:
    giver, taker, operation = await customer(connection, 100), await open_account(connection), new_id()

    async def posting(kind: str = "grant", fingerprint: str = "one", amount: int = 10) -> bool:
        async with connection.transaction():
            return await post(
                connection,
                operation=operation,
                kind=kind,
                fingerprint=fingerprint,
                transfers=[Transfer(giver, taker, amount)],
            )

    assert await posting()
    assert not await posting()
    with pytest.raises(Conflict):
        await posting(**other)
    assert (await balance(connection, giver)).posted == 90


async def test_no_account_falls_below_its_floor(connection: asyncpg.Connection) -> None:
    giver, taker = await customer(connection, 100, floor=-5), await open_account(connection)
    with pytest.raises(InsufficientCreditsError) as refused:
        async with connection.transaction():
            await post(
                connection,
                operation=new_id(),
                kind="adjustment",
                fingerprint="",
                transfers=[Transfer(giver, taker, 60), Transfer(giver, taker, 46)],
            )
    assert (refused.value.balance_nano, refused.value.required_nano) == (105, 106)
    assert await connection.fetchval("select count(*) from operation where kind = 'adjustment'") == 0


async def test_unknown_accounts_and_empty_operations_are_refused(connection: asyncpg.Connection) -> None:
    account = await customer(connection, 100)
    transfers = [Transfer(account, account + 1000, 1)]
    with pytest.raises(NotFound):
        async with connection.transaction():
            await post(connection, operation=new_id(), kind="adjustment", fingerprint="", transfers=transfers)
    with pytest.raises(ValueError, match="needs a transfer"):
        async with connection.transaction():
            await post(connection, operation=new_id(), kind="adjustment", fingerprint="", transfers=[])
    with pytest.raises(RuntimeError, match="transaction"):
        await post(
            connection, operation=new_id(), kind="adjustment", fingerprint="", transfers=[Transfer(account, 64, 1)]
        )


async def test_a_snapshot_older_than_the_lane_is_refused(connection: asyncpg.Connection) -> None:
    account = await customer(connection, 100)
    with pytest.raises(asyncpg.InvalidTransactionStateError):
        async with connection.transaction(isolation="repeatable_read"):
            await post(
                connection, operation=new_id(), kind="adjustment", fingerprint="", transfers=[Transfer(account, 64, 1)]
            )
