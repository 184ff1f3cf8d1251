"""Subscribe through Stripe: our row first, then a page of Stripe's that leads to a subscription."""

from datetime import datetime
from typing import Final

import asyncpg
import msgspec
import structlog

from tallystick.base.database import load_queries
from tallystick.base.ids import text_id
from tallystick.catalog.book import Held
from tallystick.catalog.plan import Plan
from tallystick.ledger import audit
from tallystick.payments.billing.errors import AlreadySubscribed, CustomerNotReady
from tallystick.payments.billing.plan_price import metered_prices, plan_on_sale
from tallystick.payments.customer import find_customer
from tallystick.payments.errors import PaymentRefused
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.plan_checkout import PlanCheckout, close_plan_checkout, create_plan_checkout
from tallystick.subscriptions.turn import wait_for_turn

_CLOSED_AT_ONCE_MAX: Final = 100

queries = load_queries(__file__, "checkout.sql")
log = structlog.get_logger()


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to subscribe to what, and where to they want to be sent back."""

    organization: str
    price: str
    success_url: str
    cancel_url: str
    asked_by: str


async def start_plan_checkout(pool: asyncpg.Pool, stripe: StripeClient, wish: Wish, *, now: datetime) -> str:
    """The address of a page to subscribe on; the same one for the same wish within an hour.

    Raises NotFound, PlanNotOnSale, CustomerNotReady, AlreadySubscribed, PaymentRefused; and PaymentPending where nobody
    knows whether there is a page: the same wish goes on with it."""
    async with pool.acquire() as connection:
        plan = await plan_on_sale(connection, wish.price, livemode=stripe.livemode, now=now)
        customer = await ready_customer(connection, wish.organization, livemode=stripe.livemode)
        metered = await metered_prices(connection, plan.id, livemode=stripe.livemode)
        row = await _place(connection, wish, plan, livemode=stripe.livemode)
        if row["url"] is not None:
            return str(row["url"])
        attempt = await queries.attempt(connection, id=row["id"])
    asked = PlanCheckout(
        id=row["id"],
        organization=wish.organization,
        customer=customer,
        plan=plan.document.slug,
        price=wish.price,
        metered_prices=metered,
        trial_days=row["trial_days"],
        success_url=wish.success_url,
        cancel_url=wish.cancel_url,
    )
    try:
        session = await create_plan_checkout(stripe, asked, idempotency_key=_key(row["id"], attempt))
    except PaymentRefused:
        await queries.fail(pool, id=row["id"])
        raise
    await queries.open(pool, id=row["id"], session=session.id, url=session.url)
    page = await queries.page(pool, id=row["id"])
    if page["state"] not in {"created", "open"}:
        raise _already_subscribed()
    return str(page["url"])


async def ready_customer(connection: asyncpg.Connection, organization: str, *, livemode: bool) -> str:
    """Who the organization is at Stripe. Raises CustomerNotReady."""
    found = await find_customer(connection, organization, livemode=livemode)
    if found is None:
        raise CustomerNotReady(
            "This organization's customer at the payment provider is still being created. Try again in a moment."
        )
    return found


async def close_superseded(pool: asyncpg.Pool, stripe: StripeClient) -> int:
    """Tell Stripe to close the pages that are of no use any more, so that nobody subscribes twice; returns how many.
    A page on which someone was faster is over as well."""
    async with pool.acquire() as connection:
        found = [
            row async for row in queries.superseded(connection, livemode=stripe.livemode, row_limit=_CLOSED_AT_ONCE_MAX)
        ]
    for row in found:
        if not await close_plan_checkout(stripe, row["stripe_session"]):
            log.info("checkout_was_over", checkout=row["id"])
        await queries.closed(pool, id=row["id"])
    return len(found)


async def _place(connection: asyncpg.Connection, wish: Wish, plan: Held[Plan], *, livemode: bool) -> asyncpg.Record:
    # In turns: of two who ask at once the second finds the row of the first.
    async with connection.transaction():
        await wait_for_turn(connection, wish.organization)
        whose = {"organization": wish.organization, "livemode": livemode}
        if await queries.is_billed(connection, **whose):
            raise _already_subscribed()
        first = not await queries.had_one(connection, **whose)
        values = {
            **whose,
            "stripe_price": wish.price,
            "plan_version": plan.id,
            "trial_days": plan.document.trial_days if first else 0,
            "success_url": wish.success_url,
            "cancel_url": wish.cancel_url,
        }
        found = await queries.find_same(connection, **values)
        if found is None:
            found = await queries.keep(connection, id=text_id("bco"), asked_by=wish.asked_by, **values)
            await audit.record(
                connection,
                "checkout.started",
                by=wish.asked_by,
                subject=found["id"],
                organization=wish.organization,
                after={"plan": plan.document.slug, "stripe_price": wish.price, "trial_days": found["trial_days"]},
            )
        return found


def _key(id_: str, attempt: int) -> str:
    """The same for two attempts, so that an answer that was lost is found. But Stripe repeats a failure that it
    remembers under a key: then it takes another one. A page nobody was shown is paid by nobody, and does no harm."""
    changed = (attempt - 1) // 2
    return id_ if changed == 0 else f"{id_}-{changed}"


def _already_subscribed() -> AlreadySubscribed:
    return AlreadySubscribed(
        "This organization is subscribed already. Open the customer portal (POST /api/billing/portal) to change the"
        " plan."
    )
