import asyncio
from uuid import UUID

import asyncpg

from tallystick.base.ids import new_id
from tallystick.ledger.account import Balance
from tallystick.ledger.read import balance
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.sweep import Sweeper, open_dispatched
from tests.ledger.money import broken_laws, customer


async def past_its_time(connection: asyncpg.Connection | asyncpg.Pool, *holds: UUID) -> None:
    await connection.execute(
        "update hold set expires_at = created_at + interval '1 us' where id = any($1)", list(holds)
    )


async def test_a_hold_that_was_never_sent_on_expires(
    pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes
) -> None:
    account, due, young = await customer(connection, 100), new_id(), new_id()
    sweeper = Sweeper(pool, young_s=0)
    for hold in (due, young):
        await lanes.reserve(hold, account, 30, expires_in_s=600)
    assert (await sweeper.sweep()).expired == 0
    await past_its_time(connection, due)
    assert (await sweeper.sweep()).expired == 1
    assert (await sweeper.sweep()).expired == 0
    assert await balance(connection, account) == Balance(100, 30, 70)
    await lanes.settle(young, account, 30)
    assert await broken_laws(connection) == {}


async def test_time_alone_never_ends_a_hold_that_was_sent_on(
    pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes
) -> None:
    account, hold, dispatcher = await customer(connection, 100), new_id(), new_id()
    await lanes.reserve(hold, account, 30, expires_in_s=600, dispatcher=dispatcher)
    await past_its_time(connection, hold)
    patient, strict = Sweeper(pool, young_s=0), Sweeper(pool, young_s=0, orphan_after_s=0)
    assert (await patient.sweep()).orphans == []
    swept = await strict.sweep()
    assert swept.expired == 0
    assert [(orphan.id, orphan.account, orphan.amount) for orphan in swept.orphans] == [(hold, account, 30)]
    await lanes.settle(hold, account, 30)
    assert (await strict.sweep()).orphans == []


async def test_an_extended_hold_lives_longer(pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, hold = await customer(connection, 100), new_id()
    sweeper = Sweeper(pool, young_s=0)
    await lanes.reserve(hold, account, 30, expires_in_s=600)
    await sweeper.sweep()
    await past_its_time(connection, hold)
    await lanes.extend(hold, account, 30, expires_in_s=600)
    assert (await sweeper.sweep()).expired == 0


async def test_a_new_sweeper_finds_what_others_left(
    pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes
) -> None:
    account = await customer(connection, 1000)
    holds = [new_id() for _ in range(20)]
    for hold in holds:
        await lanes.reserve(hold, account, 30, expires_in_s=600)
    await past_its_time(connection, *holds)
    # A hold is young by the database's clock, and by default not looked at before it is half a minute old.
    assert (await Sweeper(pool).sweep()).expired == 0
    sweepers = [Sweeper(pool, young_s=0) for _ in range(4)]
    swept = await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers))
    assert sum(each.expired for each in swept) == 20
    assert await balance(connection, account) == Balance(1000, 0, 1000)


async def test_sweepers_and_callers_at_once_end_each_hold_once(
    pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes
) -> None:
    accounts = [await customer(connection, 10_000) for _ in range(5)]
    sweepers = [Sweeper(pool, young_s=0) for _ in range(2)]

    async def caller(n: int) -> int:
        account, settled = accounts[n % 5], 0
        for _ in range(20):
            hold = new_id()
            await lanes.reserve(hold, account, 10, expires_in_s=600)
            await pool.execute(
                "update hold set expires_at = created_at + interval '1 us' where id = $1 and $2", hold, n % 2 == 0
            )
            answers = await asyncio.gather(lanes.settle(hold, account, 7), return_exceptions=True)
            settled += isinstance(answers[0], Balance)
        return settled

    callers = [asyncio.create_task(caller(n)) for n in range(8)]
    expired = 0
    while not all(task.done() for task in callers):
        expired += sum(swept.expired for swept in await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers)))
    settled = sum(await asyncio.gather(*callers))
    expired += (await sweepers[0].sweep()).expired
    assert settled + expired == 160
    assert (
        await connection.fetchval("select sum(posted)::bigint from ledger_account where kind = 'revenue'")
        == 7 * settled
    )
    assert await broken_laws(connection) == {}


async def test_a_dispatcher_finds_its_open_holds(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, mine, other = await customer(connection, 100), new_id(), new_id()
    holds = [new_id() for _ in range(3)]
    for hold, dispatcher in zip(holds, (mine, other, mine), strict=True):
        await lanes.reserve(hold, account, 10, expires_in_s=600, dispatcher=dispatcher)
    await lanes.settle(holds[2], account, 1)
    (found,) = await open_dispatched(connection, mine)
    assert (found.id, found.account, found.amount, found.dispatcher) == (holds[0], account, 10, mine)
    assert await open_dispatched(connection, mine, created_after=found.expires_at) == []
