"""An organization's turn: whoever has it, until the transaction ends, is alone with its subscription and document."""

from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound
from tallystick.base.ids import is_text_id
from tallystick.subscriptions import subscription
from tallystick.subscriptions.proration import Proration
from tallystick.subscriptions.subscription import Subscription

OPERATOR: Final = "operator"
CLOCK: Final = "clock"

queries = load_queries(__file__, "turn.sql")

_WRITTEN: Final = (
    "plan_version",
    "status",
    "anchor",
    "trial_ends_at",
    "pending_plan_version",
    "pending_at",
    "cancel_at",
    "past_due_since",
    "grace_ends_at",
    "stripe_customer",
    "stripe_subscription",
    "created_at",
    "ended_at",
)


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What was found when the turn came. `now` is the caller's moment, never later than the database's clock."""

    organization: str
    now: datetime
    found: Subscription | None

    @property
    def subscription(self) -> Subscription:
        """Raises NotFound where the organization has none that is live."""
        if self.found is None:
            raise NotFound("The organization has no subscription.")
        return self.found


async def take_turn(connection: asyncpg.Connection, organization: str, now: datetime | None = None) -> Turn:
    """Wait for the turn; it ends with the caller's READ COMMITTED transaction. Raises NotFound.

    Without `now` the database's clock says it. Statements of their own: each must see what the last turn wrote.
    """
    if not connection.is_in_transaction():
        raise RuntimeError("a turn needs the caller's transaction, which ends it")
    locked = await queries.lock_organization(connection, id=organization) if is_text_id(organization) else None
    if locked is None:
        raise NotFound("There is no such organization.")
    return Turn(
        organization=organization,
        now=await queries.moment(connection, now=now),
        found=await subscription.live(connection, organization),
    )


async def write(
    connection: asyncpg.Connection,
    before: Subscription | None,
    after: Subscription,
    *,
    what: str,
    by: str,
    effective_at: datetime,
    proration: Proration | None = None,
) -> None:
    """Keep `after` in place of `before`, and the event that says so. The caller has the turn."""
    values = {name: getattr(after, name) for name in _WRITTEN}
    if before is None:
        await queries.insert(connection, id=after.id, organization=after.organization, **values)
    else:
        await queries.update(connection, id=after.id, **values)
    await record(
        connection,
        after.organization,
        what=what,
        by=by,
        effective_at=effective_at,
        before=before,
        after=after,
        subscription=after.id,
        proration=proration,
    )


async def record(
    connection: asyncpg.Connection,
    organization: str,
    *,
    what: str,
    by: str,
    effective_at: datetime,
    before: msgspec.Struct | None,
    after: msgspec.Struct | None,
    subscription: str | None = None,
    proration: Proration | None = None,
) -> None:
    """Add one line to the organization's history."""
    await queries.record(
        connection,
        organization=organization,
        subscription=subscription,
        what=what,
        done_by=by,
        effective_at=effective_at,
        before=_text(before),
        after=_text(after),
        proration=_text(proration),
    )


def _text(value: msgspec.Struct | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
