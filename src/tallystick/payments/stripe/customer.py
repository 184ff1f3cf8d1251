"""Customers at Stripe: each stands for one organization of ours."""

from tallystick.payments.stripe.client import StripeClient, known_errors


async def create_customer(stripe: StripeClient, organization: str, *, idempotency_key: str) -> str:
    """A customer that stands for an organization at Stripe; the same one when it is asked for under the same key.

    Stripe remembers a failure under its key, too, for a day: a key that failed must not be the only one there is."""
    with known_errors():
        customer = await stripe.v1.customers.create_async(
            {"metadata": {"organization": organization}}, {"idempotency_key": idempotency_key}
        )
    return customer.id
