"""Whatever order Stripe's events come in, more than once or not at all: the same subscription and the same books."""

import asyncio
import random

import pytest

from tallystick.payments.billing.follow import apply
from tallystick.payments.billing.look import look
from tallystick.payments.follower import Outdated
from tallystick.payments.inbox.missed import take_fetched
from tests.payments.billing.subscriber import DAY_S, new_subscriber

# What a customer does, step by step; each step leaves events that nobody was told of yet.
STORIES = {
    "begins": ("subscribe starter",),
    "changes plan": ("subscribe starter", "change growth"),
    "tries first": ("subscribe tried", "wait 15"),
    "does not pay, then does": ("subscribe growth", "card declines", "wait 32", "pay"),
    "does not pay": ("subscribe growth", "card declines", "wait 32", "wait 32"),
    "ends and comes back": ("subscribe growth", "cancel", "subscribe starter"),
    "pauses and goes on": ("subscribe growth", "pause", "go on", "cancel at the end"),
}


async def _act(one, step):
    match step.split():
        case ["subscribe", plan]:
            # Here, for who wants to subscribe again must be known to have ended.
            await one.bring_up_to_date()
            await one.subscribe(plan)
        case ["change", plan]:
            await one.change_plan(plan)
        case ["wait", days]:
            await one.control("clock", advance_s=int(days) * DAY_S)
        case ["card", "declines"]:
            await one.card_begins_to_decline()
        case ["pay"]:
            await one.pay_by_another_card()
        case ["cancel"]:
            await one.stripe.v1.subscriptions.cancel_async(await one.newest())
        case ["cancel", "at", "the", "end"]:
            await one.update(cancel_at_period_end=True)
        case ["pause"]:
            await one.update(pause_collection={"behavior": "void"})
        case ["go", "on"]:
            await one.update(pause_collection="")


async def _tell(one, bodies, chance, *, workers):
    """Some events twice, in any order, by as many workers as there are."""
    told = [body for body in bodies for _ in range(chance.choice((1, 1, 2)))]
    chance.shuffle(told)
    for first in range(0, len(told), workers):
        await asyncio.gather(*(one.hear([body]) for body in told[first : first + workers]))


async def _live(one, story, chance, *, workers):
    waiting = []
    lost = []
    for step in story:
        # What comes while the next thing happens at Stripe, and what comes only later, or never.
        now = [body for body in waiting if chance.random() < 0.5]
        waiting = [body for body in waiting if body not in now]
        lost += [body for body in waiting if chance.random() < 0.2]
        waiting = [body for body in waiting if body not in lost]
        await asyncio.gather(_tell(one, now, chance, workers=workers), _act(one, step))
        waiting += await one.new_events()
    await _tell(one, waiting, chance, workers=workers)
    while await take_fetched(one.inbox, lost):
        lost = []


async def _outcome(one):
    """What is to be the same, and nothing of when it was heard."""
    found, document = await one.subscription(), await one.document()
    ours = None if found is None else (found.status, found.cancel_at is None, found.past_due_since is None)
    rows = await one.pool.fetch(
        "select status, problem from stripe_subscription where organization = $1 order by created_at", one.organization
    )
    bills = await one.pool.fetch(
        "select status, amount_paid_minor, operation is not null as booked from stripe_invoice"
        " where organization = $1 order by created_at, amount_paid_minor",
        one.organization,
    )
    notices = await one.pool.fetch(
        "select type, key from notice where organization = $1 and type like 'invoice.%' and type <> $2",
        one.organization, "invoice.payment_failed",
    )  # fmt: skip
    return {
        "subscription": ours,
        "plan": (document["plan"], document["status"], document["access"]),
        "at Stripe": [tuple(row) for row in rows],
        "invoices": [tuple(row) for row in bills],
        "told": sorted(row["type"] for row in notices),
        "open events": await one.pool.fetchval("select count(*) from stripe_event where state = 'received'"),
        "wrong": await one.quarantined(),
    }


@pytest.mark.parametrize("story", STORIES)
async def test_every_order_ends_the_same(subscriber, sold, story):
    """Once as it happened, then shuffled, doubled, late and lost, by one worker and by two at once."""
    await _compare(subscriber, sold, story, seeds=2)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("story", STORIES)
async def test_many_orders_end_the_same(subscriber, sold, story):
    await _compare(subscriber, sold, story, seeds=40)


async def test_an_older_look_is_not_written_over_a_newer_one(subscriber):
    await subscriber.subscribe("growth")
    older = await look(subscriber.pool, subscriber.stripe, subscriber.customer)
    await subscriber.stripe.v1.subscriptions.cancel_async(await subscriber.newest())
    await subscriber.bring_up_to_date()
    async with subscriber.pool.acquire() as connection, connection.transaction():
        with pytest.raises(Outdated):
            await apply(connection, older)
    assert await subscriber.subscription() is None


async def _compare(subscriber, sold, story, *, seeds):
    for step in STORIES[story]:
        await _act(subscriber, step)
        await subscriber.hear()
    expected = await _outcome(subscriber)
    assert expected["wrong"] == []
    for seed in range(seeds):
        one = await new_subscriber(subscriber.pool, subscriber.stripe, subscriber.control, sold)
        await _live(one, STORIES[story], random.Random(f"{story} {seed}"), workers=1 + seed % 2)
        assert _rounded(await _outcome(one)) == _rounded(expected), f"seed {seed}"


def _rounded(outcome):
    # A change in the middle of a period costs a few cents more or less, as seconds pass.
    bills = [(status, round(paid, -2), booked) for status, paid, booked in outcome["invoices"]]
    # What was made in one second stands in no order.
    return {**outcome, "invoices": sorted(bills), "at Stripe": sorted(outcome["at Stripe"], key=repr)}
