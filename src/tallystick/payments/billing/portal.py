"""Lead a customer to Stripe's portal."""

import asyncpg

from tallystick.ledger import audit
from tallystick.payments.billing.checkout import ready_customer
from tallystick.payments.stripe import portal
from tallystick.payments.stripe.client import StripeClient


async def open_portal(
    pool: asyncpg.Pool, stripe: StripeClient, organization: str, return_url: str, *, asked_by: str
) -> str:
    """The address of the portal for this organization. Raises CustomerNotReady, PaymentPending, PaymentRefused."""
    async with pool.acquire() as connection:
        customer = await ready_customer(connection, organization, livemode=stripe.livemode)
    url = await portal.open_portal(stripe, customer, return_url)
    async with pool.acquire() as connection:
        await audit.record(connection, "portal.opened", by=asked_by, subject=customer, organization=organization)
    return url
