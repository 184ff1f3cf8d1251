"""What Stripe says becomes of a subscription, becomes of ours."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tallystick.base.errors import Conflict
from tallystick.catalog.publish import apply
from tallystick.constraints.subscriber import Overrides
from tallystick.payments.billing.invoice import invoices
from tallystick.payments.billing.linked import linked
from tallystick.subscriptions.advance import advance
from tallystick.subscriptions.cancel import cancel
from tallystick.subscriptions.change_plan import change_plan
from tallystick.subscriptions.dunning import mark_active, mark_past_due
from tallystick.subscriptions.move import move
from tallystick.subscriptions.override import override
from tallystick.subscriptions.pause import pause, resume
from tallystick.subscriptions.subscribe import subscribe
from tests.payments.billing.subscriber import CATALOG, DAY_S, LONG_AGO

OWN_PRICE = """
[[plan]]
slug = "own"
name = "Priced by hand"
strategy = "flat"
price = 77
stripe_price = "{price}"
"""


async def test_who_paid_on_the_page_is_subscribed_and_the_money_is_in_the_books(subscriber):
    named = await subscriber.subscribe("growth")
    await subscriber.hear()
    found = await subscriber.subscription()
    assert (found.status, found.stripe_subscription, found.stripe_customer) == ("active", named, subscriber.customer)
    document = await subscriber.document()
    assert (document["plan"], document["access"], document["tier"]) == ("growth", True, "pro")
    assert await subscriber.revenue() == (9900, 9900)
    assert await subscriber.quarantined() == []
    assert await subscriber.broken_laws() == []
    (there,) = await subscriber.at_stripe()
    assert found.anchor.timestamp() == there["items"]["data"][0]["current_period_start"]


async def test_a_plan_changed_at_stripe_is_changed_here_and_what_it_cost_is_income(subscriber):
    await subscriber.subscribe("starter")
    await subscriber.hear()
    await subscriber.change_plan("growth")
    await subscriber.hear()
    assert (await subscriber.document())["plan"] == "growth"
    came, at_stripe = await subscriber.revenue()
    assert came == at_stripe
    assert 9800 <= came <= 9900
    assert await subscriber.quarantined() == []


async def test_who_does_not_pay_has_grace_and_is_active_again_when_paid(subscriber):
    await subscriber.subscribe("growth")
    await subscriber.hear()
    await subscriber.card_begins_to_decline()
    await subscriber.control("clock", advance_s=32 * DAY_S)
    await subscriber.hear()
    found, document = await subscriber.subscription(), await subscriber.document()
    assert (found.status, document["status"], document["access"]) == ("past_due", "past_due", True)
    assert found.past_due_since is not None
    assert datetime.fromisoformat(document["access_until"]) == found.grace_ends_at
    assert (found.grace_ends_at - found.past_due_since).days == 10

    await subscriber.pay_by_another_card()
    await subscriber.hear()
    found, document = await subscriber.subscription(), await subscriber.document()
    assert (found.status, found.past_due_since, document["access"]) == ("active", None, True)
    assert document["access_until"] is None
    assert await subscriber.revenue() == (2 * 9900, 2 * 9900)


async def test_an_end_falls_back_to_the_default_plan_and_an_end_to_come_is_known(subscriber):
    named = await subscriber.subscribe("growth")
    await subscriber.stripe.v1.subscriptions.update_async(named, {"cancel_at_period_end": True})
    await subscriber.hear()
    found = await subscriber.subscription()
    (there,) = await subscriber.at_stripe()
    assert found.cancel_at.timestamp() == there["items"]["data"][0]["current_period_end"]
    await subscriber.stripe.v1.subscriptions.update_async(named, {"cancel_at_period_end": False})
    await subscriber.hear()
    assert (await subscriber.subscription()).cancel_at is None

    await subscriber.stripe.v1.subscriptions.cancel_async(named)
    await subscriber.hear()
    assert await subscriber.subscription() is None
    document = await subscriber.document()
    assert (document["plan"], document["status"], document["access"]) == (None, "none", True)


async def test_what_is_no_longer_tried_has_no_access_before_its_grace_is_over(subscriber):
    await subscriber.control("account", after_retries="unpaid")
    try:
        await subscriber.subscribe("growth")
        await subscriber.hear()
        await subscriber.card_begins_to_decline()
        await subscriber.control("clock", advance_s=31 * DAY_S)
        await subscriber.hear()
        assert (await subscriber.document())["access"] is True
        await subscriber.control("clock", advance_s=20 * DAY_S)
        await subscriber.hear()
    finally:
        await subscriber.control("account", after_retries="canceled")
    found, document = await subscriber.subscription(), await subscriber.document()
    assert [row["status"] for row in await subscriber.at_stripe()] == ["unpaid"]
    assert (found.status, found.grace_ends_at, document["access"]) == ("past_due", None, False)
    assert "Pay it" in document["access_reason"]
    assert found.past_due_since is not None

    await subscriber.pay_by_another_card()
    await subscriber.hear()
    assert ((await subscriber.subscription()).status, (await subscriber.document())["access"]) == ("active", True)


async def test_paused_collection_is_a_pause(subscriber):
    await subscriber.subscribe("growth")
    await subscriber.update(pause_collection={"behavior": "void"})
    await subscriber.hear()
    assert ((await subscriber.subscription()).status, (await subscriber.document())["access"]) == ("paused", False)
    await subscriber.update(pause_collection="")
    await subscriber.hear()
    assert ((await subscriber.subscription()).status, (await subscriber.document())["access"]) == ("active", True)


async def test_a_price_that_no_plan_has_is_set_aside_until_one_has_it(subscriber, pool):
    price = await _price_by_hand(subscriber, 7700)
    method = await subscriber.stripe.v1.payment_methods.attach_async("pm_card_visa", {"customer": subscriber.customer})
    await subscriber.stripe.v1.subscriptions.create_async(
        {"customer": subscriber.customer, "items": [{"price": price}], "default_payment_method": method.id}
    )
    await subscriber.hear()
    assert await subscriber.subscription() is None
    assert all(price in reason for reason in await subscriber.quarantined())
    assert len((await linked(pool, livemode=False)).apart) == 1
    assert await subscriber.revenue() == (7700, 7700)  # what a customer of ours paid is ours, whatever it was for

    async with pool.acquire() as connection:
        await apply(connection, CATALOG + OWN_PRICE.format(price=price), now=LONG_AGO + timedelta(days=1))
    await subscriber.bring_up_to_date()
    assert (await subscriber.document())["plan"] == "own"
    assert (await linked(pool, livemode=False)).apart == []


async def test_a_price_that_no_plan_has_changes_no_plan_and_the_end_is_followed_all_the_same(subscriber):
    named = await subscriber.subscribe("growth")
    await subscriber.hear()
    subscriber.prices["odd"] = await _price_by_hand(subscriber, 7700)
    await subscriber.change_plan("odd")
    await subscriber.hear()
    assert ((await subscriber.document())["plan"], len(await subscriber.quarantined()) > 0) == ("growth", True)
    await subscriber.stripe.v1.subscriptions.cancel_async(named)
    await subscriber.hear()
    assert await subscriber.subscription() is None


async def test_a_second_one_is_set_aside_and_follows_when_the_first_ends(subscriber, pool):
    first = await subscriber.subscribe("growth")
    await subscriber.hear()
    second = await subscriber.stripe.v1.subscriptions.create_async(
        {
            "customer": subscriber.customer,
            "items": [{"price": subscriber.prices["starter"]}],
            "default_payment_method": (await subscriber.at_stripe())[0]["default_payment_method"],
        }
    )
    await subscriber.hear()
    assert (await subscriber.subscription()).stripe_subscription == first
    (apart,) = (await linked(pool, livemode=False)).apart
    assert (apart.id, "one too many" in apart.problem) == (second.id, True)
    assert await subscriber.revenue() == (9900 + 2900, 9900 + 2900)

    await subscriber.stripe.v1.subscriptions.cancel_async(first)
    await subscriber.hear()
    assert (await subscriber.subscription()).stripe_subscription == second.id
    assert (await subscriber.document())["plan"] == "starter"


async def test_one_that_nobody_billed_becomes_the_one_that_stripe_bills(subscriber, pool):
    async with pool.acquire() as connection:
        ours = await subscribe(connection, subscriber.organization, "starter", trial_days=30)
    await subscriber.subscribe("growth")
    await subscriber.hear()
    found = await subscriber.subscription()
    assert (found.id, found.status, (await subscriber.document())["plan"]) == (ours.id, "active", "growth")
    assert found.trial_ends_at is None


async def test_what_stripe_bills_is_changed_there_and_not_here(subscriber, pool):
    await subscriber.subscribe("growth")
    await subscriber.hear()
    before = await subscriber.subscription()
    async with pool.acquire() as connection:
        for verb in (cancel, pause, resume, mark_past_due, mark_active):
            with pytest.raises(Conflict, match="customer portal"):
                await verb(connection, subscriber.organization)
        for verb in (change_plan, move):
            with pytest.raises(Conflict, match="customer portal"):
                await verb(connection, subscriber.organization, "starter")
        await override(connection, subscriber.organization, lambda _agreed: Overrides(credit_limit=5))
    assert await subscriber.subscription() == before


async def test_the_clock_does_not_end_what_stripe_bills(subscriber, pool):
    named = await subscriber.subscribe("tried")
    await subscriber.stripe.v1.subscriptions.update_async(named, {"cancel_at_period_end": True})
    await subscriber.hear()
    found = await subscriber.subscription()
    await pool.execute(
        "update subscription set cancel_at = now() - interval '1 day', trial_ends_at = now() - interval '1 day'"
    )
    assert await advance(pool) == 0
    assert (await subscriber.subscription()).status == "trialing"
    await subscriber.bring_up_to_date()
    assert (await subscriber.subscription()) == found


async def test_who_is_no_customer_of_ours_is_left_alone(subscriber, pool):
    other = await subscriber.stripe.v1.customers.create_async({"metadata": {"shop": "of shirts"}})
    method = await subscriber.stripe.v1.payment_methods.attach_async("pm_card_visa", {"customer": other.id})
    await subscriber.stripe.v1.subscriptions.create_async(
        {
            "customer": other.id,
            "items": [{"price": subscriber.prices["starter"]}],
            "default_payment_method": method.id,
        }
    )
    theirs = replace(subscriber, customer=other.id)
    await theirs.hear()
    assert {row["state"] for row in await pool.fetch("select state from stripe_event")} == {"ignored"}
    assert await subscriber.revenue() == (0, 0)


async def test_a_payment_leads_to_its_invoice(subscriber, pool):
    await subscriber.subscribe("growth")
    await subscriber.hear()
    (invoice,) = [row["invoice"] for row in await pool.fetch("select * from stripe_invoice_payment")]
    (found,) = await invoices(pool, subscriber.organization, livemode=False)
    assert (found.organization, found.amount_paid_minor, found.status) == (subscriber.organization, 9900, "paid")
    assert found.id == invoice
    assert await invoices(pool, subscriber.organization, livemode=False, before=found.id) == []


async def test_what_is_voided_or_given_up_moves_nothing(subscriber, pool):
    await subscriber.subscribe("growth")
    await subscriber.hear()
    await subscriber.card_begins_to_decline()
    await subscriber.control("clock", advance_s=32 * DAY_S)
    await subscriber.hear()
    (there,) = await subscriber.at_stripe()
    await subscriber.stripe.v1.invoices.void_invoice_async(there["latest_invoice"])
    await subscriber.hear()
    statuses = {row["status"] for row in await pool.fetch("select status from stripe_invoice")}
    assert statuses == {"paid", "void"}
    assert await subscriber.revenue() == (9900, 9900)


async def test_organizations_are_told_of_their_invoices_once(subscriber, pool):
    await subscriber.subscribe("growth")
    events = await subscriber.new_events()
    await subscriber.hear(events)
    await subscriber.hear(events[::-1])
    await subscriber.bring_up_to_date()
    told = await pool.fetch("select type, data from notice where type like 'invoice.%' order by type")
    assert [row["type"] for row in told] == ["invoice.finalized", "invoice.paid"]
    assert json.loads(told[1]["data"])["amount_paid_minor"] == 9900
    acts = await pool.fetch("select act, done_by from audit_event where act like 'invoice.%' order by seq")
    assert [tuple(row) for row in acts][-1] == ("invoice.paid", "stripe")


async def _price_by_hand(one, amount_minor):
    product = await one.stripe.v1.products.create_async({"name": "By hand"})
    price = await one.stripe.v1.prices.create_async(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": amount_minor,
            "recurring": {"interval": "month"},
        }
    )
    return price.id


@pytest.mark.parametrize("about", [{}, {"id": "in_1", "object": "invoice", "customer": 7}, ["in_1"]])
async def test_what_cannot_be_read_is_set_aside(subscriber, about):
    event = {"id": "evt_odd", "type": "invoice.paid", "livemode": False, "data": {"object": about}}
    await subscriber.hear([json.dumps(event).encode()])
    (reason,) = await subscriber.quarantined()
    assert reason.startswith("not an event of a subscription")
