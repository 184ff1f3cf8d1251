"""Pause a subscription, and take it up again. Billing periods run on meanwhile."""

from datetime import datetime

import asyncpg
import msgspec

from tallystick.base.errors import Conflict
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.subscription import Subscription
from tallystick.subscriptions.turn import OPERATOR, take_turn, write


async def pause(
    connection: asyncpg.Connection, organization: str, *, by: str = OPERATOR, now: datetime | None = None
) -> Subscription:
    """No access until it is resumed. Raises NotFound, Conflict."""
    async with connection.transaction():
        turn = await take_turn(connection, organization, now)
        current = turn.subscription
        if current.status == "paused":
            raise Conflict("The subscription is paused already.")
        after = msgspec.structs.replace(current, status="paused")
        await write(connection, current, after, what="paused", by=by, effective_at=turn.now)
        await publish_constraints(connection, organization)
    return after


async def resume(
    connection: asyncpg.Connection, organization: str, *, by: str = OPERATOR, now: datetime | None = None
) -> Subscription:
    """End a pause, and take back a cancellation that waits. Raises NotFound, Conflict."""
    async with connection.transaction():
        turn = await take_turn(connection, organization, now)
        current = turn.subscription
        if current.status != "paused" and current.cancel_at is None:
            raise Conflict("The subscription is neither paused nor to end.")
        after = msgspec.structs.replace(current, cancel_at=None)
        if current.status == "paused":
            after = msgspec.structs.replace(after, status=current.status_unpaused(turn.now))
        await write(connection, current, after, what="resumed", by=by, effective_at=turn.now)
        await publish_constraints(connection, organization)
    return after
