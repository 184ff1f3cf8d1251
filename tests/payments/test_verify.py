"""Each law is broken by hand, as a defect would break it, and must be found by name."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tallystick.base.ids import new_id
from tallystick.catalog.coupon_entries import read_coupon
from tallystick.catalog.tables import CouponTable
from tallystick.payments.inbox.event import read_payment
from tallystick.payments.orders.approve import approve
from tallystick.payments.orders.discount import with_coupon
from tallystick.payments.orders.grant import grant
from tallystick.payments.orders.place import place
from tallystick.payments.orders.purchase_terms import Purchase
from tallystick.payments.orders.redeem import redeem
from tallystick.payments.orders.settle import settle
from tallystick.payments.verify import checks

# What follows in the list belongs to the rooms beside, which have tests of their own.
OWN = checks[:10]
CREDITED, AS_PAID, ORPHAN, CLEARING, WORTH, STATE, COUPONS, TOP_UPS, GRANTS, LOTS = (check.name for check in OWN)

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


@pytest.fixture
async def taken(shop, pool):
    """An order with a coupon, paid; and free credits by another."""
    half = read_coupon(CouponTable(code="HALF", percent_off=50, redemptions_max=1), "")
    free = read_coupon(CouponTable(code="FREE", free_credits=Decimal(5)), "")
    bought = with_coupon(Purchase(amount_minor=2500, currency="usd", credits=25 * 10**9), half)
    order = await place(pool, shop.buyer, bought, request_id=None, livemode=False, coupon=half)
    await shop.receive(shop.event("payment_intent.succeeded", order))
    await redeem(pool, shop.buyer, free, now=datetime.now(UTC))
    return order


@pytest.mark.parametrize(
    ("defect", "found"),
    [
        ("update coupon_count set taken = taken + 1 where code = 'HALF'", {COUPONS}),
        ("update coupon_redemption set given_back_at = now() where code = 'HALF'", {COUPONS}),
        ("delete from credit_grant", {COUPONS, GRANTS, LOTS}),
        (
            """insert into coupon_redemption (code, organization, taken_by, order_id, number, most)
            select 'HALF', organization, 'x', id, 1, 1 from payment_order where coupon is null;
            update coupon_count set taken = 2 where code = 'HALF'""",
            {COUPONS},
        ),
    ],
)
async def test_a_defect_of_coupons_is_found(taken, shop, pool, defect, found):
    await shop.order()
    assert await broken(pool) == set()
    await pool.execute(defect)
    assert await broken(pool) == found


async def test_a_month_of_top_ups_above_its_ceiling_is_found(paid, pool):
    await pool.execute("update payment_order set kind = 'top_up', ceiling_minor = 3000 where operation is not null")
    assert await broken(pool) == set()
    await pool.execute("update payment_order set ceiling_minor = 2999 where operation is not null")
    assert await broken(pool) == {TOP_UPS}


async def test_what_stripe_said_when_it_was_asked_is_as_good_as_an_event(shop, pool):
    order = await shop.order()
    payment = read_payment("payment_intent.succeeded", shop.event("payment_intent.succeeded", order))
    async with pool.acquire() as connection, connection.transaction():
        assert await settle(connection, payment, order.id, livemode=False) == ("processed", None)
    assert await broken(pool) == set()
    await pool.execute("update payment_order set currency = 'jpy'")
    assert await broken(pool) == {AS_PAID}


async def test_what_nobody_approved_is_found(shop, pool):
    purchase = Purchase(amount_minor=500, currency="usd", credits=5 * 10**9)
    order = await place(pool, shop.buyer, purchase, request_id=None, livemode=True, kind="manual")
    await approve(pool, order.id, proof="seen", by="operator:ada", four_eyes=False)
    assert await broken(pool) == set()
    await pool.execute("update payment_order set kind = 'checkout', approved_by = null, stripe_payment_intent = 'pi_x'")
    assert AS_PAID in await broken(pool)
