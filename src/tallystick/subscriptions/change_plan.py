"""Change a subscription's plan: to a dearer one at once, with its proration; to a cheaper one at the period's end."""

from datetime import datetime
from typing import Literal

import asyncpg
import msgspec

from tallystick.base.errors import Conflict
from tallystick.catalog.book import Held
from tallystick.catalog.plan import Plan
from tallystick.catalog.read import plan_version
from tallystick.subscriptions.offer import read_offer, refuse_billed_by_stripe
from tallystick.subscriptions.proration import Proration, prorate
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.subscription import Subscription
from tallystick.subscriptions.turn import OPERATOR, take_turn, write

When = Literal["auto", "now", "period_end"]


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """`proration` is None where nothing of a period was paid for, or nothing changes before its end."""

    subscription: Subscription
    effective_at: datetime
    proration: Proration | None = None


async def change_plan(
    connection: asyncpg.Connection,
    organization: str,
    slug: str,
    *,
    when: When = "auto",
    restart_period: bool = False,
    expects: int | None = None,
    by: str = OPERATOR,
    now: datetime | None = None,
) -> Changed:
    """Move the subscription to the plan's version that is sold now.

    At once, the billing period and all that was used in it stay as they are, unless `restart_period` begins a new one
    now, as a change between months and years always does. Nothing here touches a feature's rolling window. Changing
    to the pinned version takes back a change that waits. `expects` is the version the caller saw: Conflict where it
    is another by now. Raises NotFound, UnknownPlan, Conflict.
    """
    async with connection.transaction():
        turn = await take_turn(connection, organization, now)
        current = turn.subscription
        offer = await read_offer(connection, turn.now)
        new = offer.book.plan(slug, turn.now)
        refuse_billed_by_stripe(new.document)
        old = await plan_version(connection, current.plan_version)
        _refuse(current, new.id, expects)
        if new.id == current.plan_version:
            what, changed = "plan_kept", _kept(current, turn.now)
        elif _at_once(current, old, new.document, when):
            what, changed = "plan_changed", _changed(current, old, new, turn.now, restart_period=restart_period)
        else:
            what, changed = "plan_change_scheduled", _scheduled(current, old, new.id, turn.now)
        await write(
            connection,
            current,
            changed.subscription,
            what=what,
            by=by,
            effective_at=changed.effective_at,
            proration=changed.proration,
        )
        await publish_constraints(connection, organization)
    return changed


def _refuse(current: Subscription, new: int, expects: int | None) -> None:
    if expects is not None and current.plan_version != expects:
        raise Conflict("The plan was changed meanwhile.")
    if current.cancel_at is not None:
        raise Conflict("The subscription is to end: resume it before its plan is changed.")
    if new == current.plan_version and current.pending_plan_version is None:
        raise Conflict("The organization is on this plan already.")
    if new == current.pending_plan_version:
        raise Conflict("The change to this plan waits for the end of the period already.")


def _at_once(current: Subscription, old: Plan, new: Plan, when: When) -> bool:
    if when == "period_end" or (
        when == "auto" and current.status != "trialing" and _yearly_minor(new) < _yearly_minor(old)
    ):
        return False
    if current.status in {"past_due", "paused"}:
        raise Conflict(f"The subscription is {current.status}: its plan can be changed at the end of the period only.")
    if old.currency != new.currency and current.status != "trialing":
        raise Conflict("A plan in another currency can begin at the end of the period only.")
    return True


def _yearly_minor(plan: Plan) -> int:
    return plan.amount_minor * (1 if plan.interval == "year" else 12)


def _kept(current: Subscription, now: datetime) -> Changed:
    after = msgspec.structs.replace(current, pending_plan_version=None, pending_at=None)
    return Changed(subscription=after, effective_at=now)


def _changed(current: Subscription, old: Plan, new: Held[Plan], now: datetime, *, restart_period: bool) -> Changed:
    after = msgspec.structs.replace(current, plan_version=new.id, pending_plan_version=None, pending_at=None)
    if current.status == "trialing":
        return Changed(subscription=after, effective_at=now)
    if restart_period or old.interval != new.document.interval:
        after = msgspec.structs.replace(after, anchor=now)
    proration = prorate(old, current.period(old, now), new.document, after.period(new.document, now), now)
    return Changed(subscription=after, effective_at=now, proration=proration)


def _scheduled(current: Subscription, old: Plan, new: int, now: datetime) -> Changed:
    at = current.paid_until(old, now)
    after = msgspec.structs.replace(current, pending_plan_version=new, pending_at=at)
    return Changed(subscription=after, effective_at=at)
