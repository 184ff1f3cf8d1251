import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tallystick.base.errors import Conflict, InvalidInput, NotFound
from tallystick.base.ids import new_id
from tallystick.payments.orders.grant import grant

pytestmark = pytest.mark.usefixtures("books")
FIVE = 5 * 10**9


async def test_given_once_however_often_it_is_asked_for(shop, pool):
    operation = new_id()
    done = await asyncio.gather(
        *(grant(pool, shop.buyer.account, FIVE, operation=operation, source="promotion:welcome") for _ in range(20))
    )
    assert sorted(done) == [False] * 19 + [True]
    assert await shop.balance() == FIVE


async def test_a_promotion_is_an_expense_with_a_lot_that_may_expire(shop, pool):
    until = datetime.now(UTC) + timedelta(days=30)
    await grant(
        pool, shop.buyer.account, FIVE, operation=new_id(), source="promotion:welcome", expires_at=until, priority=3
    )
    assert tuple(await pool.fetchrow("select kind, expires_at, priority from lot")) == ("promotional", until, 3)
    assert await pool.fetchval("select sum(posted) from ledger_account where kind = 'promotional_expense'") == -FIVE


async def test_what_was_paid_outside_is_cleared_by_hand(shop, pool):
    await grant(pool, shop.buyer.account, FIVE, operation=new_id(), source="operator:ada, invoice 7", kind="purchased")
    assert await pool.fetchval("select sum(posted) from ledger_account where kind = 'manual_clearing'") == -FIVE
    assert await pool.fetchval("select kind from lot") == "purchased"


async def test_purchased_credits_never_expire(shop, pool):
    with pytest.raises(InvalidInput, match="expires_at"):
        await grant(
            pool,
            shop.buyer.account,
            FIVE,
            operation=new_id(),
            source="operator:ada",
            kind="purchased",
            expires_at=datetime.now(UTC),
        )


@pytest.mark.parametrize("changed", [{"amount": 6 * 10**9}, {"source": "operator:eve"}, {"priority": 1}])
async def test_the_same_operation_with_other_content_is_a_conflict(shop, pool, changed):
    operation = new_id()
    asked = {"amount": FIVE, "source": "operator:ada", "priority": 0}
    await grant(pool, shop.buyer.account, operation=operation, **asked)
    with pytest.raises(Conflict):
        await grant(pool, shop.buyer.account, operation=operation, **(asked | changed))
    assert await shop.balance() == FIVE


async def test_the_same_operation_for_another_account_is_a_conflict(shop, new_shop, pool):
    operation, other = new_id(), await new_shop()
    await grant(pool, shop.buyer.account, FIVE, operation=operation, source="operator:ada")
    with pytest.raises(Conflict):
        await grant(pool, other.buyer.account, FIVE, operation=operation, source="operator:ada")
    assert await other.balance() == 0


async def test_nobody_gives_without_a_name(shop, pool):
    with pytest.raises(InvalidInput, match="source"):
        await grant(pool, shop.buyer.account, FIVE, operation=new_id(), source="  ")


async def test_an_unknown_account_gets_nothing(shop, pool):
    with pytest.raises(NotFound):
        await grant(pool, 2_000_000, FIVE, operation=new_id(), source="operator:ada")
