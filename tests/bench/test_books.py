"""A run whose books are wrong must fail: each way in which they can be wrong is made here, and found."""

import asyncpg
import pytest

from bench.books import reconcile
from bench.ledger import FUNDS, open_accounts, usage_records
from bench.report import WrongBooks
from tallystick.base.ids import new_id
from tallystick.reservations.lanes import Lanes

_CALLS = 6


@pytest.fixture
async def settled(dsn: str, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> str:
    """Books in which three customers have made two calls each."""
    monkeypatch.setattr("bench.books._LAST_SETTLES_S", 0.0)
    accounts, record = await open_accounts(pool, 3), await usage_records(pool)
    lanes = Lanes(dsn)
    await lanes.start()
    for account in accounts * 2:
        hold = new_id()
        await lanes.reserve(hold, account, 1_000, expires_in_s=600)
        await lanes.settle(hold, account, 700, record(hold, account))
    await lanes.stop()
    return dsn


async def test_good_books_pass(settled: str) -> None:
    await reconcile(settled, granted=3 * FUNDS, calls=_CALLS)


async def test_a_lost_nanocredit_is_found(settled: str) -> None:
    with pytest.raises(WrongBooks, match="fall of the balances"):
        await reconcile(settled, granted=3 * FUNDS + 1, calls=_CALLS)


async def test_an_answer_without_a_usage_record_is_found(settled: str) -> None:
    with pytest.raises(WrongBooks, match="only 6 usage records"):
        await reconcile(settled, granted=3 * FUNDS, calls=_CALLS + 1)


async def test_a_hold_that_never_ends_is_found(settled: str, pool: asyncpg.Pool) -> None:
    account = await pool.fetchval("select max(id) from ledger_account")
    lanes = Lanes(settled)
    await lanes.start()
    await lanes.reserve(new_id(), account, 5, expires_in_s=600)
    await lanes.stop()
    with pytest.raises(WrongBooks, match="open holds: 1 is not 0"):
        await reconcile(settled, granted=3 * FUNDS, calls=_CALLS)


async def test_a_balance_that_was_changed_by_hand_is_found(settled: str, pool: asyncpg.Pool) -> None:
    last = await pool.fetchval("select max(id) from ledger_account")
    await pool.execute("update ledger_account set posted = posted + 7 where id = $1", last)
    await pool.execute("update ledger_account set posted = posted - 7 where id = $1", last - 1)
    with pytest.raises(WrongBooks, match="law 1"):
        await reconcile(settled, granted=3 * FUNDS, calls=_CALLS)
