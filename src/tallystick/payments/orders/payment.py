"""What is known of one payment at Stripe, however it was learned: from an event, or read from Stripe itself. Pure."""

from typing import Literal

import msgspec

Outcome = Literal["paid", "pending", "expired", "failed"]


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one payment: what was asked of the buyer, and what of it came in (for a paid one, all of it)."""

    outcome: Outcome
    order_id: str | None
    organization: str | None
    user_id: str | None
    payment_intent: str | None
    session: str | None
    # Unset where the event says nothing about a customer; None where it says that there is none.
    customer: str | msgspec.UnsetType | None
    asked_minor: int | None
    received_minor: int | None
    currency: str | None
