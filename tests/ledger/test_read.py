import asyncpg
import pytest

from tallystick.base.errors import NotFound
from tallystick.base.ids import new_id
from tallystick.ledger.account import Balance, PlatformAccount, open_account, platform_account
from tallystick.ledger.read import Entry, balance, history, trial_balance
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import customer, give


async def test_available_is_what_can_be_reserved(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await customer(connection, 100, floor=-50, overdraft=20)
    await lanes.reserve(new_id(), account, 30, expires_in_s=60)
    assert await balance(connection, account) == Balance(100, 30, 100)


async def test_only_customers_have_a_balance_to_read(connection: asyncpg.Connection) -> None:
    for account in (platform_account(PlatformAccount.REVENUE, 0), await open_account(connection) + 100):
        with pytest.raises(NotFound):
            await balance(connection, account)


async def test_history_is_signed_newest_first_and_paged(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, stranger = await open_account(connection), await open_account(connection)
    for n in range(1, 6):
        await give(connection, account, 100 * n)
        await give(connection, stranger, 1000)
        await lanes.deduct(new_id(), account, n)
    entries = await history(connection, account, limit=100)
    assert [(entry.kind, entry.amount) for entry in entries] == [
        entry for n in range(5, 0, -1) for entry in (("deduction", -n), ("purchase", 100 * n))
    ]
    pages: list[Entry] = []
    while page := await history(connection, account, before=pages[-1].seq if pages else None, limit=3):
        pages.extend(page)
    assert pages == entries
    purchases = await history(connection, account, limit=2, kinds=["purchase"])
    assert [entry.amount for entry in purchases] == [500, 400]
    assert await history(connection, account, limit=2, kinds=["no such kind"]) == []
    assert sum(entry.amount for entry in entries) == (await balance(connection, account)).posted


async def test_the_trial_balance_sums_to_zero(connection: asyncpg.Connection, lanes: Lanes) -> None:
    for amount in (100, 200, 300):
        account = await customer(connection, amount)
        await lanes.deduct(new_id(), account, 7)
    lines = {line.kind: line for line in await trial_balance(connection)}
    assert sum(line.posted for line in lines.values()) == 0
    assert (lines["customer"].accounts, lines["customer"].posted) == (3, 579)
    assert (lines["revenue"].posted, lines["stripe_clearing"].posted) == (21, -600)
