"""A dispute: a customer went to their bank. What we know of it only moves forward."""

from datetime import UTC, datetime
from typing import Final

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound
from tallystick.base.ids import is_text_id
from tallystick.ledger import audit
from tallystick.payments.refunds.origin import Origin
from tallystick.payments.stripe.dispute import StripeDispute

queries = load_queries(__file__, "dispute.sql")

# A warning is an inquiry, which can become a dispute even after it was closed.
_RANK: Final = {
    "warning_needs_response": 0,
    "warning_under_review": 1,
    "warning_closed": 2,
    "needs_response": 3,
    "under_review": 4,
}
_DECIDED: Final = 5


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    """A row of dispute; `id` is Stripe's, `amount_minor` in cents of the order's currency."""

    id: str
    payment_order: str | None
    stripe_invoice: str | None
    amount_minor: int
    status: str
    reason: str
    withdrawals: int
    reinstatements: int
    respond_by: datetime | None
    created_at: datetime

    @property
    def in_force(self) -> bool:
        """Whether the money is not with us."""
        return self.withdrawals > self.reinstatements and self.status != "won"


def is_later(seen: StripeDispute, kept: Dispute) -> bool:
    """Whether what was seen is further on than what is kept: more of its money moved, or it is closer to its end."""
    return (seen.withdrawals + seen.reinstatements, _rank(seen.status)) > (
        kept.withdrawals + kept.reinstatements,
        _rank(kept.status),
    )


async def note(connection: asyncpg.Connection, origin: Origin, seen: StripeDispute) -> None:
    """Keep what Stripe shows of a dispute about a payment, whose origin the caller has locked."""
    row = await queries.find(connection, id=seen.id)
    kept = None if row is None else _dispute(row)
    if kept is not None and not is_later(seen, kept):
        return
    await queries.put(
        connection,
        id=seen.id,
        order=origin.order,
        invoice=origin.invoice,
        # What was taken once stays what was taken.
        amount_minor=seen.amount if kept is None or seen.withdrawals > kept.withdrawals else kept.amount_minor,
        status=seen.status,
        reason=seen.reason,
        withdrawals=seen.withdrawals,
        reinstatements=seen.reinstatements,
        respond_by=None if seen.respond_by is None else datetime.fromtimestamp(seen.respond_by, UTC),
    )
    await audit.record(
        connection,
        f"dispute.{seen.status}",
        by="stripe",
        subject=seen.id,
        organization=origin.organization,
        before=None if kept is None else {"status": kept.status, "withdrawals": kept.withdrawals},
        after={"of": origin.name, "status": seen.status, "withdrawals": seen.withdrawals, "reason": seen.reason},
    )


async def disputes_of(connection: asyncpg.Connection, origin: Origin) -> list[Dispute]:
    """All about one payment, the oldest first."""
    return [_dispute(row) async for row in queries.of_origin(connection, order=origin.order, invoice=origin.invoice)]


async def find(connection: asyncpg.Connection | asyncpg.Pool, dispute_id: str) -> Dispute:
    """Raises NotFound."""
    row = await queries.find(connection, id=dispute_id) if is_text_id(dispute_id) else None
    if row is None:
        raise NotFound("There is no such dispute.")
    return _dispute(row)


async def organization_of(connection: asyncpg.Connection, dispute: Dispute) -> str:
    organization: str = await queries.organization_of(connection, id=dispute.id)
    return organization


async def list_disputes(
    connection: asyncpg.Connection, *, organization: str | None = None, order_id: str | None = None, limit: int = 100
) -> list[Dispute]:
    """The newest first."""
    rows = queries.list_disputes(connection, organization=organization, order=order_id, row_limit=limit)
    return [_dispute(row) async for row in rows]


def _rank(status: str) -> int:
    return _RANK.get(status, _DECIDED)


def _dispute(row: asyncpg.Record) -> Dispute:
    return msgspec.convert(dict(row), Dispute)
