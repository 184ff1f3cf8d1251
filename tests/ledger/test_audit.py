"""Every act is kept with what it changed, in the transaction of the act, and sealed into the chain."""

import asyncio
import hashlib

import asyncpg
import pytest

from tallystick.base.ids import new_id
from tallystick.ledger import seal as sealing
from tallystick.ledger.audit import ORIGIN, record
from tallystick.ledger.seal import seal
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer
from tests.ledger.tamper import unguarded

CHAIN = "law 10: the chain of hashes verifies"


@pytest.fixture
async def other(pool: asyncpg.Pool):
    async with pool.acquire() as acquired:
        yield acquired


async def act(connection: asyncpg.Connection, name: str = "test.done", **fields: object) -> None:
    await record(connection, name, by="operator:ada", subject="order_1", **fields)


async def test_an_act_is_kept_with_what_it_changed(connection: asyncpg.Connection) -> None:
    token = ORIGIN.set("203.0.113.7")
    await act(connection, before={"state": "created", "b": 1, "a": 2}, after=None)
    ORIGIN.reset(token)
    row = await connection.fetchrow("select * from audit_event")
    told = (row["act"], row["done_by"], row["origin"], row["subject"], row["organization"], row["before"], row["after"])
    changed = '{"a":2,"b":1,"state":"created"}'
    assert told == ("test.done", "operator:ada", "203.0.113.7", "order_1", None, changed, None)


async def test_an_act_that_is_undone_leaves_no_event(connection: asyncpg.Connection) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await act(connection)
    await transaction.rollback()
    assert await connection.fetchval("select count(*) from audit_event") == 0


async def test_anyone_can_recompute_a_block_with_events(
    pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes
) -> None:
    await lanes.deduct(new_id(), await customer(connection, 100), 10)
    await act(connection, "é.done", after={"name": "a|b\n3:x"})
    assert await seal(pool) == 1
    block = await connection.fetchrow("select * from ledger_block")
    transfers = await connection.fetch(
        "select *, (extract(epoch from at) * 1000000)::bigint as us from transfer order by seq"
    )
    lines = [
        f"{t['seq']}|{t['us']}|{t['debit']}|{t['credit']}|{t['amount']}|{t['kind']}|{t['operation']}\n"
        for t in transfers
    ]
    (event,) = await connection.fetch("select *, (extract(epoch from at) * 1000000)::bigint as us from audit_event")
    texts = [event[name] for name in ("organization", "act", "done_by", "origin", "subject", "before", "after")]
    counted = ["-" if text is None else f"{len(text.encode())}:{text}" for text in texts]
    lines.append("|".join(["audit", str(event["seq"]), str(event["us"]), *counted]) + "\n")
    start = hashlib.sha256(b"tallystick").digest()
    assert block["hash"] == hashlib.sha256(start + "".join(lines).encode()).digest()
    assert (block["transfers"], block["audit_to"]) == (len(transfers), event["seq"])
    assert await broken_laws(connection) == {}


async def test_events_alone_make_a_block_and_transfers_go_on_after_it(
    pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes
) -> None:
    account = await customer(connection, 100)
    await seal(pool)
    await act(connection)
    assert await seal(pool) == 1
    assert await seal(pool) == 0
    await lanes.deduct(new_id(), account, 10)
    assert await seal(pool) == 1
    rows = await connection.fetch("select transfers, audit_to from ledger_block order by number")
    assert [tuple(row) for row in rows] == [(1, None), (0, 1), (1, None)]
    assert await broken_laws(connection) == {}


async def test_a_block_of_a_version_that_knew_no_events_is_continued(
    pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes
) -> None:
    """As it was written before there were any, and is by a server that still runs while the new one is started."""
    account = await customer(connection, 100)
    await act(connection)
    await seal(pool)
    await lanes.deduct(new_id(), account, 10)
    await connection.execute(
        "insert into ledger_block (number, after_seq, to_seq, transfers, previous, hash)"
        " select number + 1, last.to_seq, body.to_seq, body.transfers, hash, sha256(hash || body.lines)"
        " from (select * from ledger_block order by number desc limit 1) as last,"
        " ledger_lines(last.to_seq, 1000) as body"
    )
    await act(connection)
    assert await seal(pool) == 1
    assert await broken_laws(connection) == {}


@pytest.mark.parametrize(
    "statement",
    [
        "update audit_event set act = 'test.other' where seq = 1",
        "update audit_event set done_by = 'operator:eve' where seq = 2",
        "update audit_event set origin = 'cli' where seq = 2",
        "update audit_event set subject = '' where seq = 2",
        "update audit_event set after = null where seq = 2",
        "update audit_event set before = after, after = before",
        "update audit_event set at = at + interval '1 microsecond' where seq = 1",
        "delete from audit_event where seq = 1",
        "delete from audit_event where seq = 2",
        "delete from audit_event",
        "update ledger_block set audit_to = 1 where audit_to = 2",
        "update ledger_block set audit_to = 3 where audit_to = 2",
        "update ledger_block set audit_to = null where transfers > 0",
    ],
)
async def test_a_rewritten_log_is_found(pool: asyncpg.Pool, connection: asyncpg.Connection, statement: str) -> None:
    await customer(connection, 100)
    await act(connection, after={"a": 1})
    await act(connection, after={"a": 2})
    await seal(pool)
    assert await broken_laws(connection) == {}
    async with unguarded(connection):
        await connection.execute(statement)
    assert CHAIN in await broken_laws(connection)


async def test_an_event_that_commits_late_is_sealed_before_what_came_after_it(
    pool: asyncpg.Pool, connection: asyncpg.Connection, other: asyncpg.Connection, monkeypatch
) -> None:
    """Its number was given out; nothing behind it may be sealed until it is known whether it comes."""
    monkeypatch.setattr(sealing, "_LOOKS", 2)
    for ends in ("commit", "rollback"):
        late = other.transaction()
        await late.start()
        await act(other, "test.late")
        await act(connection, "test.early")
        assert await seal(pool) == 0
        await customer(connection, 100)
        # Money is not kept waiting.
        assert await seal(pool) == 1
        await getattr(late, ends)()
        assert await seal(pool) == 1
        assert await broken_laws(connection) == {}
    assert await connection.fetchval("select max(audit_to) from ledger_block") == 4
    assert await connection.fetchval("select count(*) from audit_event") == 3


async def test_a_round_waits_for_what_is_about_to_commit(
    pool: asyncpg.Pool, connection: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    late = other.transaction()
    await late.start()
    await act(other)
    await act(connection)
    sealing_ = asyncio.create_task(seal(pool))
    await asyncio.sleep(0.1)
    assert not sealing_.done()
    await late.commit()
    assert await sealing_ == 1
    assert await connection.fetchval("select max(audit_to) from ledger_block") == 2


async def test_writers_and_sealers_at_once_leave_no_gap(
    pool: asyncpg.Pool, connection: asyncpg.Connection, monkeypatch
) -> None:
    monkeypatch.setattr(sealing, "BLOCK_SEQS", 7)

    async def write(undone: int) -> None:
        for n in range(30):
            async with pool.acquire() as own:
                transaction = own.transaction()
                await transaction.start()
                await act(own)
                await asyncio.sleep(0.001 * (n % 5))
                await (transaction.rollback() if n % 7 == undone else transaction.commit())

    writers = [asyncio.create_task(write(undone)) for undone in range(4)]
    while not all(writer.done() for writer in writers):
        await asyncio.gather(seal(pool), seal(pool))
        assert await broken_laws(connection) == {}
    await asyncio.gather(*writers)
    await seal(pool)
    assert await broken_laws(connection) == {}
    assert await connection.fetchval("select max(audit_to) from ledger_block") == await connection.fetchval(
        "select max(seq) from audit_event"
    )
