"""Refunds at Stripe: made, and looked at again."""

from typing import Any, Literal

import msgspec

from tallystick.payments.stripe.client import StripeClient, known_errors

RefundStatus = Literal["pending", "requires_action", "succeeded", "failed", "canceled"]


class StripeRefund(msgspec.Struct, frozen=True, kw_only=True):
    """Money on its way back, or there, or back with us; `ours` is the id that we gave it, where we made it."""

    id: str
    amount: int
    status: RefundStatus
    ours: str | None
    failure: str | None
    created: int


async def create_refund(
    stripe: StripeClient, payment_intent: str, amount_minor: int, *, ours: str, order: str, idempotency_key: str
) -> StripeRefund:
    """Give back `amount_minor` of a payment."""
    with known_errors():
        made = await stripe.v1.refunds.create_async(
            {
                "payment_intent": payment_intent,
                "amount": amount_minor,
                "metadata": {"refund_id": ours, "order_id": order},
            },
            {"idempotency_key": idempotency_key},
        )
    return _seen(made)


async def refunds_of(stripe: StripeClient, payment_intent: str) -> list[StripeRefund]:
    """All that was ever given back of a payment, the oldest first."""
    with known_errors():
        page = await stripe.v1.refunds.list_async({"payment_intent": payment_intent, "limit": 100})
        found = [_seen(refund) async for refund in page.auto_paging_iter()]
    return sorted(found, key=lambda refund: (refund.created, refund.id))


def _seen(refund: Any) -> StripeRefund:
    return StripeRefund(
        id=refund.id,
        amount=refund.amount,
        # Refunds of old kinds have no status: the money has gone.
        status=refund.status or "succeeded",
        ours=refund.metadata.to_dict().get("refund_id") if refund.metadata else None,
        failure=getattr(refund, "failure_reason", None),
        created=refund.created,
    )
