import asyncio
import hashlib

import asyncpg

from tallystick.base.ids import new_id
from tallystick.ledger import seal as sealing
from tallystick.ledger.account import open_account
from tallystick.ledger.seal import seal
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer


async def spend(connection: asyncpg.Connection, lanes: Lanes, times: int) -> int:
    account = await customer(connection, 10**6)
    await asyncio.gather(*(lanes.deduct(new_id(), account, 1) for _ in range(times)))
    return account


async def test_anyone_can_recompute_the_chain(
    pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes, monkeypatch
) -> None:
    monkeypatch.setattr(sealing, "BLOCK_SEQS", 40)
    await spend(connection, lanes, 100)
    assert await seal(pool) == 3
    assert await seal(pool) == 0
    previous = hashlib.sha256(b"tallystick").digest()
    for block in await connection.fetch("select * from ledger_block order by number"):
        lines = [
            f"{row['seq']}|{row['us']}|{row['debit']}|{row['credit']}|{row['amount']}|{row['kind']}|{row['operation']}\n"
            for row in await connection.fetch(
                "select *, (extract(epoch from at) * 1000000)::bigint as us from transfer"
                " where seq > $1 and seq <= $2 order by seq",
                block["after_seq"],
                block["to_seq"],
            )
        ]
        assert block["previous"] == previous
        previous = hashlib.sha256(previous + "".join(lines).encode()).digest()
        assert (block["hash"], block["transfers"]) == (previous, len(lines))
    assert await broken_laws(connection) == {}


async def test_sealers_and_writers_at_once_leave_no_gap(
    pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes, monkeypatch
) -> None:
    monkeypatch.setattr(sealing, "BLOCK_SEQS", 10)
    account = await customer(connection, 10**6)
    writers = [asyncio.create_task(spend_slowly(lanes, account)) for _ in range(8)]
    while not all(writer.done() for writer in writers):
        await asyncio.gather(seal(pool), seal(pool), seal(pool))
    await asyncio.gather(*writers)
    await seal(pool)
    assert await connection.fetchval("select sum(transfers)::bigint from ledger_block") == await connection.fetchval(
        "select count(*) from transfer"
    )
    assert await broken_laws(connection) == {}


async def spend_slowly(lanes: Lanes, account: int) -> None:
    for _ in range(40):
        await lanes.deduct(new_id(), account, 1)


async def test_numbers_that_were_never_used_are_passed_over(
    pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes, monkeypatch
) -> None:
    monkeypatch.setattr(sealing, "BLOCK_SEQS", 10)
    assert await seal(pool) == 0
    await connection.execute("select nextval('transfer_seq_seq') from generate_series(1, 95)")
    await open_account(connection)
    assert await seal(pool) == 0
    await spend(connection, lanes, 3)
    assert await seal(pool) >= 1
    assert await broken_laws(connection) == {}
