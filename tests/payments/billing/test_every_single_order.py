"""A subscription that begins, and one that ends, told in every order there is, step by step: the same in the end."""

import dataclasses
from uuid import uuid4

import asyncpg
import pytest

from tallystick.catalog.publish import apply
from tallystick.payments.billing.sync import sync
from tallystick.payments.inbox.inbox import Inbox
from tests.payments.billing.subscriber import CATALOG, LONG_AGO, SECRET, new_subscriber
from tests.payments.refunds.till import dropped

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
        bodies = await one.new_events()
    return one, [body for body in bodies if any(f'"type":"{name}'.encode() in body for name in FOLLOWED)]


async def _told_further(dsn, one, body):
    """A copy in which one more event was told, and all that it then keeps of the subscription."""
    beside, _, name = dsn.rpartition("/")
    copy = f"{'_'.join(name.split('_')[:2])}_{uuid4().hex}"
    admin = await asyncpg.connect(f"{beside}/postgres")
    await admin.execute(f'create database "{copy}" template "{name}" strategy file_copy')
    await admin.close()
    async with asyncpg.create_pool(f"{beside}/{copy}", min_size=1, max_size=4) as pool:
        inbox = Inbox(pool, secrets=[SECRET], livemode=False, stripe=one.stripe)
        now = dataclasses.replace(one, pool=pool, inbox=inbox)
        await now.hear([body])
        assert await now.broken_laws() == []
        assert await pool.fetchval("select count(*) from stripe_event where state in ('received', 'quarantined')") == 0
        return f"{beside}/{copy}", [
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
    level = {frozenset(): dsn}
    for _ in events:
        following, seen = {}, {}
        for told, place in level.items():
            for number in {*range(len(events))} - told:
                copy, found = await _told_further(place, one, events[number])
                assert seen.setdefault(told | {number}, found) == found
                # Nothing else is kept that a later event could depend on: one copy stands for all.
                if following.setdefault(told | {number}, copy) != copy:
                    await dropped(copy)
            if place != dsn:
                await dropped(place)
        level = following
    for place in level.values():
        await dropped(place)
    assert [row[1] for row in found[0]] in ([["canceled"], []] if ended else [["active"]])
    assert dict(found[6])["plan_revenue"] == 99 * 10**9
