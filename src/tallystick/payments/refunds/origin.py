"""What a payment was for: an order, or a plan's invoice. Pure."""

import msgspec

from tallystick.payments.orders.order import Order


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of `order` and `invoice`."""

    organization: str
    order: str | None = None
    invoice: str | None = None

    @property
    def name(self) -> str | None:
        return self.order or self.invoice


def of_order(order: Order) -> Origin:
    return Origin(organization=order.organization, order=order.id)
