"""Each law is broken by hand, as a defect would break it, and must be found by name."""

import pytest

from tallystick.base.ids import new_id
from tallystick.payments.grant import grant
from tallystick.payments.verify import checks

CREDITED, ORPHAN, CLEARING, GRANTS, LOTS = (check.name for check in checks)

UNCREDITED = """update payment_order
    set state = 'awaiting_payment', operation = null, credited_at = null, stripe_payment_intent = null"""
NEVER_POSTED = """update payment_order
    set state = 'credited', operation = gen_random_uuid(), credited_at = now(), stripe_payment_intent = 'pi_x'"""


@pytest.fixture
async def paid(shop, pool):
    for amount_minor in (2500, 500):
        await shop.receive(shop.event("payment_intent.succeeded", await shop.order(amount_minor)))
    await grant(pool, shop.buyer.account, 10**9, operation=new_id(), source="operator:ada")
    await shop.order()
    return shop


async def broken(pool):
    async with pool.acquire() as connection:
        return {check.name for check in checks if await check.run(connection)}


async def test_sound_books_pass(paid, pool):
    assert await broken(pool) == set()


@pytest.mark.parametrize(
    ("defect", "found"),
    [
        ("update payment_order set credits = credits + 1 where amount_minor = 500", {CREDITED, CLEARING, LOTS}),
        ("update payment_order set operation = gen_random_uuid() where amount_minor = 500", {CREDITED, ORPHAN, LOTS}),
        (UNCREDITED + " where amount_minor = 500", {ORPHAN, CLEARING, LOTS}),
        (NEVER_POSTED + " where state = 'awaiting_payment'", {CREDITED, CLEARING}),
        ("delete from credit_grant", {GRANTS, LOTS}),
        ("update credit_grant set amount = amount + 1", {GRANTS, LOTS}),
        ("update lot set source = 'order:none' where kind = 'purchased'", {LOTS}),
    ],
)
async def test_a_defect_is_found(paid, pool, defect, found):
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("alter table lot disable trigger user")
        await connection.execute(defect)
    assert await broken(pool) == found
