import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tallystick.base.errors import Conflict
from tallystick.ledger.account import PlatformAccount, beside
from tallystick.ledger.lot import add_lot
from tallystick.ledger.post import Transfer, post
from tallystick.payments.orders.checkout import start_checkout
from tallystick.payments.orders.purchase_terms import Purchase, PurchaseTerms
from tallystick.payments.reconcile.foreign import set_apart
from tallystick.payments.reconcile.reconcile import reconcile, reconcile_daily, reconcile_newest
from tallystick.payments.refunds import ask
from tallystick.payments.refunds.create import create as refund


async def run(till, since=None):
    return await reconcile(till.shop.pool, till.stripe, till.shop.inbox, since=since)


async def balances(pool):
    rows = await pool.fetch(
        "select kind, sum(posted)::bigint as posted from ledger_account group by kind having sum(posted) <> 0"
    )
    return {row["kind"]: row["posted"] / 10**7 for row in rows}


async def test_nothing_sold_is_nothing_to_explain(till):
    found = await run(till)
    assert (found.differences, found.mended, found.movements, found.held_minor) == ([], [], 0, 0)


async def test_a_payment_whose_webhooks_never_came_is_credited_and_its_fee_booked(till):
    await till.pay(2500)
    found = await run(till)
    assert found.differences == []
    assert await balances(till.shop.pool) == {"customer": 2500, "stripe_clearing": -2397, "stripe_fee": -103}
    assert found.held_minor == 2397
    again = await run(till)
    assert (again.differences, again.mended, again.movements) == ([], [], 0)
    assert await till.shop.broken_laws() == []


async def test_refunds_disputes_and_payouts_bring_the_clearing_account_to_zero(till, control):
    first, second, third, _ = [await till.pay(minor) for minor in (2500, 10_000, 500, 9000)]
    await till.refund(first, 1000)
    lost = await till.dispute(second)
    await control(f"disputes/{lost}/lose")
    won = await till.dispute(third)
    await control(f"disputes/{won}/win")
    found = await run(till)
    assert found.differences == []
    await control("clock", advance_s=14 * 24 * 3600)
    await control("payouts")
    found = await run(till)
    assert (found.differences, found.held_minor) == ([], 0)
    after = await balances(till.shop.pool)
    assert "stripe_clearing" not in after
    assert after["customer"] == 2500 - 1000 + 500 + 9000
    assert after["dispute_fee"] < 0
    assert sum(after.values()) == 0
    assert await till.shop.broken_laws() == []


async def test_what_another_business_sells_in_the_same_account_is_set_apart(till):
    other = await till.stripe.v1.customers.create_async({"email": "somebody@example.com"})
    method = await till.stripe.v1.payment_methods.attach_async("pm_card_visa", {"customer": other.id})
    await till.stripe.v1.payment_intents.create_async(
        {"amount": 700, "currency": "usd", "customer": other.id, "payment_method": method.id, "confirm": True,
         "off_session": True}
    )  # fmt: skip
    await till.buy(2500)
    found = await run(till)
    assert found.differences == []
    after = await balances(till.shop.pool)
    assert after["stripe_other"] == 700 - 50
    assert after["stripe_clearing"] == -(2397 + 650)


async def test_money_from_a_customer_of_ours_that_no_order_explains_is_a_difference_until_it_is_explained(till):
    method = await till.stripe.v1.payment_methods.attach_async("pm_card_visa", {"customer": till.shop.customer})
    made = await till.stripe.v1.payment_intents.create_async(
        {"amount": 700, "currency": "usd", "customer": till.shop.customer, "payment_method": method.id,
         "confirm": True, "off_session": True}
    )  # fmt: skip
    found = await run(till)
    assert [(one.subject, one.at_stripe_minor, one.booked_minor) for one in found.differences] == [
        (f"payment {made.id}", 650, 0)
    ]
    assert "nothing here was paid by it" in found.differences[0].cause
    await set_apart(till.shop.pool, made.id, reason="an advance for the workshop", by="operator:ada")
    assert (await run(till)).differences == []
    # What becomes of it later is no difference, either.
    await till.stripe.v1.refunds.create_async({"payment_intent": made.id})
    assert (await run(till)).differences == []
    assert await balances(till.shop.pool) == {"stripe_other": -50, "stripe_clearing": 50}


async def test_what_paid_an_order_cannot_be_set_apart(till):
    paid = await till.buy(2500)
    with pytest.raises(Conflict):
        await set_apart(till.shop.pool, paid.payment_intent, reason="not ours", by="operator:ada")


async def test_a_payment_that_does_not_match_its_order_is_listed_with_the_reason(till):
    paid = await till.pay(2500)
    await till.shop.pool.execute("update payment_order set amount_minor = 2600, credits = 26000000000")
    found = await run(till)
    named = {one.subject: one for one in found.differences}
    difference = named[f"order {paid.order}"]
    assert (difference.at_stripe_minor, difference.booked_minor) == (2500, 0)
    assert "amount" in difference.cause


async def test_what_was_set_aside_and_all_given_back_is_explained(till, control):
    paid = await till.pay(2500)
    await till.shop.pool.execute("update payment_order set amount_minor = 2000, credits = 20000000000")
    before = await run(till)
    assert {one.subject.partition(" ")[0] for one in before.differences} == {"order", "event"}
    await refund(till.shop.pool, till.stripe, paid.order, reason="too much came", by="operator:ada")
    found = await run(till)
    assert (found.differences, found.waiting, found.held_minor) == ([], [], -103)
    assert await balances(till.shop.pool) == {"stripe_fee": -103, "stripe_clearing": 103}
    assert await till.shop.broken_laws() == []
    # The next sale pays the fee, and with the payout nothing is left.
    await till.buy(2500)
    await control("clock", advance_s=14 * 24 * 3600)
    await control("payouts")
    found = await run(till)
    assert (found.differences, found.held_minor) == ([], 0)
    assert "stripe_clearing" not in await balances(till.shop.pool)


async def test_a_posting_that_stripe_knows_nothing_of_is_a_difference(till):
    order = await till.shop.order()
    await till.shop.receive(till.shop.event("payment_intent.succeeded", order))
    found = await run(till)
    assert [(one.subject, one.at_stripe_minor, one.booked_minor) for one in found.differences] == [
        (f"order {order.id}", 0, 2500)
    ]


async def test_during_traffic_and_twice_at_once_nothing_is_booked_twice(till):
    await asyncio.gather(*(till.pay(500 + number) for number in range(8)))
    both = await asyncio.gather(run(till), run(till), *(till.pay(900 + number) for number in range(4)))
    found = await run(till)
    assert found.differences == []
    assert sum(one.movements for one in (both[0], both[1], found)) == 12
    assert await till.shop.broken_laws() == []
    fees = await till.shop.pool.fetchval("select count(*) from operation where kind = 'fee'")
    assert fees == 12


async def test_the_newest_run_looks_back_a_little_and_the_daily_one_runs_once_a_day(till):
    await till.buy(2500)
    before = datetime.now(UTC)
    assert (await reconcile_newest(till.shop.pool, till.stripe, till.shop.inbox)).since is None
    second = await reconcile_newest(till.shop.pool, till.stripe, till.shop.inbox)
    assert timedelta(days=2, hours=23) < before - second.since < timedelta(days=3, minutes=5)
    runs = await till.shop.pool.fetchval("select count(*) from reconciliation")
    await reconcile_daily(till.shop.pool, till.stripe, till.shop.inbox)
    assert await till.shop.pool.fetchval("select count(*) from reconciliation") == runs


async def test_a_debit_that_its_bank_refuses_days_later_is_no_difference(till):
    """Its money seems to come and goes again, fee and all, before anything here was paid by it."""
    purchase = Purchase(amount_minor=2500, currency="usd", credits=2500 * 10**7)
    started = await start_checkout(
        till.shop.pool, till.stripe, PurchaseTerms(), till.shop.buyer, purchase, request_id=None, now=datetime.now(UTC)
    )
    await till.control(f"checkout/{started.session_id}/pay", number="000222222227")
    began = await run(till)
    assert began.differences == []
    [waiting] = began.waiting
    assert (waiting.subject[:11], waiting.at_stripe_minor, waiting.booked_minor) == ("payment pi_", 2480, 0)
    assert waiting.waits_for.startswith("the bank of a debit")
    assert timedelta() <= datetime.now(UTC) - waiting.since < timedelta(minutes=5)
    # It is looked at again, however far the next run looks back.
    later = await run(till, since=datetime.now(UTC) + timedelta(minutes=1))
    assert (later.differences, later.waiting) == ([], [waiting])
    await till.control(f"checkout/{started.session_id}/settle", succeeded=False)
    found = await run(till)
    assert (found.differences, found.waiting, found.held_minor) == ([], [], 0)
    assert await balances(till.shop.pool) == {}
    assert await till.shop.broken_laws() == []


async def test_a_refused_debit_alone_is_no_settlement_in_another_currency(till):
    """Of an installation that has not sold anything yet."""
    session = await till.stripe.v1.checkout.sessions.create_async(
        {"mode": "payment", "customer": till.shop.customer, "success_url": "https://other.example",
         "line_items": [{"quantity": 1, "price_data": {
             "currency": "usd", "unit_amount": 700, "product_data": {"name": "a thing"}}}]}
    )  # fmt: skip
    await till.control(f"checkout/{session.id}/pay", number="000222222227")
    await till.control(f"checkout/{session.id}/settle", succeeded=False)
    found = await run(till)
    assert (found.differences, found.waiting, found.held_minor) == ([], [], 0)


async def pay_by_debit(till):
    purchase = Purchase(amount_minor=2500, currency="usd", credits=2500 * 10**7)
    started = await start_checkout(
        till.shop.pool, till.stripe, PurchaseTerms(), till.shop.buyer, purchase, request_id=None, now=datetime.now(UTC)
    )
    await till.control(f"checkout/{started.session_id}/pay", number="000222222227")
    return started


async def test_a_debit_that_its_bank_takes_is_credited_and_waits_no_more(till):
    started = await pay_by_debit(till)
    assert len((await run(till)).waiting) == 1
    await till.control(f"checkout/{started.session_id}/settle", succeeded=True)
    found = await run(till)
    assert (found.differences, found.waiting) == ([], [])
    assert await balances(till.shop.pool) == {"customer": 2500, "stripe_clearing": -2480, "stripe_fee": -20}


async def test_a_debit_of_which_nobody_hears_for_three_weeks_is_a_difference_again(till):
    await pay_by_debit(till)
    await run(till)
    await till.shop.pool.execute("update stripe_movement set at = at - interval '22 days'")
    found = await run(till)
    assert found.waiting == []
    [difference] = found.differences
    assert "has not said for 21 days" in difference.cause


async def test_nor_is_one_of_another_business(till):
    other = await till.stripe.v1.customers.create_async({"email": "somebody@example.com"})
    session = await till.stripe.v1.checkout.sessions.create_async(
        {"mode": "payment", "customer": other.id, "success_url": "https://other.example",
         "line_items": [{"quantity": 1, "price_data": {
             "currency": "usd", "unit_amount": 700, "product_data": {"name": "a thing"}}}]}
    )  # fmt: skip
    await till.control(f"checkout/{session.id}/pay", number="000222222227")
    assert (await run(till)).differences == []
    await till.control(f"checkout/{session.id}/settle", succeeded=False)
    found = await run(till)
    assert (found.differences, found.held_minor) == ([], 0)
    assert await balances(till.shop.pool) == {}


async def test_a_refund_whose_answer_is_not_known_keeps_no_other_payment_waiting(till, control):
    paid = await till.buy(2500)
    await control("faults", kind="reset_before", method="POST", path="/v1/refunds", times=100)
    asked = await refund(till.shop.pool, till.stripe, paid.order, reason="asked for", by="operator:ada")
    assert asked.state == "asked"
    await till.dispute(paid)
    missed = await till.pay(1000)
    await run(till)
    assert (await till.order(missed)).state == "credited"


async def test_a_refund_that_stripe_has_not_answered_waits_for_a_day(till, control):
    paid = await till.buy(2500)
    await control("faults", kind="reset_before", method="POST", path="/v1/refunds", times=2)
    asked = await refund(till.shop.pool, till.stripe, paid.order, reason="asked for", by="operator:ada")
    for since in (None, datetime.now(UTC) + timedelta(minutes=1)):
        found = await run(till, since)
        assert found.differences == []
        [waiting] = found.waiting
        assert (waiting.subject, waiting.since) == (f"order {paid.order}", asked.created_at)
        assert (waiting.at_stripe_minor, waiting.booked_minor) == (2500, 0)
    await till.shop.pool.execute("update refund set created_at = created_at - interval '25 hours'")
    found = await run(till)
    assert found.waiting == []
    assert sorted(one.subject for one in found.differences) == [f"order {paid.order}", f"refund {asked.id}"]
    await till.shop.pool.execute("update refund set created_at = created_at + interval '25 hours'")
    await ask.ask(till.shop.pool, till.stripe, asked)
    found = await run(till)
    assert (found.differences, found.waiting) == ([], [])


async def test_a_refund_on_its_way_to_a_bank_and_a_payout_on_its_way_have_moved_already(till, control):
    paid = await till.buy(2500)
    await control("refunds/next", status="pending", then="succeeded", after_s=3600)
    made = await refund(
        till.shop.pool, till.stripe, paid.order, amount_minor=500, reason="asked for", by="operator:ada"
    )
    assert made.state == "pending"
    await control("clock", advance_s=3 * 24 * 3600)
    await control("payouts", arrives_after_s=3 * 24 * 3600)
    found = await run(till)
    assert (found.differences, found.waiting) == ([], [])


async def credited_by_the_version_before(till, paid):
    """All of it out of Stripe's clearing account, the gift too."""
    order = await till.order(paid)
    async with till.shop.pool.acquire() as connection, connection.transaction():
        clearing = await beside(connection, PlatformAccount.STRIPE_CLEARING, order.account)
        transfer = Transfer(debit=clearing, credit=order.account, amount=order.credits)
        operation = order.crediting
        await post(connection, operation=operation, kind="purchase", transfers=[transfer], fingerprint="as before")
        await add_lot(
            connection, id=operation, account=order.account, kind="purchased", amount=order.credits, source=order.source
        )
        await connection.execute(
            "update payment_order set state = 'credited', operation = $2, credited_at = clock_timestamp(),"
            " stripe_payment_intent = $3 where id = $1",
            order.id,
            operation,
            paid.payment_intent,
        )


async def test_what_the_version_before_gave_away_is_no_money_that_stripe_lacks(till):
    paid = await till.pay(1000, credits_=12 * 10**9)
    await credited_by_the_version_before(till, paid)
    assert (await run(till)).differences == []
    await till.refund(paid, 500)
    assert (await run(till)).differences == []
    assert await till.shop.balance() == 6 * 10**9
    await till.refund(paid)
    assert (await run(till)).differences == []
    assert await till.shop.broken_laws() == []


async def test_a_settlement_in_another_currency_is_named(till):
    await till.buy(2500)
    assert (await run(till)).differences == []
    await till.shop.pool.execute("update stripe_movement set currency = 'eur'")
    [found] = (await run(till)).differences
    assert (found.subject, found.cause[:28]) == ("currency eur", "Stripe moved 1 payments of o")
