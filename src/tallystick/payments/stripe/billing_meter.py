"""Billing meters at Stripe: each sums up the values of the meter events of one name."""

from typing import Final

import msgspec

from tallystick.payments.errors import PaymentRefused
from tallystick.payments.stripe.client import StripeClient, known_errors

# The keys of a meter event's payload; a meter is told them when it is made.
CUSTOMER_KEY: Final = "stripe_customer_id"
VALUE_KEY: Final = "value"


class BillingMeter(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    event_name: str
    active: bool


async def billing_meters(stripe: StripeClient) -> list[BillingMeter]:
    with known_errors():
        page = await stripe.v1.billing.meters.list_async({"limit": 100})
        return [
            BillingMeter(id=row.id, event_name=row.event_name, active=row.status == "active")
            async for row in page.auto_paging_iter()
        ]


async def create_billing_meter(stripe: StripeClient, event_name: str, title: str) -> BillingMeter:
    """Made once: Stripe lets one active meter have the event's name, and whoever comes second finds that one."""
    try:
        with known_errors():
            made = await stripe.v1.billing.meters.create_async(
                {
                    "event_name": event_name,
                    "display_name": title,
                    "default_aggregation": {"formula": "sum"},
                    "customer_mapping": {"type": "by_id", "event_payload_key": CUSTOMER_KEY},
                    "value_settings": {"event_payload_key": VALUE_KEY},
                }
            )
    except PaymentRefused:
        for found in await billing_meters(stripe):
            if found.event_name == event_name and found.active:
                return found
        raise
    return BillingMeter(id=made.id, event_name=made.event_name, active=made.status == "active")
