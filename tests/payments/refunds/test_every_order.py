"""Whatever comes in which order, twice or not at all: the books end the same."""

import asyncio
import itertools
import json
import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tallystick.payments.inbox.missed import fetch_missed, take_fetched
from tests.payments.every_order import walk
from tests.payments.refunds.till import beside_the_books, books, closed_till, copy_of, on

PURCHASE = ("payment_intent.succeeded", "checkout.session.completed")
REFUND = ("refund.created", "charge.refunded", "refund.updated", "refund.failed")
DISPUTE = ("charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.closed")
SAMPLE = 4


async def refunded(till, paid):
    await till.refund(paid)
    return REFUND[:2]


async def refunded_in_part(till, paid):
    await till.refund(paid, 1234)
    await till.refund(paid, 333)
    return REFUND[:2]


async def refund_that_fails_later(till, paid):
    refund = await till.refund(paid)
    await till.control(f"refunds/{refund}/fail", reason="expired_or_canceled_card")
    return REFUND


async def dispute_lost(till, paid):
    dispute = await till.dispute(paid)
    await till.control(f"disputes/{dispute}/lose")
    return DISPUTE


async def dispute_won(till, paid):
    dispute = await till.dispute(paid)
    await till.control(f"disputes/{dispute}/win")
    return (*DISPUTE, "charge.dispute.funds_reinstated")


async def refund_that_a_dispute_ends(till, paid):
    await till.control("refunds/next", status="pending")
    await till.refund(paid, 1000)
    await till.dispute(paid, amount=2500)
    return ("refund.created", "refund.failed", *DISPUTE[:2])


# How each must end: the order, and the credits of the 30 that 25 dollars had brought.
ENDS = {
    refunded: (("refunded", 2500, 0), 0),
    refunded_in_part: (("credited", 1567, 0), 933 * 12 * 10**6),
    refund_that_fails_later: (("credited", 0, 0), 30 * 10**9),
    dispute_lost: (("disputed", 0, 2500), 0),
    dispute_won: (("credited", 0, 0), 30 * 10**9),
    refund_that_a_dispute_ends: (("disputed", 0, 2500), 0),
}


@pytest.fixture
async def happened(dsn, stripe, control):
    """A course of events: all happens at Stripe first, and is told afterwards."""

    async def happen(course):
        async with closed_till(dsn, stripe, control) as till:
            paid = await till.pay(2500, credits_=30 * 10**9)
            types = {*PURCHASE, *await course(till, paid)}
            return till, [event for event in await till.events(paid) if event["type"] in types]

    return happen


async def told(till, events):
    """What the books say after these events, on a copy of the database."""
    async with copy_of(till) as copy:
        await copy.receive(events)
        return await books(copy.shop.pool)


async def in_every_order(happened, course, most):
    till, events = await happened(course)
    expected = await told(till, events)
    assert (expected["orders"][0][1:], _of_customers(expected)) == ENDS[course]
    every = list(itertools.permutations(events))
    for order in random.Random(course.__name__).sample(every, most):
        assert await told(till, order) == expected, [event["type"] for event in order]


def _of_customers(found):
    return dict(found["balances"]).get("customer", 0)


@pytest.mark.parametrize("course", ENDS)
async def test_in_every_order(happened, course):
    await in_every_order(happened, course, SAMPLE)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("course", ENDS)
async def test_in_every_single_order(happened, course):
    till, events = await happened(course)

    async def tell(dsn, pool, event):
        await on(till, dsn, pool).receive([event])
        return await books(pool), await beside_the_books(pool)

    found = await walk(till.dsn, events, tell)
    assert (found["orders"][0][1:], _of_customers(found)) == ENDS[course]


async def with_losses(happened, course, lost):
    """Which of the events get lost: they are fetched later. Those that come, come twice, in any order."""
    till, events = await happened(course)
    expected = await told(till, events)
    dice = random.Random(course.__name__)
    for which in lost(len(events)):
        came = [event for number, event in enumerate(events) if number not in which] * 2
        dice.shuffle(came)
        async with copy_of(till) as copy:
            await copy.receive(came)
            await take_fetched(copy.shop.inbox, [json.dumps(event).encode() for event in events])
            assert await books(copy.shop.pool) == expected, which


@pytest.mark.parametrize("course", ENDS)
async def test_with_some_lost_and_the_others_told_twice(happened, course):
    await with_losses(happened, course, lambda count: [{*range(count)}, {*range(1, count, 2)}])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("course", ENDS)
async def test_with_every_subset_lost(happened, course):
    def subsets(count):
        return [{*which} for size in range(count + 1) for which in itertools.combinations(range(count), size)]

    await with_losses(happened, course, subsets)


@pytest.mark.parametrize("course", ENDS)
async def test_with_all_of_them_at_once_at_two_workers(happened, course):
    till, events = await happened(course)
    expected = await told(till, events)
    async with copy_of(till) as first, asyncpg.create_pool(first.dsn, min_size=1, max_size=6) as pool:
        second = on(till, first.dsn, pool)
        await asyncio.gather(*(worker.receive([event]) for event in events * 3 for worker in (first, second)))
        assert await books(pool) == expected


async def test_those_that_never_came_are_fetched_from_stripe(till, pool):
    paid = await till.pay()
    await till.dispute(paid)
    since = datetime.now(UTC) - timedelta(minutes=5)
    await fetch_missed(till.shop.inbox, till.stripe, since)
    # Others were paid at this Stripe as well, and one pass takes only so many events.
    while await till.shop.inbox.process_open():
        pass
    assert (await till.order(paid)).state == "disputed"
    assert (await till.shop.balance(), await till.shop.broken_laws()) == (0, [])
