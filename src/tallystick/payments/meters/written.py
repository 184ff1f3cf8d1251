"""A report as it was written down, and the event that Stripe is told by it."""

from datetime import datetime

import msgspec

from tallystick.payments.stripe.meter import MeterEvent


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What every row of meter_report has that Stripe is told."""

    id: int
    customer: str
    event_name: str
    identifier: str
    units: int
    counts_at: datetime

    @property
    def event(self) -> MeterEvent:
        return MeterEvent(
            name=self.event_name,
            identifier=self.identifier,
            customer=self.customer,
            units=self.units,
            at=self.counts_at,
        )
