"""Cancel a subscription: at the end of what is paid for, or at once."""

from datetime import datetime

import asyncpg
import msgspec

from tallystick.base.errors import Conflict
from tallystick.catalog.read import plan_version
from tallystick.subscriptions.due import ended
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.subscription import Subscription
from tallystick.subscriptions.turn import OPERATOR, take_turn, write


async def cancel(
    connection: asyncpg.Connection,
    organization: str,
    *,
    at_once: bool = False,
    by: str = OPERATOR,
    now: datetime | None = None,
) -> Subscription:
    """End the trial or the period that runs, then the subscription; `resume` takes that back before.

    At once, the rest of the period is lost: giving money back is a refund. Raises NotFound, Conflict.
    """
    async with connection.transaction():
        turn = await take_turn(connection, organization, now)
        current = turn.subscription
        if at_once:
            after = ended(current, turn.now)
            await write(connection, current, after, what="canceled", by=by, effective_at=turn.now)
        else:
            if current.cancel_at is not None:
                raise Conflict("The subscription is to end already.")
            cancel_at = current.paid_until(await plan_version(connection, current.plan_version), turn.now)
            after = msgspec.structs.replace(current, cancel_at=cancel_at, pending_plan_version=None, pending_at=None)
            await write(connection, current, after, what="cancel_scheduled", by=by, effective_at=cancel_at)
        await publish_constraints(connection, organization)
    return after
