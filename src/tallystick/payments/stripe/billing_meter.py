"""Billing meters at Stripe: each sums up the values of the meter events of one name."""

import msgspec

from tallystick.payments.errors import PaymentRefused
from tallystick.payments.stripe.client import StripeClient, known_errors


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


async def create_billing_meter(
    stripe: StripeClient, event_name: str, title: str, *, customer_key: str, value_key: str
) -> BillingMeter:
    """Made once: Stripe lets one active meter have the event's name, and whoever comes second finds that one."""
    try:
        with known_errors():
            made = await stripe.v1.billing.meters.create_async(
                {
                    "event_name": event_name,
                    "display_name": title,
                    "default_aggregation": {"formula": "sum"},
                    "customer_mapping": {"type": "by_id", "event_payload_key": customer_key},
                    "value_settings": {"event_payload_key": value_key},
                }
            )
    except PaymentRefused:
        for found in await billing_meters(stripe):
            if found.event_name == event_name and found.active:
                return found
        raise
    return BillingMeter(id=made.id, event_name=made.event_name, active=made.status == "active")
