"""Apply what is due: ends of trials and of grace, plan changes that waited for the period's end, cancellations.

May run at any time, twice, on several hosts at once: each subscription is advanced by whoever gets its turn.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.catalog.plan import Plan
from tallystick.catalog.read import plan_version
from tallystick.subscriptions.cancel import ended
from tallystick.subscriptions.each import PAGE, each
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.subscription import Subscription
from tallystick.subscriptions.turn import CLOCK, take_turn, write

queries = load_queries(__file__, "advance.sql")


async def advance(pool: asyncpg.Pool, now: datetime | None = None) -> int:
    """Advance every subscription with something due by `now`, and by the database's clock; returns how many were."""
    return await each(
        pool,
        lambda connection, after: queries.due(connection, now=now, after=after, row_limit=PAGE),
        lambda connection, organization: advance_one(connection, organization, now),
    )


async def advance_one(connection: asyncpg.Connection, organization: str, now: datetime | None = None) -> bool:
    """Apply what is due for one organization, in the order it was due; False where nothing is."""
    async with connection.transaction():
        turn = await take_turn(connection, organization, now)
        current, changed = turn.found, False
        while current is not None and current.ended_at is None:
            step = min(
                (step for step in _steps(current) if step[0] <= turn.now), key=lambda step: step[0], default=None
            )
            if step is None:
                break
            due_at, what = step
            if what == "plan_changed" and current.pending_plan_version is not None:
                old = await plan_version(connection, current.plan_version)
                new = await plan_version(connection, current.pending_plan_version)
                after = _on_pending_plan(current, old, new, due_at)
            else:
                after = _SIMPLE[what](current, due_at)
            await write(connection, current, after, what=what, by=CLOCK, effective_at=due_at)
            current, changed = after, True
        if changed:
            await publish_constraints(connection, organization)
    return changed


def _steps(current: Subscription) -> Iterator[tuple[datetime, str]]:
    """When each thing is due; of what is due at once the first comes first. advance.sql finds the same ones."""
    if current.cancel_at is not None:
        yield current.cancel_at, "canceled"
    if current.pending_at is not None:
        yield current.pending_at, "plan_changed"
    if current.status == "trialing" and current.trial_ends_at is not None:
        yield current.trial_ends_at, "trial_ended"
    if current.grace_ends_at is not None:
        yield current.grace_ends_at, "grace_ended"


def _on_pending_plan(current: Subscription, old: Plan, new: Plan, at: datetime) -> Subscription:
    after = msgspec.structs.replace(
        current,
        plan_version=current.pending_plan_version,
        pending_plan_version=None,
        pending_at=None,
    )
    # Months and years cannot be counted from one anchor without one beginning in the middle of another.
    return after if old.interval == new.interval else msgspec.structs.replace(after, anchor=at)


def _end_trial(current: Subscription, _at: datetime) -> Subscription:
    return msgspec.structs.replace(current, status="active")


def _end_grace(current: Subscription, _at: datetime) -> Subscription:
    return msgspec.structs.replace(current, grace_ends_at=None)


_SIMPLE: Final[dict[str, Callable[[Subscription, datetime], Subscription]]] = {
    "canceled": ended,
    "trial_ended": _end_trial,
    "grace_ended": _end_grace,
}
