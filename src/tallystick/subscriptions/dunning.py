"""Mark that a subscription is not paid, or is again. Told twice, the second changes nothing."""

from datetime import datetime, timedelta

import asyncpg
import msgspec

from tallystick.catalog.read import plan_version
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.subscription import Subscription
from tallystick.subscriptions.turn import OPERATOR, Turn, take_turn, write


async def mark_past_due(
    connection: asyncpg.Connection, organization: str, *, by: str = OPERATOR, now: datetime | None = None
) -> Subscription:
    """Access lasts for the plan's days of grace from now. A paused subscription stays paused. Raises NotFound."""
    async with connection.transaction():
        turn = await take_turn(connection, organization, now)
        current = turn.subscription
        if current.past_due_since is not None:
            return await _unchanged(connection, turn)
        plan = await plan_version(connection, current.plan_version)
        after = msgspec.structs.replace(
            current,
            status="paused" if current.status == "paused" else "past_due",
            past_due_since=turn.now,
            grace_ends_at=turn.now + timedelta(days=plan.grace_days),
        )
        await write(connection, current, after, what="past_due", by=by, effective_at=turn.now)
        await publish_constraints(connection, organization)
    return after


async def mark_active(
    connection: asyncpg.Connection, organization: str, *, by: str = OPERATOR, now: datetime | None = None
) -> Subscription:
    """What was owed is paid. Raises NotFound."""
    async with connection.transaction():
        turn = await take_turn(connection, organization, now)
        current = turn.subscription
        if current.past_due_since is None:
            return await _unchanged(connection, turn)
        after = msgspec.structs.replace(current, past_due_since=None, grace_ends_at=None)
        if current.status == "past_due":
            after = msgspec.structs.replace(after, status=after.status_unpaused(turn.now))
        await write(connection, current, after, what="paid", by=by, effective_at=turn.now)
        await publish_constraints(connection, organization)
    return after


async def _unchanged(connection: asyncpg.Connection, turn: Turn) -> Subscription:
    if turn.advanced:
        await publish_constraints(connection, turn.organization)
    return turn.subscription
