"""Disputes at Stripe: looked at, answered with evidence, given up."""

from typing import Any

import msgspec

from tallystick.payments.stripe.client import StripeClient, known_errors


class StripeDispute(msgspec.Struct, frozen=True, kw_only=True):
    """A customer went to their bank. `withdrawals` says how often the money was taken from us so far, and
    `reinstatements` how often it came back: an inquiry has taken nothing."""

    id: str
    amount: int
    status: str
    reason: str
    withdrawals: int
    reinstatements: int
    respond_by: int | None
    created: int


async def disputes_of(stripe: StripeClient, payment_intent: str) -> list[StripeDispute]:
    """All disputes there ever were about a payment, the oldest first."""
    with known_errors():
        page = await stripe.v1.disputes.list_async({"payment_intent": payment_intent, "limit": 100})
        found = [_seen(dispute) async for dispute in page.auto_paging_iter()]
    return sorted(found, key=lambda dispute: (dispute.created, dispute.id))


async def submit_evidence(stripe: StripeClient, dispute: str, text: str, *, idempotency_key: str) -> None:
    """Hand in a text, which cannot be taken back; Stripe takes evidence once."""
    with known_errors():
        await stripe.v1.disputes.update_async(
            dispute,
            {"evidence": {"uncategorized_text": text}, "submit": True},
            {"idempotency_key": idempotency_key},
        )


async def close_dispute(stripe: StripeClient, dispute: str, *, idempotency_key: str) -> None:
    """Give up: the dispute is lost, for good."""
    with known_errors():
        await stripe.v1.disputes.close_async(dispute, {}, {"idempotency_key": idempotency_key})


async def payment_of(stripe: StripeClient, dispute: str) -> str:
    """The payment intent that the dispute is about."""
    with known_errors():
        found = await stripe.v1.disputes.retrieve_async(dispute)
    return str(found.payment_intent)


def _seen(dispute: Any) -> StripeDispute:
    moved = [movement.amount for movement in dispute.balance_transactions]
    return StripeDispute(
        id=dispute.id,
        amount=dispute.amount,
        status=dispute.status,
        reason=dispute.reason,
        withdrawals=sum(amount < 0 for amount in moved),
        reinstatements=sum(amount > 0 for amount in moved),
        respond_by=dispute.evidence_details.due_by,
        created=dispute.created,
    )
