"""A page to subscribe on: one for a wish, whatever Stripe answers, and none for who is subscribed."""

import asyncio
from datetime import UTC, datetime

import pytest

from tallystick.payments.billing import checkout
from tallystick.payments.billing.checkout import Wish, close_superseded, start_plan_checkout
from tallystick.payments.billing.errors import AlreadySubscribed
from tallystick.payments.errors import PaymentPending, PaymentRefused


def _wish(one, plan="growth", **changes):
    fields = {
        "organization": one.organization,
        "price": one.prices[plan],
        "success_url": "https://app.example.com/done",
        "cancel_url": "https://app.example.com/",
        "asked_by": "user_1",
    }
    return Wish(**{**fields, **changes})


async def _start(one, wish):
    return await start_plan_checkout(one.pool, one.stripe, wish, now=datetime.now(UTC))


async def _rows(one):
    rows = await one.pool.fetch("select state, attempts from billing_checkout order by created_at, id")
    return [tuple(row) for row in rows]


async def _session(one):
    page = await one.stripe.v1.checkout.sessions.list_async({"customer": one.customer})
    return [row.to_dict() for row in page.data]


async def test_the_page_names_the_organization_and_what_it_will_have(subscriber):
    await _start(subscriber, _wish(subscriber))
    (session,) = await _session(subscriber)
    row = await subscriber.pool.fetchrow("select id, url, stripe_session from billing_checkout")
    assert (session["id"], session["url"]) == (row["stripe_session"], row["url"])
    assert (session["mode"], session["customer"]) == ("subscription", subscriber.customer)
    assert session["client_reference_id"] == row["id"]
    await subscriber.control(f"checkout/{session['id']}/pay")
    (made,) = await subscriber.at_stripe()
    assert made["metadata"]["organization"] == subscriber.organization
    assert made["metadata"]["plan"] == "growth"


# By the SDK a lost line is tried again. A failure of its own Stripe remembers under the key, and repeats.
@pytest.mark.parametrize(
    ("kind", "times", "attempts"), [("error_500", 1, 3), ("reset_before", 2, 2), ("reset_after", 2, 2)]
)
async def test_where_nobody_knows_whether_there_is_a_page_the_same_wish_goes_on(
    subscriber, control, kind, times, attempts
):
    await control("faults", kind=kind, times=times, path="/v1/checkout/sessions", method="POST")
    for _ in range(attempts - 1):
        with pytest.raises(PaymentPending):
            await _start(subscriber, _wish(subscriber))
    url = await _start(subscriber, _wish(subscriber))
    assert await _start(subscriber, _wish(subscriber)) == url
    assert await _rows(subscriber) == [("open", attempts)]
    assert len(await _session(subscriber)) == 1


async def test_many_who_wish_the_same_at_once_get_one_page(subscriber):
    answers = await asyncio.gather(*(_start(subscriber, _wish(subscriber)) for _ in range(5)), return_exceptions=True)
    pages = {answer for answer in answers if isinstance(answer, str)}
    assert len(pages) == 1
    assert all(isinstance(answer, str | PaymentPending) for answer in answers)
    assert len(await _rows(subscriber)) == 1


async def test_another_wish_is_another_page(subscriber):
    first = await _start(subscriber, _wish(subscriber))
    second = await _start(subscriber, _wish(subscriber, cancel_url="https://app.example.com/elsewhere"))
    assert first != second


async def test_what_stripe_refuses_is_over(subscriber):
    price = subscriber.prices["growth"]
    await subscriber.stripe.v1.prices.update_async(price, {"active": False})
    try:
        with pytest.raises(PaymentRefused):
            await _start(subscriber, _wish(subscriber))
    finally:
        await subscriber.stripe.v1.prices.update_async(price, {"active": True})
    assert await _rows(subscriber) == [("failed", 1)]
    await _start(subscriber, _wish(subscriber))
    assert await _rows(subscriber) == [("failed", 1), ("open", 1)]


async def test_the_first_subscription_is_tried_first_and_no_later_one(subscriber):
    await subscriber.subscribe("tried")
    (first,) = await subscriber.at_stripe()
    assert first["status"] == "trialing"
    await subscriber.hear()
    found = await subscriber.subscription()
    assert (found.status, found.anchor) == ("trialing", found.trial_ends_at)
    assert found.trial_ends_at.timestamp() == first["trial_end"]
    await subscriber.stripe.v1.subscriptions.cancel_async(first["id"])
    await subscriber.hear()
    await subscriber.subscribe("tried")
    newest = await subscriber.newest()
    (second,) = [row for row in await subscriber.at_stripe() if row["id"] == newest]
    assert second["status"] == "active"


async def test_once_one_page_led_to_a_subscription_the_others_are_closed(subscriber):
    await _start(subscriber, _wish(subscriber, "starter"))
    # A page of which nobody knows whether it is there.
    await subscriber.control("faults", kind="error_500", times=1, path="/v1/checkout/sessions", method="POST")
    with pytest.raises(PaymentPending):
        await _start(subscriber, _wish(subscriber, "tried"))
    await subscriber.subscribe("growth")
    await subscriber.hear()
    assert sorted(await _rows(subscriber)) == [("completed", 1), ("expired", 1), ("superseded", 1)]
    assert await close_superseded(subscriber.pool, subscriber.stripe) == 1
    assert sorted({session["status"] for session in await _session(subscriber)}) == ["complete", "expired"]
    assert await close_superseded(subscriber.pool, subscriber.stripe) == 0
    await subscriber.hear()
    assert sorted(await _rows(subscriber)) == [("completed", 1), ("expired", 1), ("expired", 1)]
    with pytest.raises(AlreadySubscribed):
        await _start(subscriber, _wish(subscriber))


async def test_a_page_opened_after_a_subscription_ended_is_not_closed_by_its_late_event(subscriber):
    first = await subscriber.subscribe("growth")
    told = await subscriber.new_events()
    await subscriber.stripe.v1.subscriptions.cancel_async(first)
    await subscriber.bring_up_to_date()
    page = await _start(subscriber, _wish(subscriber, "starter"))
    await subscriber.hear(told)
    assert sorted(await _rows(subscriber)) == [("completed", 1), ("open", 1)]
    assert await _start(subscriber, _wish(subscriber, "starter")) == page


async def test_a_page_that_comes_too_late_is_closed_again(subscriber, monkeypatch):
    """Between the question and its answer another page led to a subscription."""
    asked = checkout.create_plan_checkout

    async def slow(*arguments, **options):
        session = await asked(*arguments, **options)
        if arguments[1].plan == "starter":
            await subscriber.subscribe("growth")
            await subscriber.hear()
        return session

    monkeypatch.setattr(checkout, "create_plan_checkout", slow)
    with pytest.raises(AlreadySubscribed):
        await _start(subscriber, _wish(subscriber, "starter"))
    assert sorted(await _rows(subscriber)) == [("completed", 1), ("superseded", 1)]
    assert await close_superseded(subscriber.pool, subscriber.stripe) == 1


async def test_a_page_that_nobody_used_expires(subscriber):
    session = await subscriber.checkout("growth")
    await subscriber.control(f"checkout/{session}/expire")
    await subscriber.hear()
    assert await _rows(subscriber) == [("expired", 1)]
    assert await subscriber.subscription() is None
