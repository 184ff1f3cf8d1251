"""Answer a dispute, or give it up: an operator's act, after which the dispute is looked at again."""

from hashlib import sha256
from typing import Final

import asyncpg

from tallystick.base.errors import Conflict, InvalidInput
from tallystick.ledger import audit
from tallystick.payments.refunds import dispute
from tallystick.payments.refunds.dispute import Dispute
from tallystick.payments.refunds.follow import apply, look, look_at_invoice
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.dispute import close_dispute, payment_of, submit_evidence

_UNANSWERED: Final = {"needs_response", "warning_needs_response"}
_OPEN: Final = {*_UNANSWERED, "under_review", "warning_under_review"}
_TEXT_MAX: Final = 20_000


async def submit(pool: asyncpg.Pool, stripe: StripeClient, dispute_id: str, text: str, *, by: str) -> Dispute:
    """Hand in `text` as evidence, which Stripe takes once. Raises NotFound, InvalidInput, Conflict."""
    if not text.strip() or len(text) > _TEXT_MAX:
        raise InvalidInput("text", f"must be evidence of 1 to {_TEXT_MAX} characters")
    found = await dispute.find(pool, dispute_id)
    if found.status not in _UNANSWERED:
        raise Conflict(f"This dispute is {found.status}: evidence can be handed in while it needs a response.")
    digest = sha256(text.encode()).hexdigest()
    await submit_evidence(stripe, found.id, text, idempotency_key=f"{found.id}-evidence-{digest[:16]}")
    return await _acted(pool, stripe, found, "dispute.answered", by=by, after={"evidence_sha256": digest})


async def close(pool: asyncpg.Pool, stripe: StripeClient, dispute_id: str, *, by: str) -> Dispute:
    """Accept that the dispute is lost; nobody can take that back. Raises NotFound, Conflict."""
    found = await dispute.find(pool, dispute_id)
    if found.status not in _OPEN:
        raise Conflict(f"This dispute is {found.status}: there is nothing left to give up.")
    await close_dispute(stripe, found.id, idempotency_key=f"{found.id}-close")
    return await _acted(pool, stripe, found, "dispute.given_up", by=by, after={})


async def _acted(
    pool: asyncpg.Pool, stripe: StripeClient, found: Dispute, act: str, *, by: str, after: dict[str, object]
) -> Dispute:
    payment_intent = await payment_of(stripe, found.id)
    seen = (
        await look(stripe, payment_intent)
        if found.stripe_invoice is None
        else await look_at_invoice(stripe, payment_intent, found.stripe_invoice)
    )
    async with pool.acquire() as connection, connection.transaction():
        organization = await dispute.organization_of(connection, found)
        await audit.record(connection, act, by=by, subject=found.id, organization=organization, after=after)
        if seen is not None:
            await apply(connection, seen)
    return await dispute.find(pool, found.id)
