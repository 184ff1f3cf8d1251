"""Cards that a customer of ours saved at Stripe, to be charged again."""

import msgspec

from tallystick.payments.stripe.client import StripeClient, known_errors

_CARDS_MAX = 100


class SavedCard(msgspec.Struct, frozen=True, kw_only=True):
    """`shown` is all that a person needs to know it by: "visa 4242"."""

    id: str
    shown: str


async def saved_cards(stripe: StripeClient, customer: str) -> list[SavedCard]:
    """The newest first."""
    with known_errors():
        found = await stripe.v1.customers.payment_methods.list_async(customer, {"type": "card", "limit": _CARDS_MAX})
    return [
        SavedCard(id=method.id, shown=f"{method.card.brand} {method.card.last4}")
        for method in found.data
        if method.card is not None
    ]
