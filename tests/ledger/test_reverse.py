import asyncio
from uuid import UUID

import asyncpg
import pytest

from tallystick.base.errors import Conflict, InsufficientCreditsError, NotFound
from tallystick.base.ids import new_id
from tallystick.ledger.account import Balance, PlatformAccount, open_account, platform_account
from tallystick.ledger.lot import free_credits, left_of, lots, take_from
from tallystick.ledger.post import Transfer, post
from tallystick.ledger.read import balance
from tallystick.ledger.reverse import reversal_of, reverse
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer, give


async def reversing(connection: asyncpg.Connection, original: UUID) -> bool:
    async with connection.transaction():
        return await reverse(connection, original)


async def test_a_charge_is_given_back_once(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, hold = await customer(connection, 100), new_id()
    await lanes.reserve(hold, account, 60, expires_in_s=60)
    await lanes.settle(hold, account, 40)
    assert await reversing(connection, hold)
    assert not await reversing(connection, hold)
    assert await balance(connection, account) == Balance(100, 0, 100)
    assert [(lot.kind, lot.remaining) for lot in await lots(connection, account)] == [
        ("purchased", 60),
        ("restored", 40),
    ]
    assert await broken_laws(connection) == {}


async def test_a_shortfall_is_given_back_too(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, hold = await customer(connection, 100), new_id()
    await lanes.reserve(hold, account, 100, expires_in_s=60)
    await lanes.settle(hold, account, 130)
    assert await reversing(connection, hold)
    assert await balance(connection, account) == Balance(100, 0, 100)
    assert await connection.fetchval("select sum(posted)::bigint from ledger_account where kind = 'receivable'") == 0
    assert await broken_laws(connection) == {}


async def test_a_purchase_is_taken_out_of_its_own_lot_first(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await open_account(connection)
    await give(connection, account, 50)
    bought = await give(connection, account, 30)
    await lanes.deduct(new_id(), account, 20)
    assert await reversing(connection, bought)
    assert [lot.remaining for lot in await lots(connection, account)] == [30]
    assert await balance(connection, account) == Balance(30, 0, 30)
    assert await broken_laws(connection) == {}


async def test_what_was_spent_cannot_be_taken_back(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await open_account(connection)
    bought = await give(connection, account, 30)
    await lanes.deduct(new_id(), account, 20)
    with pytest.raises(InsufficientCreditsError):
        await reversing(connection, bought)
    assert await balance(connection, account) == Balance(10, 0, 10)


async def test_twenty_at_once_reverse_once(pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, deduction = await customer(connection, 100), new_id()
    await lanes.deduct(deduction, account, 40)

    async def one() -> bool:
        async with pool.acquire() as own:
            return await reversing(own, deduction)

    answers = await asyncio.gather(*(one() for _ in range(20)))
    assert answers.count(True) == 1
    assert await balance(connection, account) == Balance(100, 0, 100)


async def test_nothing_else_is_reversed(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, hold, released = await customer(connection, 100), new_id(), new_id()
    for one in (hold, released):
        await lanes.reserve(one, account, 10, expires_in_s=60)
    await lanes.settle(hold, account, 10)
    await lanes.release(released, account)
    await reversing(connection, hold)
    with pytest.raises(Conflict):
        await reversing(connection, reversal_of(hold))
    for nothing in (released, new_id()):
        with pytest.raises(NotFound):
            await reversing(connection, nothing)


async def test_what_was_taken_from_a_lot_goes_back_into_it(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await open_account(connection)
    bought, _other = await give(connection, account, 30), await give(connection, account, 50)
    await lanes.deduct(new_id(), account, 10)
    taken = new_id()
    async with connection.transaction():
        left = await left_of(connection, account, bought)
        assert left.free == 20
        transfers = [
            Transfer(debit=account, credit=platform_account(PlatformAccount.RECEIVABLE, account % 2), amount=20)
        ]
        await post(connection, operation=taken, kind="adjustment", transfers=transfers, fingerprint="taken")
        await take_from(connection, left.lot, 20)
    assert [lot.remaining for lot in await lots(connection, account)] == [50]
    async with connection.transaction():
        assert await reverse(connection, taken, into=left.lot)
        assert not await reverse(connection, taken, into=left.lot)
    assert [(lot.kind, lot.remaining) for lot in await lots(connection, account)] == [
        ("purchased", 20),
        ("purchased", 50),
    ]
    assert await broken_laws(connection) == {}


async def test_of_a_lot_only_what_no_hold_has_set_aside_is_free(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await open_account(connection)
    bought = await give(connection, account, 30)
    await lanes.reserve(new_id(), account, 25, expires_in_s=60)
    async with connection.transaction():
        assert (await left_of(connection, account, bought)).free == await free_credits(connection, account) == 5
