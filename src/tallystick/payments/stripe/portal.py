"""Stripe's customer portal: where a customer looks after cards, invoices and the subscription."""

from tallystick.payments.stripe.client import StripeClient, known_errors


async def open_portal(stripe: StripeClient, customer: str, return_url: str) -> str:
    """A page for this customer alone, that soon ends. It is asked for anew each time: one too many does no harm."""
    with known_errors():
        session = await stripe.v1.billing_portal.sessions.create_async({"customer": customer, "return_url": return_url})
    return session.url
