"""An order as its organization sees it, in credits and in units of its currency. Pure."""

from tallystick.base.money import from_minor, to_decimal
from tallystick.payments.orders.life import UNPAID
from tallystick.payments.orders.order import Order


def shown(order: Order, transfer_to: str | None) -> dict[str, object]:
    """`transfer_to` is where the money of one that is settled by hand goes, told as long as it waits to be paid."""
    waits = order.state in UNPAID
    by_hand = waits and order.kind == "manual"
    return {
        "id": order.id,
        "kind": order.kind,
        "state": order.state,
        "reason": order.reason,
        "pack": order.pack,
        "coupon": order.coupon,
        "amount": to_decimal(from_minor(order.amount_minor)),
        "discount": to_decimal(from_minor(order.discount_minor)),
        "currency": order.currency,
        "credits": to_decimal(order.credits),
        "refunded": to_decimal(from_minor(order.refunded_minor)),
        "disputed": to_decimal(from_minor(order.disputed_minor)),
        "reference": order.reference,
        "transfer_to": transfer_to if by_hand else None,
        "checkout_url": order.checkout_url if waits else None,
        "created_at": order.created_at.replace(microsecond=0),
        "credited_at": order.credited_at and order.credited_at.replace(microsecond=0),
    }
