"""Lanes go together while little is in flight, and each for itself when there is much; the books are the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from prometheus_client import REGISTRY

from tallystick.base.errors import NotFound
from tallystick.base.ids import new_id
from tallystick.ledger.account import Balance
from tallystick.ledger.read import balance
from tallystick.reservations.convoy import FEW
from tallystick.reservations.hold import HoldConflict, HoldEnded, OutcomeUnknown
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer


async def customers(connection: asyncpg.Connection, amount: int) -> tuple[int, int]:
    """One in each of the two lanes: the first, which leads, and the second."""
    one, other = await customer(connection, amount), await customer(connection, amount)
    assert {one % 2, other % 2} == {0, 1}
    return (one, other) if one % 2 == 0 else (other, one)


def batches() -> float:
    return REGISTRY.get_sample_value("tallystick_lane_batches_total") or 0.0


@asynccontextmanager
async def locked(dsn: str, *lanes: int) -> AsyncIterator[None]:
    """Nobody posts in these lanes meanwhile."""
    blocker = await asyncpg.connect(dsn)
    async with blocker.transaction():
        await blocker.execute("select pg_advisory_xact_lock(31249, lane) from unnest($1::integer[]) as lane", lanes)
        yield
    await blocker.close()


async def test_few_operations_of_several_lanes_are_one_batch(connection: asyncpg.Connection, lanes: Lanes) -> None:
    first, second = await customers(connection, 100)
    holds = [(new_id(), account) for account in (first, second) * 3]
    before = batches()
    await asyncio.gather(*(lanes.reserve(hold, account, 20, expires_in_s=60) for hold, account in holds))
    assert batches() == before + 1
    settled = await asyncio.gather(*(lanes.settle(hold, account, 7) for hold, account in holds))
    assert batches() == before + 2
    assert settled == [Balance(79, 0, 79)] * 6
    for account in (first, second):
        assert await balance(connection, account) == Balance(79, 0, 79)
    assert await broken_laws(connection) == {}


async def test_where_there_is_much_a_lane_waits_for_no_other(
    connection: asyncpg.Connection, dsn: str, lanes: Lanes
) -> None:
    first, second = await customers(connection, 10 * FEW)
    for free, stuck in ((first, second), (second, first)):
        async with locked(dsn, stuck % 2):
            waiting = [asyncio.create_task(lanes.reserve(new_id(), stuck, 1, expires_in_s=60)) for _ in range(FEW + 1)]
            await asyncio.gather(*(lanes.reserve(new_id(), free, 1, expires_in_s=60) for _ in range(FEW)))
            assert not any(task.done() for task in waiting)
        await asyncio.gather(*waiting)
    for account in (first, second):
        assert (await balance(connection, account)).held == 2 * FEW + 1
    assert await broken_laws(connection) == {}


async def test_from_few_to_many_and_back_nobody_is_left_waiting(connection: asyncpg.Connection, lanes: Lanes) -> None:
    first, second = await customers(connection, 10**9)

    async def call(number: int) -> None:
        hold, account = new_id(), (first, second)[number % 2]
        await lanes.reserve(hold, account, 10, expires_in_s=60)
        await lanes.settle(hold, account, 10)

    calls = 0
    async with asyncio.timeout(60):
        for width in (1, 2, FEW - 1, FEW, FEW + 1, 3 * FEW, 5, FEW + 2, 1, 4 * FEW, 2):
            await asyncio.gather(*(call(number) for number in range(width)))
            calls += width
            # Of one lane only, which is the one that does not lead.
            await asyncio.gather(*(call(1) for _ in range(width)))
            calls += width
    spent = 2 * 10**9 - sum([(await balance(connection, account)).posted for account in (first, second)])
    assert spent == 10 * calls
    assert await broken_laws(connection) == {}


async def test_one_id_on_accounts_of_two_lanes_is_a_conflict(connection: asyncpg.Connection, lanes: Lanes) -> None:
    first, second = await customers(connection, 100)
    hold = new_id()
    told = await asyncio.gather(
        *(lanes.reserve(hold, account, 20, expires_in_s=60) for account in (first, second)), return_exceptions=True
    )
    assert [type(one) for one in told if one is not None] == [HoldConflict]
    held = [(await balance(connection, account)).held for account in (first, second)]
    assert sorted(held) == [0, 20]


async def test_what_the_database_refuses_in_one_lane_fails_alone(connection: asyncpg.Connection, lanes: Lanes) -> None:
    first, second = await customers(connection, 100)
    victim = new_id()
    await connection.execute(f"alter table hold add constraint poison check (id <> '{victim}')")
    told = await asyncio.gather(
        *(lanes.reserve(new_id(), account, 1, expires_in_s=60) for account in (first, second) * 4),
        lanes.reserve(victim, second, 1, expires_in_s=60),
        return_exceptions=True,
    )
    assert told[:-1] == [None] * 8
    assert isinstance(told[-1], asyncpg.CheckViolationError)
    assert [(await balance(connection, account)).held for account in (first, second)] == [4, 4]


async def test_an_unanswered_reserve_of_another_lane_is_released_too(connection: asyncpg.Connection, dsn: str) -> None:
    _, second = await customers(connection, 100)
    lanes = Lanes(dsn, patience_s=0.3)
    await lanes.start()
    hold = new_id()
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as other, other.acquire() as blocker:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("select pg_advisory_xact_lock(31249, lane) from generate_series(0, 1) as lane")
        with pytest.raises(OutcomeUnknown):
            await lanes.reserve(hold, second, 60, expires_in_s=60, dispatcher=new_id())
        # What the lost batch would have done, had its commit gone through.
        await blocker.execute(
            "insert into hold (id, account, amount, created_at, expires_at, dispatcher)"
            " values ($1, $2, 60, now(), now() + interval '1 h', $3)",
            *(hold, second, new_id()),
        )
        await blocker.execute("update ledger_account set held = 60 where id = $1", second)
        await transaction.commit()
    async with asyncio.timeout(60):
        while await connection.fetchval("select state from hold where id = $1", hold) == "open":
            await asyncio.sleep(0.05)
    assert await balance(connection, second) == Balance(100, 0, 100)
    with pytest.raises(HoldEnded):
        await lanes.reserve(hold, second, 60, expires_in_s=60)
    await lanes.stop()
    assert await broken_laws(connection) == {}


async def test_while_the_first_cannot_post_the_others_do(connection: asyncpg.Connection, dsn: str) -> None:
    _, second = await customers(connection, 100)
    lanes = Lanes(dsn, patience_s=0.3)
    await lanes.start()
    async with locked(dsn, 0):
        with pytest.raises(OutcomeUnknown):
            await lanes.reserve(new_id(), second, 1, expires_in_s=60)
        # By a lane of its own, which nobody has locked.
        async with asyncio.timeout(60):
            await lanes.reserve(new_id(), second, 1, expires_in_s=60)
    await lanes.stop()
    assert await broken_laws(connection) == {}


async def test_all_that_waits_is_written_before_they_stop(connection: asyncpg.Connection, dsn: str) -> None:
    first, second = await customers(connection, 10 * FEW)
    for width in (10, 2 * FEW):
        lanes = Lanes(dsn)
        await lanes.start()
        waiting = [
            asyncio.create_task(lanes.deduct(new_id(), (first, second)[number % 2], 1)) for number in range(width)
        ]
        await asyncio.sleep(0)
        await lanes.stop()
        await asyncio.gather(*waiting)
    posted = sum([(await balance(connection, account)).posted for account in (first, second)])
    assert posted == 20 * FEW - 10 - 2 * FEW
    assert await broken_laws(connection) == {}


async def test_an_account_that_is_not_there_disturbs_nobody_of_the_other_lane(
    connection: asyncpg.Connection, lanes: Lanes
) -> None:
    first, second = await customers(connection, 100)
    told = await asyncio.gather(
        lanes.reserve(new_id(), first, 1, expires_in_s=60),
        lanes.reserve(new_id(), second + 1000, 1, expires_in_s=60),
        lanes.reserve(new_id(), second, 1, expires_in_s=60),
        return_exceptions=True,
    )
    assert (told[0], told[2]) == (None, None)
    assert isinstance(told[1], NotFound)


async def test_operations_with_one_id_reach_the_database_in_their_order(
    connection: asyncpg.Connection, lanes: Lanes
) -> None:
    """Nobody waits for the reserve before the release is asked for, through every change between few and many."""
    first, second = await customers(connection, 10**6)

    async def load(width: int) -> None:
        await asyncio.gather(*(lanes.reserve(new_id(), first, 0, expires_in_s=60) for _ in range(width)))

    async def both(passes: int) -> None:
        hold = new_id()
        reserve = asyncio.create_task(lanes.reserve(hold, second, 10, expires_in_s=60))
        for _ in range(passes):
            await asyncio.sleep(0)
        release = asyncio.create_task(lanes.release(hold, second))
        await reserve
        await release

    async with asyncio.timeout(60):
        for _ in range(5):
            for width in (1, FEW // 2, FEW, 2 * FEW):
                calls = [both(passes) for passes in range(20)]
                await asyncio.gather(load(width), *calls, load(FEW - width if width < FEW else 1))
    assert await balance(connection, second) == Balance(10**6, 0, 10**6)
    assert await broken_laws(connection) == {}


async def test_what_is_under_way_with_the_first_is_not_overtaken(
    connection: asyncpg.Connection, dsn: str, lanes: Lanes
) -> None:
    first, second = await customers(connection, 100)
    hold = new_id()
    async with locked(dsn, 0):
        reserve = asyncio.create_task(lanes.reserve(hold, second, 10, expires_in_s=60))
        async with asyncio.timeout(60):
            while not await connection.fetchval("select exists (select from pg_locks where not granted)"):
                await asyncio.sleep(0.01)
        crowd = [asyncio.create_task(lanes.reserve(new_id(), first, 0, expires_in_s=60)) for _ in range(2 * FEW)]
        release = asyncio.create_task(lanes.release(hold, second))
        await asyncio.sleep(0.2)
        assert not release.done()
    await asyncio.gather(reserve, *crowd)
    assert await release == Balance(100, 0, 100)
