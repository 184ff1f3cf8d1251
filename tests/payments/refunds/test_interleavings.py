"""What happens at Stripe, what is told of it, what was seen of it earlier, and what is spent, in any interleaving."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
import stripe as sdk
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tallystick.base.errors import InsufficientCreditsError
from tallystick.payments.debts.collect import collect_due
from tallystick.payments.refunds import follow
from tests.database import copied
from tests.payments.refunds.till import Till, books, closed_till, copy_of, open_till

CREDITS = 30 * 10**9
PAID = 2500


async def look(till, paid):
    seen = await follow.look(till.stripe, paid.payment_intent)
    assert seen is not None
    return seen


async def apply(till, seen):
    async with till.shop.pool.acquire() as connection, connection.transaction():
        return await follow.apply(connection, seen)


async def refund_that_fails(till, paid):
    await till.control("refunds/next", status="pending")
    refund = await till.refund(paid, 1000)
    yield
    await till.control(f"refunds/{refund}/succeed")
    yield
    await till.control(f"refunds/{refund}/fail")


async def dispute_that_is_won(till, paid):
    dispute = await till.dispute(paid, inquiry=True)
    yield
    await till.control(f"disputes/{dispute}/escalate")
    yield
    await till.control(f"disputes/{dispute}/win")


async def refund_and_dispute(till, paid):
    refund = await till.refund(paid, 1000)
    yield
    dispute = await till.dispute(paid)
    yield
    await till.control(f"refunds/{refund}/fail")
    await till.control(f"disputes/{dispute}/lose")


@pytest.mark.parametrize("course", [refund_that_fails, dispute_that_is_won, refund_and_dispute])
async def test_an_old_look_changes_nothing_after_a_newer_one(dsn, stripe, control, course):
    async with closed_till(dsn, stripe, control) as till:
        paid = await till.pay(PAID, credits_=CREDITS)
        looks = [await look(till, paid)]
        looks += [await look(till, paid) async for _ in course(till, paid)]
        looks.append(await look(till, paid))
    ends = []
    for order in itertools.permutations(looks):
        async with copy_of(till) as copy:
            for seen in order:
                await apply(copy, seen)
            ends.append(await books(copy.shop.pool))
    assert all(end == ends[0] for end in ends)


@dataclass
class World:
    """One payment, all that happens to it, and what must come of it whatever was told when."""

    till: Till
    paid: Any
    refunds: list[str] = field(default_factory=list)
    disputes: list[str] = field(default_factory=list)
    looks: list[Any] = field(default_factory=list)
    spent: int = 0

    async def refund(self, number: int) -> None:
        await self.till.control("refunds/next", status="pending" if number % 2 else "succeeded")
        self.refunds.append(await self.till.refund(self.paid, 400 + 100 * number))

    async def succeed(self, number: int) -> None:
        await self.till.control(f"refunds/{self.refunds[number]}/succeed")

    async def fail(self, number: int) -> None:
        await self.till.control(f"refunds/{self.refunds[number]}/fail")

    async def dispute(self, number: int) -> None:
        self.disputes.append(await self.till.dispute(self.paid, inquiry=number == 1))

    async def escalate(self, number: int) -> None:
        await self.till.control(f"disputes/{self.disputes[number]}/escalate")

    async def win(self, number: int) -> None:
        await self.till.control(f"disputes/{self.disputes[number]}/win")

    async def lose(self, number: int) -> None:
        await self.till.control(f"disputes/{self.disputes[number]}/lose")

    async def tell(self, number: int) -> None:
        events = await self.till.events(self.paid)
        await self.till.receive([events[number % len(events)]])

    async def see(self, _number: int) -> None:
        self.looks.append(await look(self.till, self.paid))

    async def apply_what_was_seen(self, number: int) -> None:
        await apply(self.till, self.looks[number])

    async def spend(self, number: int) -> None:
        await self.till.spend((number + 1) * 4 * 10**9)
        self.spent += (number + 1) * 4 * 10**9

    async def buy_more(self, _number: int) -> None:
        await self.till.buy(500)

    async def collect(self, _number: int) -> None:
        await collect_due(self.till.shop.pool)

    def possible(self) -> list[tuple[Callable[..., Any], int]]:
        """Each act, and how many things it can be done to."""
        return [
            (World.refund, 4),
            (World.tell, 12),
            (World.see, 1),
            (World.spend, 3),
            *(() if self.disputes else ((World.dispute, 2), (World.buy_more, 1), (World.collect, 1))),
            *((act, len(self.refunds)) for act in (World.succeed, World.fail) if self.refunds),
            *((act, 1) for act in (World.escalate, World.win, World.lose, World.collect) if self.disputes),
            *((World.apply_what_was_seen, len(self.looks)) for _ in range(2) if self.looks),
        ]


# What a stand-in or a balance does not allow at this moment does not happen.
REFUSED = (AssertionError, InsufficientCreditsError, sdk.StripeError)


async def play(dsn, stripe, control, data):
    async with copied(dsn) as (copy, pool):
        till = await open_till(copy, pool, stripe, control)
        world = World(till, await till.pay(PAID, credits_=CREDITS))
        for _ in range(data.draw(st.integers(6, 18), label="acts")):
            act, many = data.draw(st.sampled_from(world.possible()), label="act")
            try:
                await act(world, data.draw(st.integers(0, many - 1), label="which"))
            except REFUSED:
                continue
            event(act.__name__)
        # In the end all of it is told, the oldest last.
        await till.receive((await till.events(world.paid))[::-1])
        await pool.execute("update stripe_event set retry_at = clock_timestamp()")
        await till.shop.inbox.process_open()
        found = await books(pool)
        await check(world, pool, found)


async def check(world: World, pool: asyncpg.Pool, found: dict[str, Any]) -> None:
    seen = await look(world.till, world.paid)
    refunded = sum(one.amount for one in seen.refunds if one.status not in {"failed", "canceled"})
    disputed = sum(one.amount for one in seen.disputes if one.withdrawals > one.reinstatements)
    order = await world.till.order(world.paid)
    assert (order.refunded_minor, order.disputed_minor) == (refunded, disputed)
    # What the customer has, less what is owed, is what was bought and did not go back, less what was spent.
    more = await pool.fetchval("select coalesce(sum(credits), 0)::bigint from payment_order where id <> $1", order.id)
    left = CREDITS - CREDITS * (refunded + disputed) // PAID
    balances = dict(found["balances"])
    owed = found["owed"][0][0] or 0
    assert balances.get("customer", 0) - owed == left + more - world.spent
    assert balances.get("stripe_clearing", 0) == -(PAID - refunded - disputed) * 10**7 - more
    # receivable is what is owed, and nothing else.
    assert balances.get("receivable", 0) == -owed


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=8, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(data=st.data())
async def test_in_any_interleaving(dsn, stripe, control, data):
    await play(dsn, stripe, control, data)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
@given(data=st.data())
async def test_in_very_many_interleavings(dsn, stripe, control, data):
    await play(dsn, stripe, control, data)
