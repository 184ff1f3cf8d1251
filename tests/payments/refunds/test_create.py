"""An operator's refund: what it takes, what Stripe answers, and what nobody knows yet."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from stripe import InvalidRequestError

from tallystick.base.errors import Conflict, InvalidInput, NotFound
from tallystick.payments.errors import PaymentPending, PaymentRefused
from tallystick.payments.refunds import ask, refund
from tallystick.payments.refunds.create import create
from tests.payments.refunds.till import at_stripe, books


async def test_without_an_amount_all_that_is_unspent_goes_back(till, pool, give):
    paid = await till.buy(2500, credits_=30 * 10**9)
    await till.spend(12 * 10**9)
    made = await give(paid)
    assert (made.amount_minor, made.state, made.asked_by) == (1500, "succeeded", "operator:ada")
    assert await at_stripe(till, paid) == [(1500, "succeeded")]
    found = await books(pool)
    assert (await till.shop.balance(), found["owed"]) == (0, [(None,)])
    await till.receive(await till.events(paid))
    assert await books(pool) == found


async def test_beyond_what_is_unspent_only_when_it_is_said(till, pool, give):
    paid = await till.buy()
    await till.spend(20 * 10**9)
    with pytest.raises(Conflict, match=r"Only 5.00 USD of this order is unspent"):
        await give(paid, amount_minor=1000)
    with pytest.raises(Conflict, match=r"25.00 USD is left, not 25.01"):
        await give(paid, amount_minor=2501, beyond_unspent=True)
    assert await at_stripe(till, paid) == []
    await give(paid, amount_minor=1000, beyond_unspent=True)
    found = await books(pool)
    assert (found["owed"], found["held back"]) == ([(5 * 10**9,)], [])
    with pytest.raises(Conflict, match="--beyond-unspent"):
        await give(paid)


async def test_refunds_at_once_never_exceed_the_payment(till, pool, give):
    paid = await till.buy()
    asked = [give(paid, amount_minor=1000) for _ in range(8)]
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(one).__name__ for one in ended) == ["Conflict"] * 6 + ["Refund"] * 2
    assert await at_stripe(till, paid) == [(1000, "succeeded")] * 2
    assert (await books(pool))["orders"] == [(paid.order, "credited", 2000, 0)]


async def test_what_stripe_refuses_did_not_happen(till, pool, give):
    paid = await till.buy()
    await till.refund(paid)
    with pytest.raises(PaymentRefused, match="charge_already_refunded"):
        await give(paid)
    assert await till.shop.balance() == 25 * 10**9
    row = await pool.fetchrow("select state, failure from refund")
    assert tuple(row) == ("refused", "charge_already_refunded")
    await till.receive(await till.events(paid))
    assert (await till.shop.balance(), (await till.order(paid)).state) == (0, "refunded")
    await books(pool)


@pytest.mark.parametrize("kind", ["error_500", "reset_after", "reset_before"])
async def test_an_unknown_answer_is_asked_for_again_under_the_same_key(till, pool, give, kind):
    paid = await till.buy()
    await till.control("faults", method="POST", path="/v1/refunds", kind=kind, times=2)
    made = await give(paid, amount_minor=1000)
    assert (made.state, await till.shop.balance()) == ("asked", 15 * 10**9)
    assert await ask.ask_open(pool, till.stripe) == 0, "who made it is still asking"
    await pool.execute("update refund set created_at = created_at - interval '2 minutes'")
    assert await ask.ask_open(pool, till.stripe) + await ask.ask_open(pool, till.stripe) == (kind != "error_500")
    await ask_later(till, pool, made)
    assert (await refund.find(pool, made.id)).state == "succeeded"
    assert await at_stripe(till, paid) == [(1000, "succeeded")]
    await till.receive(await till.events(paid))
    assert (await books(pool))["orders"] == [(paid.order, "credited", 1000, 0)]


async def ask_later(till, pool, made):
    """Stripe remembers a failure under its key; past a day there is another key, and a look whether it was made."""
    current = await refund.find(pool, made.id)
    if current.state == "asked":
        await pool.execute("update refund set created_at = created_at - interval '24 hours'")
        await ask.ask(pool, till.stripe, await refund.find(pool, made.id))


async def failed(till, pool, give, minutes, **more):
    """A refund that Stripe failed to make, and remembers that of its key, some minutes ago."""
    paid = await till.buy()
    await till.control("faults", method="POST", path="/v1/refunds", kind="error_500")
    made = await give(paid, **more)
    assert (made.state, await at_stripe(till, paid)) == ("asked", [])
    await pool.execute("update refund set created_at = created_at - make_interval(mins => $1)", minutes)
    return paid, await refund.find(pool, made.id)


@pytest.mark.parametrize("amount", [1251, 2500])
async def test_one_that_fits_only_once_gets_another_key_after_minutes(till, pool, give, amount):
    paid, made = await failed(till, pool, give, 9, amount_minor=amount)
    assert await ask.ask_open(pool, till.stripe) == 0, "under its first key"
    await pool.execute("update refund set created_at = created_at - interval '1 minute', retry_at = clock_timestamp()")
    assert await ask.ask_open(pool, till.stripe) == 1
    assert (await refund.find(pool, made.id)).state == "succeeded"
    assert await at_stripe(till, paid) == [(amount, "succeeded")]
    # What Stripe makes of the first one after all finds no room.
    with pytest.raises(InvalidRequestError):
        await till.stripe.v1.refunds.create_async({"payment_intent": paid.payment_intent, "amount": amount})
    await till.receive(await till.events(paid))
    await books(pool)


async def test_one_that_could_be_made_twice_waits_for_its_key(till, pool, give):
    paid, made = await failed(till, pool, give, 22 * 60, amount_minor=1250)
    assert await ask.ask_open(pool, till.stripe) == 0
    assert await at_stripe(till, paid) == []
    # Who knows that Stripe will not make it makes it under our id, and it is ours.
    await till.stripe.v1.refunds.create_async(
        {"payment_intent": paid.payment_intent, "amount": 1250, "metadata": {"refund_id": made.id}}
    )
    await till.receive(await till.events(paid))
    assert (await refund.find(pool, made.id)).state == "succeeded"
    assert await till.shop.balance() == 1250 * 10**7
    await books(pool)


async def test_as_its_key_runs_out_nobody_asks_under_it_any_more(till, pool, give):
    paid = await till.buy()
    await till.control("faults", method="POST", path="/v1/refunds", kind="reset_before", times=3)
    made = await give(paid, amount_minor=1000)
    await pool.execute("update refund set created_at = created_at - interval '24 hours'")
    made = await refund.find(pool, made.id)
    runs_out = made.created_at + timedelta(hours=23)
    with pytest.raises(PaymentPending, match="runs out"):
        await ask.ask(pool, till.stripe, made, now=runs_out - timedelta(seconds=1))
    assert await at_stripe(till, paid) == [], "nobody asks under the old key while another may under the next"
    await ask.ask(pool, till.stripe, made, now=runs_out)
    assert await at_stripe(till, paid) == [(1000, "succeeded")]
    assert (await refund.find(pool, made.id)).state == "succeeded"


async def test_one_that_stripe_makes_later_after_all_is_found(till, pool, give):
    paid, made = await failed(till, pool, give, 30)
    await till.stripe.v1.refunds.create_async(
        {"payment_intent": paid.payment_intent, "amount": 2500, "metadata": {"refund_id": made.id}}
    )
    await ask.ask(pool, till.stripe, made)
    assert (await refund.find(pool, made.id)).state == "succeeded"
    assert await at_stripe(till, paid) == [(2500, "succeeded")]
    await till.receive(await till.events(paid))
    await books(pool)


async def test_asked_for_at_once_under_many_keys_it_is_made_once(till, pool, give):
    paid, made = await failed(till, pool, give, 120)
    moments = [made.created_at + timedelta(minutes=minutes) for minutes in (11, 25, 35, 45, 55, 65)]
    await asyncio.gather(*(ask.ask(pool, till.stripe, made, now=moment) for moment in moments))
    assert (await refund.find(pool, made.id)).state == "succeeded"
    assert await at_stripe(till, paid) == [(2500, "succeeded")]
    await till.receive(await till.events(paid))
    await books(pool)


async def asked_and_made_by_hand(till, give, *, amount_minor, by_hand_minor=None):
    """A refund of ours that never came to Stripe, where somebody makes one with its id, of as much where nothing else
    is said."""
    paid = await till.buy()
    await till.control("faults", method="POST", path="/v1/refunds", kind="reset_before", times=3)
    made = await give(paid, amount_minor=amount_minor)
    assert (made.state, await at_stripe(till, paid)) == ("asked", [])
    amount = by_hand_minor or amount_minor
    theirs = await till.stripe.v1.refunds.create_async(
        {"payment_intent": paid.payment_intent, "amount": amount, "metadata": {"refund_id": made.id}}
    )
    return paid, made, theirs


async def test_one_that_another_key_made_is_not_refused_under_the_first(till, pool, give):
    paid, made, _ = await asked_and_made_by_hand(till, give, amount_minor=2500)
    await ask.ask(pool, till.stripe, made, now=made.created_at)
    assert (await refund.find(pool, made.id)).state == "succeeded"
    await till.receive(await till.events(paid))
    await books(pool)


async def test_one_that_was_made_by_hand_under_our_id_is_found_before_its_key_is_used_again(till, pool, give):
    """The first asking never came to Stripe, nor did its event come to us: the key alone would make a second one."""
    paid, made, _ = await asked_and_made_by_hand(till, give, amount_minor=1000)
    await pool.execute("update refund set created_at = created_at - interval '2 minutes'")
    assert await ask.ask_open(pool, till.stripe) == 1
    assert await at_stripe(till, paid) == [(1000, "succeeded")]
    assert (await refund.find(pool, made.id)).state == "succeeded"
    await till.receive(await till.events(paid))
    await books(pool)


async def test_one_of_another_amount_under_our_id_is_not_ours_and_lets_nothing_be_asked_for(till, pool, give):
    paid, made, theirs = await asked_and_made_by_hand(till, give, amount_minor=1000, by_hand_minor=900)
    await pool.execute("update refund set created_at = created_at - interval '2 minutes'")
    assert await ask.ask_open(pool, till.stripe) == 0
    assert (await refund.find(pool, made.id)).state == "asked"
    assert await at_stripe(till, paid) == [(900, "succeeded")]
    await till.stripe.v1.refunds.update_async(theirs.id, {"metadata": {"refund_id": ""}})
    await ask.ask(pool, till.stripe, await refund.find(pool, made.id))
    assert sorted(await at_stripe(till, paid)) == [(900, "succeeded"), (1000, "succeeded")]
    await till.receive(await till.events(paid))
    found = await books(pool)
    assert found["orders"] == [(paid.order, "credited", 1900, 0)]


async def test_one_that_was_made_is_found_when_its_key_is_too_old(till, pool, give):
    paid = await till.buy()
    await till.control("faults", method="POST", path="/v1/refunds", kind="reset_after", times=2)
    made = await give(paid)
    assert made.state == "asked"
    await pool.execute("update refund set created_at = created_at - interval '24 hours'")
    await ask.ask(pool, till.stripe, await refund.find(pool, made.id), now=datetime.now(UTC) + timedelta(days=3))
    assert await at_stripe(till, paid) == [(2500, "succeeded")]
    assert (await refund.find(pool, made.id)).state == "succeeded"
    await books(pool)


async def test_an_event_may_tell_of_it_before_the_answer_does(till, pool, give):
    paid = await till.buy()
    await till.control("faults", method="POST", path="/v1/refunds", kind="reset_after", times=2)
    made = await give(paid)
    await till.receive(await till.events(paid))
    assert (await refund.find(pool, made.id)).state == "succeeded"
    assert await pool.fetchval("select count(*) from refund") == 1
    await books(pool)


async def test_what_somebody_refunds_at_stripe_waits_for_the_answer_to_ours(till, pool, give):
    paid = await till.buy()
    await till.control("faults", method="POST", path="/v1/refunds", kind="reset_before", times=2)
    made = await give(paid, amount_minor=1000)
    theirs = await till.refund(paid)
    await till.receive(await till.events(paid))
    assert "received" in {state for state, _ in await till.shop.events()}
    with pytest.raises(PaymentRefused):
        await ask.ask(pool, till.stripe, made)
    await pool.execute("update stripe_event set retry_at = clock_timestamp()")
    await till.shop.inbox.process_open()
    found = await books(pool)
    assert (await till.shop.balance(), found["orders"]) == (0, [(paid.order, "refunded", 2500, 0)])
    assert {(name, state) for name, state, *_ in found["refunds"]} == {(made.id, "refused"), (theirs, "succeeded")}


async def test_what_is_disputed_is_not_refunded(till, give):
    paid = await till.buy()
    await till.dispute(paid)
    await till.receive(await till.events(paid))
    with pytest.raises(Conflict, match="disputed"):
        await give(paid)


async def test_what_there_is_not_or_is_not_paid_is_not_refunded(till, pool, give):
    order = await till.shop.order()
    with pytest.raises(Conflict, match="nothing was paid"):
        await create(pool, till.stripe, order.id, reason="x", by="operator:ada")
    with pytest.raises(NotFound):
        await create(pool, till.stripe, "ord_none", reason="x", by="operator:ada")
    with pytest.raises(InvalidInput, match="reason"):
        await create(pool, till.stripe, order.id, reason=" ", by="operator:ada")


async def test_the_same_request_is_the_same_refund_however_often_and_at_once(till, pool, give):
    paid = await till.buy(2500)
    made = await asyncio.gather(*(give(paid, amount_minor=500, request_id="ticket 12") for _ in range(4)))
    assert {one.id for one in made} == {made[0].id}
    assert (await give(paid, request_id="ticket 12")).id == made[0].id
    assert await at_stripe(till, paid) == [(500, "succeeded")]
    with pytest.raises(Conflict, match=r"used for a refund of 5\.00 USD"):
        await give(paid, amount_minor=600, request_id="ticket 12")
    with pytest.raises(InvalidInput):
        await give(paid, amount_minor=600, request_id="")
    await give(paid, amount_minor=500, request_id="ticket 13")
    assert await at_stripe(till, paid) == [(500, "succeeded")] * 2
    await books(pool)
