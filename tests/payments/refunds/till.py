"""A shop whose customers pay at the offline Stripe, and whose database can be copied to try every course of events."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg

from tallystick.base.ids import new_id
from tallystick.ledger import verify as ledger_verify
from tallystick.payments import verify as payments_verify
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.orders.checkout import start_checkout
from tallystick.payments.orders.order import Order, find
from tallystick.payments.orders.purchase_terms import Purchase, PurchaseTerms
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.customer import create_customer
from tallystick.payments.stripe.signature import sign
from tallystick.reservations.lanes import Lanes
from tests.database import copied
from tests.payments.shop import SECRET, Shop, open_shop

CENT = 10**7
TYPES_OF_PURCHASE = ("payment_intent.succeeded", "checkout.session.completed", "charge.succeeded")


@dataclass
class Paid:
    """An order that was paid at Stripe, whether or not we know."""

    order: str
    payment_intent: str
    charge: str


@dataclass
class Till:
    """`shop.inbox` reads at the offline Stripe again what events are about."""

    dsn: str
    shop: Shop
    stripe: StripeClient
    control: Callable[..., Any]

    async def pay(self, amount_minor: int = 2500, *, credits_: int | None = None) -> Paid:
        purchase = Purchase(amount_minor=amount_minor, currency="usd", credits=credits_ or amount_minor * CENT)
        started = await start_checkout(
            self.shop.pool,
            self.stripe,
            PurchaseTerms(),
            self.shop.buyer,
            purchase,
            request_id=None,
            now=datetime.now(UTC),
        )
        paid = await self.control(f"checkout/{started.session_id}/pay", number="4242424242424242")
        intent = paid["payment_intent"]
        return Paid(started.order_id, intent["id"], intent["latest_charge"])

    async def buy(self, amount_minor: int = 2500, *, credits_: int | None = None) -> Paid:
        """Paid, and credited."""
        paid = await self.pay(amount_minor, credits_=credits_)
        await self.receive([event for event in await self.events(paid) if event["type"] == "payment_intent.succeeded"])
        return paid

    async def refund(self, paid: Paid, amount_minor: int | None = None) -> str:
        """Made by somebody at Stripe."""
        asked = {"payment_intent": paid.payment_intent}
        made = await self.stripe.v1.refunds.create_async(
            asked if amount_minor is None else {**asked, "amount": amount_minor}
        )
        return made.id

    async def dispute(self, paid: Paid, **more: object) -> str:
        opened = await self.control(f"charges/{paid.charge}/dispute", **more)
        return str(opened["dispute"]["id"])

    async def spend(self, nano: int) -> None:
        async with self.lanes() as lanes:
            await lanes.deduct(new_id(), self.shop.buyer.account, nano)

    @asynccontextmanager
    async def lanes(self) -> AsyncIterator[Lanes]:
        lanes = Lanes(self.dsn)
        await lanes.start()
        try:
            yield lanes
        finally:
            await lanes.stop()

    async def events(self, *paid: Paid) -> list[dict[str, Any]]:
        """All that Stripe has said of these payments, the oldest first."""
        page = await self.stripe.v1.events.list_async({"limit": 100})
        bodies = [event.to_dict() for event in page.data]
        intents = {one.payment_intent for one in paid}
        return [body for body in reversed(bodies) if _about(body) in intents]

    async def receive(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            body = json.dumps(event).encode()
            await self.shop.inbox.receive(body, sign(body, SECRET))

    async def order(self, paid: Paid) -> Order:
        return await find(self.shop.pool, paid.order, organization=None)


@asynccontextmanager
async def closed_till(dsn: str, stripe: StripeClient, control: Callable[..., Any]) -> AsyncIterator[Till]:
    """A till for what happens before a copy is made: afterwards nobody is connected to its database."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        yield await open_till(dsn, pool, stripe, control)


async def open_till(dsn: str, pool: asyncpg.Pool, stripe: StripeClient, control: Callable[..., Any]) -> Till:
    shop = await open_shop(pool)
    customer = await create_customer(stripe, shop.buyer.organization, idempotency_key=uuid4().hex)
    await pool.execute("update stripe_customer set id = $1 where organization = $2", customer, shop.buyer.organization)
    shop.customer = customer
    shop.inbox = Inbox(pool, secrets=(SECRET,), livemode=False, stripe=stripe)
    return Till(dsn, shop, stripe, control)


@asynccontextmanager
async def copy_of(till: Till) -> AsyncIterator[Till]:
    """The same till on a copy of its database, to which nobody is connected."""
    async with copied(till.dsn) as (dsn, pool):
        yield on(till, dsn, pool)


def on(till: Till, dsn: str, pool: asyncpg.Pool) -> Till:
    """The same till, of another process."""
    inbox = Inbox(pool, secrets=(SECRET,), livemode=False, stripe=till.stripe)
    return Till(dsn, Shop(pool, inbox, till.shop.buyer, till.shop.customer), till.stripe, till.control)


async def at_stripe(till: Till, paid: Paid) -> list[tuple[int, str | None]]:
    """What was refunded of a payment, the newest first."""
    page = await till.stripe.v1.refunds.list_async({"payment_intent": paid.payment_intent})
    return [(one.amount, one.status) for one in page.data]


async def beside_the_books(pool: asyncpg.Pool) -> str:
    """What may decide what a later event does, and is not in the books."""
    return repr(
        [
            await _rows(pool, query)
            for query in (
                "select id, stripe_payment_intent, paid_credits, reason, operation from payment_order",
                "select payment_intent, order_id from payment_seen",
                "select cause, operation, taken, excess, reversed_at is null from clawback",
                "select operation, open, policy from debt",
                "select kind, count(*), sum(amount)::bigint from transfer group by kind",
            )
        ]
    )


async def books(pool: asyncpg.Pool) -> dict[str, Any]:
    """All that must be the same, whatever happened in which order; and no law may be broken."""
    async with pool.acquire() as connection, connection.transaction():
        broken = [await check.run(connection) for check in [*ledger_verify.checks, *payments_verify.checks]]
        assert [problem for problems in broken for problem in problems] == []
    assert (
        await pool.fetch("select type, state, reason from stripe_event where state in ('received', 'quarantined')")
        == []
    )
    await pool.execute("select lots_refresh(account) from organization")
    return {
        "balances": await _rows(
            pool, "select kind, sum(posted)::bigint from ledger_account group by kind having sum(posted) <> 0"
        ),
        "lots": await _rows(
            pool, "select kind, sum(remaining)::bigint from lot group by kind having sum(remaining) > 0"
        ),
        "orders": await _rows(pool, "select id, state, refunded_minor, disputed_minor from payment_order"),
        "refunds": await _rows(pool, "select id, state, amount_minor, failure from refund"),
        "disputes": await _rows(pool, "select id, status, amount_minor, withdrawals, reinstatements from dispute"),
        "taken": await _rows(
            pool,
            "select coalesce(refund, dispute), amount_minor, money, bonus from clawback where reversed_at is null",
        ),
        "owed": await _rows(pool, "select sum(open)::bigint from debt"),
        "held back": await _rows(pool, "select kind from restriction"),
    }


async def _rows(pool: asyncpg.Pool, query: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in await pool.fetch(query))


def _about(event: dict[str, Any]) -> str | None:
    about = event["data"]["object"]
    return about["id"] if about["object"] == "payment_intent" else about.get("payment_intent")
