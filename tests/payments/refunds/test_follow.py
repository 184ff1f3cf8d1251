"""What goes back of payments, by itself: what each course does to the books."""

import pytest

from tallystick.base.ids import new_id
from tallystick.payments.debts.collect import collect_due
from tallystick.payments.orders.grant import grant
from tests.payments.refunds.till import CENT, Paid, books


async def told(till, *paid):
    await till.receive(await till.events(*paid))


async def test_a_refund_takes_back_what_its_payment_brought(till, pool):
    paid = await till.buy()
    await till.refund(paid)
    await told(till, paid)
    assert await till.shop.balance() == 0
    found = await books(pool)
    assert found["orders"] == [(paid.order, "refunded", 2500, 0)]
    assert (found["balances"], found["lots"], found["owed"]) == ([], [], [(None,)])


async def test_one_in_parts_takes_a_gift_in_proportion_and_the_last_part_all_that_is_left(till, pool):
    paid = await till.buy(1000, credits_=13 * 10**9 + 1)
    for part in (333, 333, 334):
        await till.refund(paid, part)
        await told(till, paid)
    found = await books(pool)
    assert (found["balances"], found["lots"]) == ([], [])
    assert sorted(row[1:3] for row in found["taken"]) == [(333, 333 * CENT), (333, 333 * CENT), (334, 334 * CENT)]


async def test_what_was_spent_is_owed_and_paid_by_the_next_purchase(till, pool):
    paid = await till.buy()
    await till.spend(20 * 10**9)
    await till.dispute(paid)
    await told(till, paid)
    found = await books(pool)
    assert found["owed"] == [(20 * 10**9,)]
    assert found["held back"] == [("freeze",)]
    assert await till.shop.balance() == 0
    await till.buy(3000)
    found = await books(pool)
    assert (found["owed"], found["held back"]) == ([(0,)], [])
    assert await till.shop.balance() == 10 * 10**9


async def test_a_won_dispute_gives_back_what_was_taken_and_collected(till, pool):
    paid = await till.buy()
    await till.spend(20 * 10**9)
    dispute = await till.dispute(paid)
    await told(till, paid)
    await till.buy(3000)
    await till.control(f"disputes/{dispute}/win")
    await told(till, paid)
    found = await books(pool)
    assert (found["owed"], found["held back"], found["taken"]) == ([(0,)], [], [])
    assert await till.shop.balance() == (25 - 20 + 30) * 10**9
    assert {kind for kind, _ in found["balances"]} == {"customer", "revenue", "stripe_clearing"}
    assert (await till.order(paid)).state == "credited"


async def test_a_refund_that_fails_puts_the_credits_back_into_their_lot(till, pool):
    paid = await till.buy()
    refund = await till.refund(paid, 1000)
    await told(till, paid)
    await till.spend(5 * 10**9)
    await till.control(f"refunds/{refund}/fail")
    await told(till, paid)
    found = await books(pool)
    assert found["lots"] == [("purchased", 20 * 10**9)]
    assert found["orders"] == [(paid.order, "credited", 0, 0)]


async def test_an_inquiry_moves_nothing_until_it_becomes_a_dispute(till, pool):
    paid = await till.buy()
    dispute = await till.dispute(paid, inquiry=True)
    await told(till, paid)
    assert (await till.shop.balance(), (await till.order(paid)).state) == (25 * 10**9, "credited")
    await till.control(f"disputes/{dispute}/escalate")
    await told(till, paid)
    assert (await till.shop.balance(), (await till.order(paid)).state) == (0, "disputed")
    assert (await books(pool))["disputes"] == [(dispute, "needs_response", 2500, 1, 0)]


async def test_what_open_holds_have_set_aside_is_not_taken_but_owed_until_they_end(till, pool):
    paid = await till.buy()
    async with till.lanes() as lanes:
        hold = new_id()
        await lanes.reserve(hold, till.shop.buyer.account, 10 * 10**9, expires_in_s=600)
        await till.refund(paid)
        await told(till, paid)
        found = await books(pool)
        assert (await till.shop.balance(), found["owed"]) == (10 * 10**9, [(10 * 10**9,)])
        await lanes.release(hold, till.shop.buyer.account)
    await collect_due(pool)
    assert (await till.shop.balance(), (await books(pool))["owed"]) == (0, [(0,)])


async def test_a_payment_that_nobody_told_of_is_credited_before_it_is_refunded(till, pool):
    paid = await till.pay()
    await till.refund(paid, 1000)
    [refunded] = [event for event in await till.events(paid) if event["type"] == "charge.refunded"]
    await till.receive([refunded])
    found = await books(pool)
    assert (await till.shop.balance(), found["orders"]) == (15 * 10**9, [(paid.order, "credited", 1000, 0)])


async def test_what_else_is_sold_through_the_same_stripe_account_is_left_alone(till, pool):
    intent = await till.stripe.v1.payment_intents.create_async(
        {"amount": 900, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )
    await till.stripe.v1.refunds.create_async({"payment_intent": intent.id})
    await till.receive(await till.events(Paid("", intent.id, intent.latest_charge)))
    assert {state for state, _ in await till.shop.events()} == {"ignored"}
    assert (await books(pool))["refunds"] == []


@pytest.mark.parametrize(
    ("about", "state"),
    [({"payment_intent": None}, "ignored"), ({"payment_intent": 7}, "quarantined"), (None, "quarantined")],
)
async def test_an_event_about_no_payment_waits_for_nobody(till, about, state):
    event = {"id": "evt_odd", "type": "charge.refunded", "livemode": False, "data": {"object": about}}
    await till.receive([event])
    assert [found for found, _ in await till.shop.events()] == [state]


async def test_who_disputes_in_vain_is_told_what_is_owed_and_how_to_pay_it(till, pool):
    paid = await till.buy()
    await till.spend(1)
    await till.dispute(paid)
    await told(till, paid)
    document = await pool.fetchrow(
        "select document ->> 'access' as access, document ->> 'access_reason' as reason from constraints"
    )
    assert document["access"] == "false"
    assert "Buy credits to send requests again" in document["reason"]
    types = [row["type"] for row in await pool.fetch("select type from notice order by seq")]
    assert types[-1] == "order.disputed"
    acts = [row["act"] for row in await pool.fetch("select act from audit_event where done_by = 'stripe' order by seq")]
    assert {"dispute.needs_response", "order.disputed"} <= {*acts}


async def test_other_credits_pay_a_debt_too_and_the_oldest_first(till, pool):
    bought = [await till.buy(1000) for _ in range(2)]
    await till.spend(20 * 10**9)
    for paid in bought:
        await till.dispute(paid)
        await told(till, paid)
    await grant(pool, till.shop.buyer.account, 15 * 10**9, operation=new_id(), source="operator:ada")
    assert await collect_due(pool) == 1
    assert await collect_due(pool) == 0
    assert [row["open"] for row in await pool.fetch("select open from debt order by began_at")] == [0, 5 * 10**9]
    assert (await books(pool))["held back"] == [("freeze",)]


async def test_a_second_payment_of_an_order_goes_back_without_touching_it(till, pool):
    paid = await till.buy()
    order = await till.order(paid)
    second = await till.stripe.v1.payment_intents.create_async(
        {
            "amount": 2500,
            "currency": "usd",
            "customer": till.shop.customer,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "metadata": {"order_id": order.id, "organization": order.organization, "user_id": order.created_by},
        }
    )
    twice = Paid(order.id, second.id, second.latest_charge)
    await told(till, twice)
    await till.refund(twice)
    await told(till, twice)
    assert (await till.shop.balance(), (await till.order(paid)).state) == (25 * 10**9, "credited")
    assert await till.shop.broken_laws() == []
    assert await pool.fetchval("select count(*) from refund") == 0


async def test_what_a_bank_takes_beyond_the_payment_is_owed(till, pool):
    paid = await till.buy()
    await till.refund(paid, 1000)
    await told(till, paid)
    dispute = await till.dispute(paid, amount=2500)
    await told(till, paid)
    assert {state for state, _ in await till.shop.events()} == {"processed", "ignored"}
    order = await till.order(paid)
    assert (order.state, order.refunded_minor, order.disputed_minor) == ("disputed", 1000, 1500)
    assert await till.shop.balance() == 0
    assert await pool.fetchval("select open from debt") == 1000 * CENT
    assert await till.shop.broken_laws() == []
    await till.control(f"disputes/{dispute}/win")
    await told(till, paid)
    assert await till.shop.balance() == 1500 * CENT
    assert await pool.fetchval("select sum(open) from debt") == 0
    types = [row["type"] for row in await pool.fetch("select type from notice order by seq")]
    assert types[-2:] == ["order.disputed", "order.restored"]
    assert await till.shop.broken_laws() == []


async def test_a_refund_that_fails_leaves_room_for_what_a_bank_took_beyond_the_payment(till, pool):
    paid = await till.buy()
    refund = await till.refund(paid, 1000)
    await told(till, paid)
    await till.dispute(paid, amount=2500)
    await told(till, paid)
    await till.control(f"refunds/{refund}/fail")
    await told(till, paid)
    order = await till.order(paid)
    assert (order.refunded_minor, order.disputed_minor) == (0, 2500)
    assert await till.shop.balance() == 0
    assert await pool.fetchval("select sum(open) from debt") == 0
    assert await pool.fetchval("select sum(excess) from clawback where reversed_at is null") == 0
    assert await till.shop.broken_laws() == []
