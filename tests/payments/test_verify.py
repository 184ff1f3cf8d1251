"""Each law is broken by hand, as a defect would break it, and must be found by name."""

import pytest

from tallystick.base.ids import new_id
from tallystick.payments.orders.grant import grant
from tallystick.payments.verify import checks

CREDITED, AS_PAID, ORPHAN, CLEARING, WORTH, STATE, COUPONS, TOP_UPS, GRANTS, LOTS = (
    check.name for check in checks if check.law == 6
)

UNCREDITED = """update payment_order
    set state = 'awaiting_payment', operation = null, credited_at = null, stripe_payment_intent = null,
        paid_credits = null"""
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
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        return {check.name for check in checks if check.law == 6 and await check.run(connection)}


async def test_sound_books_pass(paid, pool):
    assert await broken(pool) == set()


@pytest.mark.parametrize(
    ("defect", "found"),
    [
        ("update payment_order set credits = credits + 1 where amount_minor = 500", {CREDITED, LOTS}),
        ("update payment_order set operation = gen_random_uuid() where amount_minor = 500", {CREDITED, ORPHAN, LOTS}),
        (
            "update payment_order set paid_credits = paid_credits - 1 where amount_minor = 500",
            {CREDITED, CLEARING, WORTH},
        ),
        ("update payment_order set state = 'refunded' where amount_minor = 500", {STATE}),
        ("update payment_order set refunded_minor = 500 where amount_minor = 500", {STATE}),
        ("update payment_order set disputed_minor = 1 where amount_minor = 500", {STATE}),
        (UNCREDITED + " where amount_minor = 500", {AS_PAID, ORPHAN, CLEARING, LOTS}),
        (NEVER_POSTED + " where state = 'awaiting_payment'", {CREDITED, AS_PAID, CLEARING}),
        ("update payment_order set amount_minor = 501 where amount_minor = 500", {AS_PAID}),
        ("update payment_order set currency = 'jpy' where amount_minor = 500", {AS_PAID}),
        ("update payment_order set stripe_payment_intent = 'pi_other' where amount_minor = 500", {AS_PAID}),
        ("update payment_order set livemode = true where amount_minor = 500", {AS_PAID}),
        ("delete from stripe_event", {AS_PAID}),
        ("update stripe_event set state = 'quarantined'", {AS_PAID}),
        ("update stripe_event set body = replace(convert_from(body, 'utf8'), '2500', '2400')::bytea", {AS_PAID}),
        ("update stripe_event set body = 'torn'", {AS_PAID}),
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


async def test_the_problem_says_what_differs(paid, pool):
    order = await pool.fetchval("update payment_order set currency = 'jpy' where amount_minor = 500 returning id")
    [check] = [check for check in checks if check.name == AS_PAID]
    async with pool.acquire() as connection, connection.transaction():
        [told, unpaid] = await check.run(connection)
    assert told.startswith(f"order {order} has the currency jpy, its event evt_")
    assert told.endswith("says usd")
    assert unpaid == f"order {order} is credited, and no stored event says that it was paid"


async def test_an_event_may_hold_what_postgresql_calls_no_json(shop, pool):
    order = await shop.order()
    await shop.receive(shop.event("payment_intent.succeeded", order, description="a\x00b"))
    assert (await shop.balance(), await broken(pool)) == (25 * 10**9, set())
