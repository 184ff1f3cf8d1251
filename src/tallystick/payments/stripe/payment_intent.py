"""A payment at Stripe: looked at again, or made with a card that was saved."""

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from tallystick.payments.stripe.client import StripeClient, known_errors

_PAGE: Final = 100
_CLOCKS_DIFFER_BY: Final = timedelta(hours=1)


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


class SavedCardCharge(msgspec.Struct, frozen=True, kw_only=True):
    """A charge of a saved card while its owner is away. The same order id with other content is refused by Stripe."""

    order_id: str
    organization: str
    user_id: str
    customer: str
    payment_method: str
    amount_minor: int
    currency: str


async def charge_saved_card(stripe: StripeClient, charge: SavedCardCharge) -> StripePayment:
    """The same payment when it is asked for again, for as long as Stripe remembers: a day.

    Raises PaymentRefused for a decline, with the bank's reason; PaymentPending where nobody knows what happened."""
    with known_errors():
        made = await stripe.v1.payment_intents.create_async(
            {
                "amount": charge.amount_minor,
                "currency": charge.currency,
                "customer": charge.customer,
                "payment_method": charge.payment_method,
                # A way of paying that leads through a page elsewhere would need its owner.
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                "off_session": True,
                "confirm": True,
                "metadata": {
                    "order_id": charge.order_id,
                    "organization": charge.organization,
                    "user_id": charge.user_id,
                },
            },
            {"idempotency_key": charge.order_id},
        )
    return _seen(made)


async def payments_of_order(
    stripe: StripeClient, order_id: str, *, customer: str, since: datetime
) -> list[StripePayment]:
    """What was made for an order, the newest first. All of the customer's are listed: Stripe's search may not know yet
    of what was made a minute ago."""
    with known_errors():
        page = await stripe.v1.payment_intents.list_async(
            {"customer": customer, "created": {"gte": int((since - _CLOCKS_DIFFER_BY).timestamp())}, "limit": _PAGE}
        )
        found = [_seen(intent) async for intent in page.auto_paging_iter()]
    return [payment for payment in found if payment.metadata.get("order_id") == order_id]


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
