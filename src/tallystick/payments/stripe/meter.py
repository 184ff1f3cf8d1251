"""Billing meters at Stripe: telling it what was used, taking that back, and asking what it has."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
import stripe as sdk
from stripe.params.billing import MeterListEventSummariesParams

from tallystick.payments.stripe.billing_meter import CUSTOMER_KEY, VALUE_KEY, billing_meters
from tallystick.payments.stripe.client import StripeClient, known_errors

_PAGE: Final = 100


class MeterEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer used of a meter. Stripe takes an identifier once in 24 hours, whatever else is said."""

    name: str
    identifier: str
    customer: str
    units: int
    at: datetime


async def send_event(stripe: StripeClient, event: MeterEvent) -> Literal["taken", "known"]:
    """Raises PaymentPending where nobody knows whether Stripe has it: the same event may be sent again."""
    # Without an idempotency key of ours: under one Stripe would repeat a failure for a day, and the identifier is one.
    with known_errors():
        try:
            await stripe.v1.billing.meter_events.create_async(
                {
                    "event_name": event.name,
                    "identifier": event.identifier,
                    "payload": {CUSTOMER_KEY: event.customer, VALUE_KEY: str(event.units)},
                    "timestamp": int(event.at.timestamp()),
                }
            )
        except sdk.InvalidRequestError as error:
            if _is_known(error, event.identifier):
                return "known"
            raise
    return "taken"


async def cancel_event(stripe: StripeClient, name: str, identifier: str) -> None:
    """Take an event back, within 24 hours. Raises PaymentRefused, also for one that was taken back before."""
    with known_errors():
        await stripe.v1.billing.meter_event_adjustments.create_async(
            {"event_name": name, "type": "cancel", "cancel": {"identifier": identifier}}
        )


async def meters_by_event(stripe: StripeClient) -> Mapping[str, str]:
    """The ids of the active meters, by the name of their events."""
    return {meter.event_name: meter.id for meter in await billing_meters(stripe) if meter.active}


async def units_by_hour(
    stripe: StripeClient, meter: str, customer: str, starts_at: datetime, ends_at: datetime
) -> Mapping[datetime, int]:
    """What Stripe shows of each hour in which it has anything. Both moments are hours."""
    return await _units(
        stripe,
        meter,
        {
            "customer": customer,
            "start_time": int(starts_at.timestamp()),
            "end_time": int(ends_at.timestamp()),
            "value_grouping_window": "hour",
            "limit": _PAGE,
        },
    )


async def units_between(stripe: StripeClient, meter: str, customer: str, starts_at: datetime, ends_at: datetime) -> int:
    """What Stripe has between two moments, both of them minutes."""
    found = await _units(
        stripe,
        meter,
        {"customer": customer, "start_time": int(starts_at.timestamp()), "end_time": int(ends_at.timestamp())},
    )
    return sum(found.values())


async def _units(stripe: StripeClient, meter: str, parameters: MeterListEventSummariesParams) -> Mapping[datetime, int]:
    with known_errors():
        page = await stripe.v1.billing.meters.event_summaries.list_async(meter, parameters)
        return {
            datetime.fromtimestamp(summary.start_time, UTC): int(summary.aggregated_value)
            async for summary in page.auto_paging_iter()
        }


def _is_known(error: sdk.InvalidRequestError, identifier: str) -> bool:
    """Stripe has no code for it, only this sentence."""
    said = (error.user_message or str(error)).lower()
    return "already exists" in said and identifier in said
