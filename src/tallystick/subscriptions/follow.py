"""Follow a subscription that Stripe bills: bring ours to what it is there, whatever it was here before."""

from datetime import datetime, timedelta
from typing import Final, Literal

import asyncpg
import msgspec

from tallystick.base.errors import Conflict
from tallystick.base.ids import text_id
from tallystick.catalog.plan import Plan
from tallystick.catalog.read import plan_version
from tallystick.subscriptions import subscription
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.subscription import Status, Subscription
from tallystick.subscriptions.turn import Turn, take_turn, write

STRIPE: Final = "stripe"


class Billed(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as who bills it says that it is."""

    customer: str
    id: str
    plan_version: int
    status: Literal["trialing", "active", "past_due", "unpaid", "paused", "canceled"]
    """past_due: its payment is tried again. unpaid: it is not tried any more, and there is no grace left."""
    anchor: datetime
    trial_ends_at: datetime | None = None
    cancel_at: datetime | None = None
    pending_plan_version: int | None = None
    """A change that waits, and until when."""
    pending_at: datetime | None = None
    unpaid_since: datetime | None = None
    """Since when what is owed now could be paid; None where nothing is owed."""
    created_at: datetime
    ended_at: datetime | None = None


async def follow(
    connection: asyncpg.Connection, organization: str, billed: Billed, *, now: datetime | None = None
) -> Subscription | None:
    """Make it the organization's subscription; one of ours that nobody bills becomes it. Told twice, the second changes
    nothing. None for one that ended before it was ever seen here.

    Raises NotFound, and Conflict where the organization's live subscription is billed as another one.
    """
    async with connection.transaction():
        turn = await take_turn(connection, organization, now)
        before = await subscription.billed_as(connection, billed.id)
        live = turn.found
        if billed.ended_at is None and live is not None and live.stripe_subscription not in {None, billed.id}:
            raise Conflict(f"The organization's subscription is {live.stripe_subscription}.")
        if before is None and billed.ended_at is None:
            before = live
        after = before
        if before is not None or billed.ended_at is None:
            after = _brought(before, billed, await plan_version(connection, billed.plan_version), turn)
        if after is not None and after != before:
            await write(
                connection,
                before,
                after,
                what=_what(before, after),
                by=STRIPE,
                effective_at=_since(before, after, turn),
            )
        if after != before or turn.advanced:
            await publish_constraints(connection, organization)
    return after


def _since(before: Subscription | None, after: Subscription, turn: Turn) -> datetime:
    """When it took effect: where it began or ended, that is known; else as soon as we heard."""
    if after.ended_at is not None:
        return after.ended_at
    return turn.now if before is not None else after.created_at


def _brought(before: Subscription | None, billed: Billed, plan: Plan, turn: Turn) -> Subscription:
    since = None
    if billed.status in {"past_due", "unpaid"} or (billed.status == "paused" and billed.unpaid_since):
        since = before.past_due_since if before is not None else None
        since = since or min(billed.unpaid_since or turn.now, turn.now)
    return Subscription(
        id=text_id("sub") if before is None else before.id,
        organization=turn.organization,
        plan_version=billed.plan_version,
        status=_status(billed),
        anchor=billed.anchor,
        trial_ends_at=billed.trial_ends_at,
        pending_plan_version=None if billed.ended_at else billed.pending_plan_version,
        pending_at=None if billed.ended_at else billed.pending_at,
        cancel_at=billed.cancel_at,
        past_due_since=since,
        grace_ends_at=None if since is None else _grace(billed, since + timedelta(days=plan.grace_days), turn.now),
        stripe_customer=billed.customer,
        stripe_subscription=billed.id,
        created_at=min(billed.created_at, turn.now) if before is None else before.created_at,
        ended_at=None if billed.ended_at is None else min(billed.ended_at, turn.now),
    )


def _status(billed: Billed) -> Status:
    if billed.ended_at is not None:
        return "canceled"
    return "past_due" if billed.status == "unpaid" else billed.status


def _grace(billed: Billed, ends_at: datetime, now: datetime) -> datetime | None:
    """None once it is over: so the clock leaves it, too."""
    over = billed.status == "unpaid" or billed.ended_at is not None or ends_at <= now
    return None if over else ends_at


def _what(before: Subscription | None, after: Subscription) -> str:  # noqa: PLR0911 - a table in order of weight
    if before is None:
        return "subscribed"
    if after.ended_at is not None:
        return "canceled"
    if before.stripe_subscription != after.stripe_subscription:
        return "billed_by_stripe"
    if before.plan_version != after.plan_version:
        return "plan_changed"
    if before.status != after.status:
        words = {"past_due": "past_due", "paused": "paused", "trialing": "trial_began"}
        ended = {"past_due": "paid", "paused": "resumed", "trialing": "trial_ended"}
        return words.get(after.status) or ended.get(before.status, "followed")
    if before.pending_plan_version != after.pending_plan_version:
        return "plan_kept" if after.pending_plan_version is None else "plan_change_scheduled"
    if before.cancel_at != after.cancel_at:
        return "resumed" if after.cancel_at is None else "cancel_scheduled"
    return "followed"
