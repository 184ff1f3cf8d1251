"""A subscription that begins, and one that ends, told in every order there is, step by step: the same in the end."""

import dataclasses
import json

import asyncpg
import pytest

from tallystick.catalog.publish import apply
from tallystick.payments.billing.sync import sync
from tallystick.payments.inbox.inbox import Inbox
from tests.payments.billing.subscriber import CATALOG, LONG_AGO, SECRET, new_subscriber
from tests.payments.every_order import walk

FOLLOWED = ("checkout.session", "customer.subscription", "invoice.created", "invoice.finalized", "invoice.paid")


async def _happened(dsn, stripe, control, ended):
    """All happens at Stripe first; nobody is connected to the database afterwards."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        async with pool.acquire() as connection:
            await apply(connection, CATALOG, now=LONG_AGO)
        await sync(pool, stripe)
        prices = {
            row["plan"]: row["id"] for row in await pool.fetch("select plan, id from stripe_price where meter is null")
        }
        one = await new_subscriber(pool, stripe, control, prices)
        made = await one.subscribe("growth")
        if ended:
            await stripe.v1.subscriptions.cancel_async(made)
        events = [json.loads(body) for body in await one.new_events()]
    return one, [event for event in events if event["type"].startswith(FOLLOWED)]


async def _kept(pool):
    """All that is then kept of the subscription: nothing else is there that a later event could depend on."""
    return [
        [tuple(row) for row in await pool.fetch(query)]
        for query in (
            "select plan_version, status, anchor, cancel_at, past_due_since, stripe_subscription from subscription",
            "select status, price, period_ends_at, problem from stripe_subscription",
            "select id, status, amount_paid_minor, operation from stripe_invoice",
            "select payment_intent, amount_minor, status from stripe_invoice_payment",
            "select state from billing_checkout",
            "select type from notice where type like 'invoice.%' or type like 'subscription.%' order by type",
            "select kind::text, sum(posted)::bigint from ledger_account group by kind having sum(posted) <> 0",
            "select document ->> 'plan', document ->> 'access' from constraints",
        )
    ]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("ended", [False, True], ids=["begins", "ends"])
async def test_it_is_the_same_in_every_single_order(dsn, stripe, control, ended):
    one, events = await _happened(dsn, stripe, control, ended)
    assert len(events) >= 5

    async def tell(_dsn, pool, event):
        inbox = Inbox(pool, secrets=[SECRET], livemode=False, stripe=one.stripe)
        now = dataclasses.replace(one, pool=pool, inbox=inbox)
        await now.hear([json.dumps(event).encode()])
        assert await now.broken_laws() == []
        assert await pool.fetchval("select count(*) from stripe_event where state in ('received', 'quarantined')") == 0
        return await _kept(pool), ""

    found = await walk(dsn, events, tell)
    assert [row[1] for row in found[0]] in ([["canceled"], []] if ended else [["active"]])
    assert dict(found[6])["plan_revenue"] == 99 * 10**9
