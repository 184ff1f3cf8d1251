"""Bring an organization's subscription and its invoices to what Stripe says they are."""

from collections.abc import Mapping
from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.catalog.read import plan_version
from tallystick.payments.billing import checkout
from tallystick.payments.billing.invoice import keep_invoice
from tallystick.payments.billing.look import Seen, is_of_a_subscription, look, look_again
from tallystick.payments.billing.plan_price import versions_of
from tallystick.payments.billing.standing import PlanItem, billed, next_version, period_problem, plan_item
from tallystick.payments.ending import Ending
from tallystick.payments.follower import Follower, Outdated
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.subscription import StripeSubscription
from tallystick.subscriptions.follow import follow

_LOOKS_MAX: Final = 5

queries = load_queries(__file__, "follow.sql")


async def apply(connection: asyncpg.Connection, seen: Seen) -> Ending:
    """In the caller's transaction. Subscriptions before money: a turn comes before a lane. Raises Outdated."""
    # What was seen before someone else looked may be older than what they saw.
    if await queries.lock_customer(connection, id=seen.customer) != seen.looked:
        raise Outdated(f"the subscriptions of {seen.customer} were looked at meanwhile")
    await queries.count_look(connection, id=seen.customer)
    await _end_session(connection, seen)
    problems = await _follow_all(connection, seen)
    if seen.invoice is not None:
        problem = await keep_invoice(connection, seen.invoice, seen.organization, seen.livemode, seen.payment_failed)
        problems += [problem] if problem else []
    return ("quarantined", "; ".join(problems)) if problems else ("processed", None)


async def bring_up_to_date(
    pool: asyncpg.Pool, stripe: StripeClient, customer: str, *, invoice: str | None = None
) -> Ending:
    """The same without an event, for one customer and at most one invoice: what reconciling does.

    Raises PaymentPending, PaymentRefused."""
    for _ in range(_LOOKS_MAX):
        seen = await look(pool, stripe, customer, invoice=invoice)
        if seen is None:
            return "ignored", "no customer of ours"
        try:
            async with pool.acquire() as connection, connection.transaction():
                return await apply(connection, seen)
        except Outdated:
            continue
    raise Outdated(f"customer {customer} was looked at {_LOOKS_MAX} times, and others were faster each time")


async def _end_session(connection: asyncpg.Connection, seen: Seen) -> None:
    whose = {"organization": seen.organization, "session": seen.session}
    if seen.session_ended == "completed":
        await checkout.queries.complete(connection, **whose)
        # Heard late, its subscription may be over: then a page that was opened since is of use.
        if any(one.live for one in seen.subscriptions):
            await checkout.queries.supersede(connection, **whose, livemode=seen.livemode)
    elif seen.session_ended == "expired":
        await checkout.queries.expire(connection, **whose)


async def _follow_all(connection: asyncpg.Connection, seen: Seen) -> list[str]:
    """Keep how every subscription stands, and follow the one that is the organization's; what is wrong with them."""
    prices = [price for one in seen.subscriptions for price in one.prices]
    versions = await versions_of(connection, prices, livemode=seen.livemode)
    linked, pinned = await _linked(connection, seen.organization)
    items = {
        one.id: plan_item(one, versions, pinned=pinned if one.id == linked else None) for one in seen.subscriptions
    }
    chosen = _chosen(seen, items, linked)
    problems = []
    # What ended first: it makes room for its successor.
    for one in sorted(seen.subscriptions, key=lambda one: one.live):
        found, problem = items[one.id], None
        if one.id in {chosen, linked}:
            later = next_version(one, versions)
            problem = await _follow_one(connection, seen.organization, one, found, pinned, later)
        elif one.live:
            problem = found if isinstance(found, str) else f"subscription {one.id} is one too many beside {chosen}"
        await _keep(connection, seen, one, found, problem)
        problems += [problem] if problem else []
    return problems


def _chosen(seen: Seen, items: Mapping[str, PlanItem | str], linked: str | None) -> str | None:
    """Which subscription is the organization's: the one that is, as long as it lives; else the oldest with a plan."""
    by_id = {one.id: one for one in seen.subscriptions}
    if linked is not None and (linked not in by_id or by_id[linked].live):
        return linked
    alive = (one.id for one in seen.subscriptions if one.live and isinstance(items[one.id], PlanItem))
    return next(alive, None)


async def _linked(connection: asyncpg.Connection, organization: str) -> tuple[str | None, int | None]:
    row = await queries.linked(connection, organization=organization)
    return (None, None) if row is None else (row["stripe_subscription"], row["plan_version"])


async def _follow_one(
    connection: asyncpg.Connection,
    organization: str,
    one: StripeSubscription,
    found: PlanItem | str,
    pinned: int | None,
    later: int | None,
) -> str | None:
    """With a price that no plan has, all but the plan is followed."""
    item, version = (found.item, found.plan_version) if isinstance(found, PlanItem) else (None, pinned)
    if version is None:
        raise AssertionError(f"subscription {one.id} was chosen without a plan")
    plan = await plan_version(connection, version)
    await follow(connection, organization, billed(one, item, plan, version, later))
    if not one.live:
        return None
    return found if isinstance(found, str) else period_problem(one, found.item, plan)


async def _keep(
    connection: asyncpg.Connection, seen: Seen, one: StripeSubscription, found: PlanItem | str, problem: str | None
) -> None:
    item = found.item if isinstance(found, PlanItem) else None
    await queries.keep(
        connection,
        id=one.id,
        organization=seen.organization,
        livemode=seen.livemode,
        status=one.status,
        price=item and item.price,
        plan_version=found.plan_version if isinstance(found, PlanItem) else None,
        period_starts_at=item and item.period_starts_at,
        period_ends_at=item and item.period_ends_at,
        cancel_at=one.cancel_at,
        created_at=one.created_at,
        ended_at=one.ended_at,
        problem=problem,
    )


PAGES: Final = Follower(
    types=("checkout.session.completed", "checkout.session.expired"),
    read=look_again,
    apply=apply,
    concerns=is_of_a_subscription,
)
SUBSCRIPTIONS: Final = Follower(
    types=(
        *(
            f"customer.subscription.{what}"
            for what in ("created", "updated", "deleted", "paused", "resumed", "trial_will_end")
        ),
        *(
            f"invoice.{what}"
            for what in (
                "created",
                "finalized",
                "paid",
                "payment_failed",
                "payment_action_required",
                "voided",
                "marked_uncollectible",
                "updated",
            )
        ),
    ),
    read=look_again,
    apply=apply,
)
