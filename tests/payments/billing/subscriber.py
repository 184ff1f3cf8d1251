"""One organization that subscribes: what it does at Stripe, what Stripe tells of it, and what came of it here."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import asyncpg

from tallystick.accounts import user
from tallystick.ledger import verify as ledger_verify
from tallystick.payments import verify as payments_verify
from tallystick.payments.billing.checkout import Wish, start_plan_checkout
from tallystick.payments.billing.follow import bring_up_to_date
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.events import events_since
from tallystick.payments.stripe.signature import sign
from tallystick.subscriptions import subscription
from tallystick.subscriptions.subscription import Subscription

SECRET = "whsec_of_the_tests"
LONG_AGO = datetime(2023, 1, 1, tzinfo=UTC)
DAY_S = 24 * 3600
CATALOG = """
[[plan]]
slug = "starter"
name = "Starter"
strategy = "included"
price = 29
[[plan.meters]]
meter = "requests"
allowance = 10_000

[[plan]]
slug = "growth"
name = "Growth"
strategy = "flat"
price = 99
tier = "pro"
grace_days = 10

[[plan]]
slug = "tried"
name = "Tried first"
strategy = "flat"
price = 49
trial_days = 14
"""
_numbers = count(1)


@dataclass
class Subscriber:
    pool: asyncpg.Pool
    stripe: StripeClient
    control: Callable[..., Awaitable[dict[str, Any]]]
    prices: dict[str, str]
    inbox: Inbox
    organization: str
    customer: str
    began: datetime
    taken: set[str] = field(default_factory=set)

    async def checkout(self, plan: str) -> str:
        """The id of the session that the organization is led to."""
        wish = Wish(
            organization=self.organization,
            price=self.prices[plan],
            success_url="https://app.example.com/done",
            cancel_url="https://app.example.com/",
            asked_by="user_1",
        )
        await start_plan_checkout(self.pool, self.stripe, wish, now=datetime.now(UTC))
        session: str = await self.pool.fetchval(
            "select stripe_session from billing_checkout where organization = $1 order by created_at desc limit 1",
            self.organization,
        )
        return session

    async def subscribe(self, plan: str, number: str = "4242424242424242") -> str:
        """The id of the subscription that paying leads to."""
        answer = await self.control(f"checkout/{await self.checkout(plan)}/pay", number=number)
        session: dict[str, str] = answer["session"]
        return session["subscription"]

    async def at_stripe(self) -> list[dict[str, Any]]:
        page = await self.stripe.v1.subscriptions.list_async({"customer": self.customer, "status": "all"})
        return [row.to_dict() for row in page.data]

    async def newest(self) -> str:
        """The id of the subscription that is not over at Stripe."""
        (now,) = [row for row in await self.at_stripe() if row["status"] != "canceled"]
        return str(now["id"])

    async def update(self, **changes: Any) -> None:
        await self.stripe.v1.subscriptions.update_async(await self.newest(), changes)

    async def bring_up_to_date(self) -> None:
        await bring_up_to_date(self.pool, self.stripe, self.customer)

    async def change_plan(self, plan: str) -> None:
        (now,) = [row for row in await self.at_stripe() if row["status"] != "canceled"]
        item = {"id": now["items"]["data"][0]["id"], "price": self.prices[plan]}
        await self.stripe.v1.subscriptions.update_async(
            now["id"], {"items": [item], "proration_behavior": "always_invoice"}
        )

    async def card_begins_to_decline(self) -> None:
        page = await self.stripe.v1.payment_methods.list_async({"customer": self.customer})
        await self.control(f"payment_methods/{page.data[0].id}/decline")

    async def pay_by_another_card(self) -> None:
        method = await self.stripe.v1.payment_methods.attach_async("pm_card_visa", {"customer": self.customer})
        (there,) = [row for row in await self.at_stripe() if row["status"] != "canceled"]
        await self.stripe.v1.invoices.pay_async(there["latest_invoice"], {"payment_method": method.id})

    async def new_events(self) -> list[bytes]:
        """What Stripe has to tell of this customer and was not asked for yet, the oldest first."""
        found = []
        types = [f"{kind}.*" for kind in ("customer.subscription", "invoice", "checkout.session")]
        for body in await events_since(self.stripe, self.began, types):
            event = json.loads(body)
            if event["data"]["object"].get("customer") == self.customer and event["id"] not in self.taken:
                self.taken.add(event["id"])
                found.append(body)
        return found

    async def hear(self, bodies: list[bytes] | None = None) -> None:
        for body in await self.new_events() if bodies is None else bodies:
            await self.inbox.receive(body, sign(body, SECRET))

    async def subscription(self) -> Subscription | None:
        async with self.pool.acquire() as connection:
            return await subscription.live(connection, self.organization)

    async def document(self) -> dict[str, Any]:
        text = await self.pool.fetchval("select document from constraints where organization = $1", self.organization)
        document: dict[str, Any] = json.loads(text)
        return document

    async def revenue(self) -> tuple[int, int]:
        """Cents that plans brought in, and that are at Stripe."""
        rows = await self.pool.fetch("select kind::text, sum(posted) as posted from ledger_account group by kind")
        posted = {row["kind"]: int(row["posted"]) // 10**7 for row in rows}
        return posted["plan_revenue"], -posted["stripe_clearing"]

    async def quarantined(self) -> list[str]:
        rows = await self.pool.fetch("select reason from stripe_event where state = 'quarantined' order by received_at")
        return [row["reason"] for row in rows]

    async def broken_laws(self) -> list[str]:
        async with self.pool.acquire() as connection, connection.transaction():
            found = [await check.run(connection) for check in [*ledger_verify.checks, *payments_verify.checks]]
        return [problem for problems in found for problem in problems]


async def new_subscriber(
    pool: asyncpg.Pool,
    stripe: StripeClient,
    control: Callable[..., Awaitable[dict[str, Any]]],
    prices: dict[str, str],
) -> Subscriber:
    welcome = await user.sign_up(pool, email=f"subscriber{next(_numbers)}@example.com", password="correct horse")
    made = await stripe.v1.customers.create_async({"metadata": {"organization": welcome.organization_id}})
    await pool.execute(
        "insert into stripe_customer (organization, livemode, id) values ($1, false, $2)",
        welcome.organization_id,
        made.id,
    )
    inbox = Inbox(pool, secrets=[SECRET], livemode=False, stripe=stripe)
    # By Stripe's clock: of many subscribers, each asks for no event of those before.
    began = datetime.fromtimestamp(made.created, UTC)
    return Subscriber(pool, stripe, control, prices, inbox, welcome.organization_id, made.id, began)
