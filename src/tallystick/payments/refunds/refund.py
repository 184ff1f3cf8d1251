"""A refund: ours from before Stripe hears of it, or one that somebody made at Stripe. Its state only moves forward."""

from datetime import datetime
from typing import Final, Literal

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound
from tallystick.base.ids import is_text_id
from tallystick.ledger import audit
from tallystick.payments.refunds.origin import Origin
from tallystick.payments.stripe.refund import StripeRefund

queries = load_queries(__file__, "refund.sql")

RefundState = Literal["asked", "pending", "requires_action", "succeeded", "failed", "canceled", "refused"]

# What has failed once never succeeds again, and one that succeeded can still fail.
_RANK: Final[dict[RefundState, int]] = {
    "asked": 0,
    "pending": 1,
    "requires_action": 1,
    "succeeded": 2,
    "failed": 3,
    "canceled": 3,
    "refused": 3,
}


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """A row of refund; `amount_minor` in cents of the order's currency."""

    id: str
    payment_order: str | None
    stripe_invoice: str | None
    amount_minor: int
    state: RefundState
    stripe_refund: str | None
    asked_by: str
    reason: str | None
    failure: str | None
    proof: str | None
    created_at: datetime

    @property
    def in_force(self) -> bool:
        """Whether the money has gone, or is on its way, and has not come back."""
        return _RANK[self.state] < _RANK["failed"]


def follows(state: RefundState, seen: RefundState) -> bool:
    """Whether who is in `state` can be `seen` later. What was seen longer ago than that changes nothing."""
    return seen != state and (_RANK[seen] > _RANK[state] or (_RANK[seen] == _RANK[state] == _RANK["pending"]))


async def add(
    connection: asyncpg.Connection,
    origin: Origin,
    amount_minor: int,
    *,
    id: str,  # noqa: A002 - it is the refund's id, and nothing else here is called so
    reason: str,
    by: str,
    proof: str | None = None,
) -> Refund:
    """One of ours. With a proof it was paid already, outside of Stripe."""
    return await _keep(
        connection,
        origin,
        id=id,
        amount_minor=amount_minor,
        state="asked" if proof is None else "succeeded",
        stripe_refund=None,
        asked_by=by,
        reason=reason,
        failure=None,
        proof=proof,
    )


async def note(connection: asyncpg.Connection, origin: Origin, seen: StripeRefund) -> None:
    """Keep what Stripe shows of a refund of a payment, whose origin the caller has locked."""
    row = await queries.find_seen(
        connection, stripe_refund=seen.id, ours=seen.ours, order=origin.order, amount=seen.amount
    )
    if row is None:
        await _keep(
            connection,
            origin,
            id=seen.id,
            amount_minor=seen.amount,
            state=seen.status,
            stripe_refund=seen.id,
            asked_by="stripe",
            reason=None,
            failure=seen.failure,
            proof=None,
        )
        return
    refund = _refund(row)
    if follows(refund.state, seen.status):
        await move(connection, origin, refund, seen.status, stripe_refund=seen.id, failure=seen.failure)


async def move(
    connection: asyncpg.Connection,
    origin: Origin,
    refund: Refund,
    state: RefundState,
    *,
    stripe_refund: str | None = None,
    failure: str | None = None,
    by: str = "stripe",
) -> None:
    await queries.move(connection, id=refund.id, state=state, stripe_refund=stripe_refund, failure=failure)
    await audit.record(
        connection,
        f"refund.{state}",
        by=by,
        subject=refund.id,
        organization=origin.organization,
        before={"state": refund.state},
        after={"state": state, "failure": failure},
    )


async def refunds_of(connection: asyncpg.Connection, origin: Origin) -> list[Refund]:
    """All of one payment, the oldest first."""
    return [_refund(row) async for row in queries.of_origin(connection, order=origin.order, invoice=origin.invoice)]


async def find(connection: asyncpg.Connection | asyncpg.Pool, refund_id: str) -> Refund:
    """By our id or by Stripe's. Raises NotFound."""
    row = await queries.find(connection, id=refund_id) if is_text_id(refund_id) else None
    if row is None:
        raise NotFound("There is no such refund.")
    return _refund(row)


async def list_refunds(
    connection: asyncpg.Connection, *, organization: str | None = None, order_id: str | None = None, limit: int = 100
) -> list[Refund]:
    """The newest first."""
    rows = queries.list_refunds(connection, organization=organization, order=order_id, row_limit=limit)
    return [_refund(row) async for row in rows]


async def _keep(connection: asyncpg.Connection, origin: Origin, **values: object) -> Refund:
    refund = _refund(await queries.add(connection, payment_order=origin.order, stripe_invoice=origin.invoice, **values))
    await audit.record(
        connection,
        f"refund.{refund.state}",
        by=refund.asked_by,
        subject=refund.id,
        organization=origin.organization,
        after={"of": origin.name, "amount_minor": refund.amount_minor, "reason": refund.reason, "proof": refund.proof},
    )
    return refund


def _refund(row: asyncpg.Record) -> Refund:
    return msgspec.convert({name: row[name] for name in Refund.__struct_fields__}, Refund)
