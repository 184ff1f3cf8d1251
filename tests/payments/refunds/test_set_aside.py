"""A refund of money that was set aside: what came, and was never credited."""

import pytest

from tallystick.base.errors import Conflict
from tallystick.catalog.coupon_entries import read_coupon
from tallystick.catalog.tables import CouponTable
from tallystick.payments.errors import PaymentRefused
from tallystick.payments.orders.take_coupon import take_coupon
from tallystick.payments.refunds import ask, refund
from tests.payments.refunds.till import at_stripe, books


async def set_aside(till, asked_minor):
    """A payment of 25.00 for an order of something else: it came, and is not credited."""
    paid = await till.pay(2500)
    await till.shop.pool.execute("update payment_order set amount_minor = $1", asked_minor)
    await till.receive(await till.events(paid))
    assert (await till.order(paid)).state == "paid"
    return paid


@pytest.mark.parametrize("asked_minor", [2000, 3000])
async def test_of_what_was_set_aside_all_that_came_goes_back(till, pool, give, asked_minor):
    paid = await set_aside(till, asked_minor)
    with pytest.raises(Conflict, match=r"25\.00 USD is left, not 25\.01"):
        await give(paid, amount_minor=2501)
    await give(paid, amount_minor=400)
    assert (await till.order(paid)).state == "paid"
    assert {state for state, _ in await till.shop.events()} >= {"quarantined"}
    made = await give(paid)
    assert (made.amount_minor, made.state) == (2100, "succeeded")
    assert await at_stripe(till, paid) == [(2100, "succeeded"), (400, "succeeded")]
    # Every event, the first ones again and those of the refunds: none waits for a person.
    for event in await till.events(paid):
        await till.receive([event, event | {"id": f"{event['id']}_again"}])
    found = await books(pool)
    assert found["orders"] == [(paid.order, "refunded", 2500, 0)]
    assert found["balances"] == []
    with pytest.raises(Conflict, match="went back already"):
        await give(paid)


async def test_what_was_set_aside_and_comes_back_from_the_bank_is_there_again(till, pool, give):
    paid = await set_aside(till, 2000)
    made = await give(paid)
    await till.control(f"refunds/{made.stripe_refund}/fail", reason="declined")
    await till.receive(await till.events(paid))
    assert (await refund.find(pool, made.id)).state == "failed"
    assert (await books(pool))["orders"] == [(paid.order, "paid", 0, 0)]
    assert (await give(paid)).amount_minor == 2500
    assert (await books(pool))["orders"] == [(paid.order, "refunded", 2500, 0)]


@pytest.mark.parametrize(("end", "stands"), [("win", ("paid", 0)), ("lose", ("disputed", 2100))])
async def test_what_was_set_aside_and_disputed_stands_as_the_dispute_ends(till, pool, give, end, stands):
    paid = await set_aside(till, 2000)
    await give(paid, amount_minor=400)
    disputed = await till.dispute(paid, amount=2100)
    await till.receive(await till.events(paid))
    assert ((await till.order(paid)).state, (await till.order(paid)).disputed_minor) == ("disputed", 2100)
    await till.control(f"disputes/{disputed}/{end}")
    await till.receive(await till.events(paid))
    order = await till.order(paid)
    assert (order.state, order.disputed_minor, order.refunded_minor) == (*stands, 400)
    of_dispute = "select count(*) from stripe_event where state = 'quarantined' and type ~ 'dispute'"
    assert await pool.fetchval(of_dispute) == 0
    assert await till.shop.broken_laws() == []


async def test_what_was_set_aside_waits_for_a_person_again_when_its_refund_is_refused(till, pool, give):
    paid = await set_aside(till, 2000)
    waiting = "select count(*) from stripe_event where state = 'quarantined'"
    before = await pool.fetchval(waiting)
    await till.dispute(paid)
    with pytest.raises(PaymentRefused, match="charge_disputed"):
        await give(paid)
    assert ((await till.order(paid)).state, await pool.fetchval(waiting)) == ("paid", before)


async def test_what_somebody_refunds_at_stripe_of_it_waits_for_the_answer_to_ours(till, pool, give):
    paid = await set_aside(till, 2000)
    await till.control("faults", method="POST", path="/v1/refunds", kind="reset_before", times=3)
    made = await give(paid)
    theirs = await till.refund(paid)
    await till.receive(await till.events(paid))
    assert await till.shop.broken_laws() == []
    with pytest.raises(PaymentRefused, match="charge_already_refunded"):
        await ask.ask(pool, till.stripe, made)
    await pool.execute("update stripe_event set retry_at = clock_timestamp()")
    await till.shop.inbox.process_open()
    found = await books(pool)
    assert found["orders"] == [(paid.order, "refunded", 2500, 0)]
    assert {(name, state) for name, state, *_ in found["refunds"]} == {(made.id, "refused"), (theirs, "succeeded")}


async def test_what_went_back_whole_lets_others_have_its_coupon(till, pool, give):
    paid = await set_aside(till, 2000)
    order = await till.order(paid)
    half = read_coupon(CouponTable(code="HALF", percent_off=50, redemptions_max=1), "coupon HALF")
    async with pool.acquire() as connection, connection.transaction():
        await take_coupon(connection, half, order.organization, by=order.created_by, order_id=order.id)
        await connection.execute("update payment_order set coupon = 'HALF'")
    await give(paid, amount_minor=400)
    assert await pool.fetchval("select taken from coupon_count") == 1
    await give(paid)
    assert await pool.fetchval("select taken from coupon_count") == 0
    await books(pool)
