"""A payment at Stripe, looked at again."""

from typing import Any

import msgspec

from tallystick.payments.stripe.client import StripeClient, known_errors


class StripePayment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment intent: what was asked, what of it came in, and whose it says that it is."""

    id: str
    status: str
    amount: int
    amount_received: int
    currency: str
    customer: str | None
    livemode: bool
    metadata: dict[str, str]


async def read_payment_intent(stripe: StripeClient, payment_intent: str) -> StripePayment:
    with known_errors():
        return _seen(await stripe.v1.payment_intents.retrieve_async(payment_intent))


def _seen(intent: Any) -> StripePayment:
    customer = intent.customer
    return StripePayment(
        id=intent.id,
        status=intent.status,
        amount=intent.amount,
        amount_received=intent.amount_received,
        currency=intent.currency,
        customer=customer if customer is None or isinstance(customer, str) else customer.id,
        livemode=intent.livemode,
        metadata=intent.metadata.to_dict() if intent.metadata else {},
    )
