import asyncio

import asyncpg

from tallystick.base.ids import new_id
from tallystick.ledger.partitions import MONTHS_AHEAD, ensure_partitions
from tallystick.ledger.read import history
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer

# Transfers, usage records, usage events.
PARTITIONED = 3


async def test_partitions_are_made_ahead_once(connection: asyncpg.Connection) -> None:
    assert await ensure_partitions(connection, months_ahead=MONTHS_AHEAD) == 0
    assert await ensure_partitions(connection, months_ahead=MONTHS_AHEAD + 2) == PARTITIONED * 2
    assert await ensure_partitions(connection, months_ahead=MONTHS_AHEAD + 2) == 0


async def test_any_number_may_make_them_at_once(pool: asyncpg.Pool) -> None:
    async def one() -> int:
        async with pool.acquire() as connection:
            return await ensure_partitions(connection, months_ahead=8)

    assert sum(await asyncio.gather(*(one() for _ in range(5)))) == (8 - MONTHS_AHEAD) * PARTITIONED


async def test_a_month_without_a_partition_fails_nobody(connection: asyncpg.Connection, lanes: Lanes) -> None:
    await connection.execute("drop table " + await this_month(connection))
    account = await customer(connection, 100)
    await lanes.deduct(new_id(), account, 10)
    assert await connection.fetchval("select count(*) from transfer_default") == 2
    # Its rows stay where they are: a partition for them could not be made any more.
    assert await ensure_partitions(connection) == 0
    assert len(await history(connection, account, limit=5)) == 2
    assert await broken_laws(connection) == {}


async def this_month(connection: asyncpg.Connection) -> str:
    return await connection.fetchval("select 'transfer_' || to_char(now() at time zone 'UTC', 'YYYY_MM')")
