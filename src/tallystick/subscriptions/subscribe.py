"""Subscribe an organization to a plan, with a trial where the plan has one."""

from datetime import datetime, timedelta
from typing import Final

import asyncpg

from tallystick.base.errors import Conflict, InvalidInput
from tallystick.base.ids import text_id
from tallystick.subscriptions import subscription
from tallystick.subscriptions.offer import read_offer, refuse_billed_by_stripe
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.subscription import Subscription
from tallystick.subscriptions.turn import OPERATOR, take_turn, write

_TRIAL_DAYS_MAX: Final = 730


async def subscribe(
    connection: asyncpg.Connection,
    organization: str,
    slug: str,
    *,
    trial_days: int | None = None,
    by: str = OPERATOR,
    now: datetime | None = None,
) -> Subscription:
    """Pin the plan's version that is sold now. Billing periods are counted from now, or from the end of the trial.

    The plan's own trial is for an organization's first subscription only; `trial_days` is for any. Raises NotFound,
    UnknownPlan, and Conflict where there is a live subscription.
    """
    if trial_days is not None and not 0 <= trial_days <= _TRIAL_DAYS_MAX:
        raise InvalidInput("trial_days", f"must be between 0 and {_TRIAL_DAYS_MAX}")
    async with connection.transaction():
        turn = await take_turn(connection, organization, now)
        if turn.found is not None:
            raise Conflict("The organization has a subscription: change its plan, or cancel it first.")
        offer = await read_offer(connection, turn.now)
        plan = offer.book.plan(slug, turn.now)
        refuse_billed_by_stripe(plan.document)
        if trial_days is None:
            trial_days = 0 if await subscription.had_one(connection, organization) else plan.document.trial_days
        trial_ends_at = turn.now + timedelta(days=trial_days) if trial_days else None
        made = Subscription(
            id=text_id("sub"),
            organization=organization,
            plan_version=plan.id,
            status="trialing" if trial_ends_at else "active",
            anchor=trial_ends_at or turn.now,
            trial_ends_at=trial_ends_at,
            created_at=turn.now,
        )
        await write(connection, None, made, what="subscribed", by=by, effective_at=turn.now)
        await publish_constraints(connection, organization)
    return made
