import asyncio
import json

import pytest

from tallystick.accounts import member, user
from tallystick.base.errors import InvalidInput
from tallystick.base.ids import new_id
from tallystick.ledger.reverse import reverse
from tallystick.payments.orders.balance_alert import set_thresholds, tell_low_balances, thresholds
from tallystick.payments.orders.grant import grant

pytestmark = pytest.mark.usefixtures("books")
CREDIT = 10**9


@pytest.fixture
def purse(shop, pool):
    """Give credits, and take them back."""

    async def give(credits_):
        operation = new_id()
        await grant(pool, shop.buyer.account, credits_ * CREDIT, operation=operation, source="test")
        return operation

    async def take(operation):
        async with pool.acquire() as connection, connection.transaction():
            await reverse(connection, operation)

    return give, take


async def alert(shop, pool, *wanted):
    buyer = shop.buyer
    return await set_thresholds(
        pool, buyer.organization, buyer.account, [one * CREDIT for one in wanted], by=buyer.user_id
    )


async def low(told):
    return [data for type_, data in await told() if type_ == "balance.low"]


async def test_it_is_told_once_each_time_the_balance_falls_below(shop, pool, purse, told):
    give, take = purse
    first = await give(20)
    await alert(shop, pool, 10)
    assert await tell_low_balances(pool) == 0
    await take(first)
    assert [await tell_low_balances(pool) for _ in range(3)] == [1, 0, 0]
    assert await low(told) == [{"threshold": 10, "balance": 0, "available": 0}]
    again = await give(10)
    await tell_low_balances(pool)
    await take(again)
    assert [await tell_low_balances(pool) for _ in range(2)] == [1, 0]
    assert len(await low(told)) == 2


async def test_who_looks_at_once_tells_once(shop, pool, told):
    await alert(shop, pool, 10, 5)
    assert sum(await asyncio.gather(*(tell_low_balances(pool) for _ in range(6)))) == 2
    assert [one["threshold"] for one in sorted(await low(told), key=lambda one: one["threshold"])] == [5, 10]


async def test_mail_goes_to_those_who_see_to_billing(shop, pool):
    async with pool.acquire() as connection:
        for role in (member.Role.BILLING, member.Role.DEVELOPER):
            made = await user.sign_up(pool, email=f"{role}@example.com", password="correct horse")
            await member.add(connection, organization=shop.buyer.organization, user_id=made.user_id, role=role)
    await alert(shop, pool, 10, 5)
    await tell_low_balances(pool)
    mails = await pool.fetch("select recipient, subject, body from mail where subject like '%credits%'")
    owner = await pool.fetchval("select email from app_user where id = $1", shop.buyer.user_id)
    assert {mail["recipient"] for mail in mails} == {owner, "billing@example.com"}
    assert len(mails) == 2, "one about the lowest, not one for each"
    assert "below the 5.00" in mails[0]["body"]


async def test_what_stays_is_not_told_again_and_what_is_not_wanted_is_forgotten(shop, pool):
    await alert(shop, pool, 10, 5)
    assert await tell_low_balances(pool) == 2
    assert await alert(shop, pool, 10, 7) == [10 * CREDIT, 7 * CREDIT]
    assert await tell_low_balances(pool) == 1
    assert await alert(shop, pool) == []
    assert (await tell_low_balances(pool), await thresholds(pool, shop.buyer.organization)) == (0, [])
    acts = await pool.fetch("select before, after from audit_event where act = 'balance_alerts.set' order by seq")
    assert json.loads(acts[-1]["after"]) == {"thresholds": []}


async def test_there_are_only_so_many(shop, pool):
    with pytest.raises(InvalidInput):
        await alert(shop, pool, *range(1, 12))
