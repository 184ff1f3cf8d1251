"""An organization's turn: whoever has it, until the transaction ends, is alone with its subscription and document."""

from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, NotFound
from tallystick.base.ids import is_text_id
from tallystick.catalog.read import plan_version
from tallystick.ledger import audit
from tallystick.notices.emit import emit
from tallystick.subscriptions import subscription
from tallystick.subscriptions.due import apply_due, next_due
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
    """As it is by now: what was due has been applied."""
    advanced: bool
    """Whether something was. Then the caller publishes, whatever else it does."""

    @property
    def subscription(self) -> Subscription:
        """For who wants to change it. Raises NotFound where the organization has none that is live, and Conflict where
        it is not ours to change."""
        if self.found is None:
            raise NotFound("The organization has no subscription.")
        if self.found.stripe_subscription is not None:
            raise Conflict(
                f"Stripe bills this subscription ({self.found.stripe_subscription}), and what is changed there is"
                " followed here: change it in the customer portal, or in Stripe's dashboard."
            )
        return self.found


async def take_turn(connection: asyncpg.Connection, organization: str, now: datetime | None = None) -> Turn:
    """Wait for the turn, and apply what is due by `now`, which defaults to the database's. Raises NotFound.

    The turn ends with the caller's READ COMMITTED transaction. Whoever also posts in it takes the turn first, for
    publishing locks the account's lane while it has the turn: the other way round, two would wait for each other.
    """
    await wait_for_turn(connection, organization)
    # Statements of their own: each must see what the last turn wrote.
    moment: datetime = await queries.moment(connection, now=now)
    found, advanced = await subscription.live(connection, organization), False
    while found is not None and (due := next_due(found, moment)) is not None:
        after = apply_due(found, due, same_interval=await _is_interval_kept(connection, found))
        await write(connection, found, after, what=due.step, by=CLOCK, effective_at=due.at)
        found, advanced = after, True
    live = None if found is None or found.ended_at is not None else found
    return Turn(organization=organization, now=moment, found=live, advanced=advanced)


async def wait_for_turn(connection: asyncpg.Connection, organization: str) -> None:
    """The turn alone, with nothing applied. Raises NotFound."""
    if not connection.is_in_transaction():
        raise RuntimeError("a turn needs the caller's transaction, which ends it")
    locked = await queries.lock_organization(connection, id=organization) if is_text_id(organization) else None
    if locked is None:
        raise NotFound("There is no such organization.")


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
    await _tell(connection, before, after, what=what, effective_at=effective_at)


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
    """Add one line to the organization's history, and the event of the audit log that goes with it."""
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
    await audit.record(
        connection,
        f"subscription.{what}",
        by=by,
        subject=subscription or organization,
        organization=organization,
        before=before,
        after=after,
    )


async def _tell(
    connection: asyncpg.Connection,
    before: Subscription | None,
    after: Subscription,
    *,
    what: str,
    effective_at: datetime,
) -> None:
    """The notice of a change, for the organization's webhooks."""
    ends = after.ended_at is not None and (before is None or before.ended_at is None)
    kind = "canceled" if ends else "created" if before is None else "updated"
    plan = await plan_version(connection, after.plan_version)
    await emit(
        connection,
        after.organization,
        f"subscription.{kind}",
        {
            "subscription": after.id,
            "organization": after.organization,
            "what": what,
            "plan": plan.slug,
            "plan_version": after.plan_version,
            "status": after.status,
            "effective_at": effective_at,
            "trial_ends_at": after.trial_ends_at,
            "pending_at": after.pending_at,
            "cancel_at": after.cancel_at,
            "grace_ends_at": after.grace_ends_at,
            "ended_at": after.ended_at,
        },
    )


async def _is_interval_kept(connection: asyncpg.Connection, current: Subscription) -> bool:
    if current.pending_plan_version is None:
        return True
    old = await plan_version(connection, current.plan_version)
    new = await plan_version(connection, current.pending_plan_version)
    return old.interval == new.interval


def _text(value: msgspec.Struct | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
