from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tallystick.base.ids import new_id
from tallystick.ledger.account import Balance, open_account
from tallystick.ledger.lot import add_lot, expire_due, lots
from tallystick.ledger.read import balance, history
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer, give

later = datetime(2100, 1, 1, tzinfo=UTC)


async def falls_due(connection: asyncpg.Connection, lot: object) -> None:
    await connection.execute("update lot set expires_at = now() - interval '1 s' where id = $1", lot)


async def test_lots_burn_by_priority_then_promotional_then_expiry_then_age(
    connection: asyncpg.Connection, lanes: Lanes
) -> None:
    account = await open_account(connection)
    old = await give(connection, account, 10)
    young = await give(connection, account, 10)
    endless = await give(connection, account, 10, kind="promotional")
    late = await give(connection, account, 10, kind="promotional", expires_at=later)
    early = await give(connection, account, 10, kind="promotional", expires_at=later - timedelta(days=1))
    first = await give(connection, account, 10, priority=-1)
    order = [first, early, late, endless, old, young]
    assert [lot.id for lot in await lots(connection, account)] == order
    await lanes.deduct(new_id(), account, 25)
    assert [(lot.id, lot.remaining) for lot in await lots(connection, account)] == [
        (late, 5), (endless, 10), (old, 10), (young, 10),
    ]  # fmt: skip


async def test_credits_that_pay_a_debt_are_burned(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await customer(connection, 0, floor=-30)
    await lanes.deduct(new_id(), account, 30)
    await give(connection, account, 100)
    assert [lot.remaining for lot in await lots(connection, account)] == [70]


async def test_what_is_left_of_a_due_lot_goes_when_someone_looks(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await customer(connection, 50)
    gift = await give(connection, account, 20, kind="promotional", expires_at=later)
    await lanes.deduct(new_id(), account, 5)
    await falls_due(connection, gift)
    assert await balance(connection, account) == Balance(50, 0, 50)
    (entry, *_) = await history(connection, account, limit=1)
    assert (entry.kind, entry.amount) == ("expiry", -15)
    assert await broken_laws(connection) == {}


async def test_an_open_hold_keeps_what_it_was_promised(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await open_account(connection)
    gift = await give(connection, account, 20, kind="promotional", expires_at=later)
    hold = new_id()
    await lanes.reserve(hold, account, 12, expires_in_s=60)
    await falls_due(connection, gift)
    assert await balance(connection, account) == Balance(12, 12, 0)
    await lanes.settle(hold, account, 4)
    assert await balance(connection, account) == Balance(0, 0, 0)
    assert await broken_laws(connection) == {}


async def test_a_clock_that_is_ahead_expires_nothing(pool: asyncpg.Pool, connection: asyncpg.Connection) -> None:
    account = await open_account(connection)
    gift = await give(connection, account, 20, kind="promotional", expires_at=datetime.now(UTC) + timedelta(hours=1))
    ahead = datetime.now(UTC) + timedelta(days=1)
    assert await expire_due(pool, ahead) == 0
    await falls_due(connection, gift)
    assert await expire_due(pool, ahead) == 20
    assert await expire_due(pool, ahead) == 0
    assert (await balance(connection, account)).posted == 0


async def test_a_lot_needs_the_credits_that_it_stands_for(connection: asyncpg.Connection) -> None:
    account = await open_account(connection)
    operation = await give(connection, account, 20)
    for claimed in (None, operation):
        with pytest.raises(ValueError, match="did not credit"):
            await add_lot(
                connection, id=new_id(), account=account, kind="purchased", amount=1, source="", operation=claimed
            )


async def test_reading_lots_that_nothing_is_due_of_changes_nothing(connection: asyncpg.Connection) -> None:
    account = await customer(connection, 20)
    assert [lot.remaining for lot in await lots(connection, account)] == [20]
    assert await balance(connection, account) == Balance(20, 0, 20)
