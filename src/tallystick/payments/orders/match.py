"""Whether a payment is the one its order asked for. Pure: a difference is a reason, in words, not to credit it."""

import msgspec

from tallystick.payments.orders.order import Order
from tallystick.payments.orders.payment import Payment


def stranger(payment: Payment, order: Order, customer: str | None, *, livemode: bool) -> str | None:
    """Why `payment` is not this order's at all, or None. `customer` is the organization's at Stripe."""
    if livemode != order.livemode:
        return f"event of {_mode(livemode)} mode for an order of {_mode(order.livemode)} mode"
    return _difference(
        ("organization", payment.organization, order.organization),
        ("user", payment.user_id, order.created_by),
        ("customer", customer if payment.customer is msgspec.UNSET else payment.customer, customer),
    )


def misfit(payment: Payment, order: Order) -> str | None:
    """What about a payment of this order is other than the order asked for, or None."""
    reason = _difference(
        ("amount asked", payment.asked_minor, order.amount_minor),
        ("amount received", payment.received_minor, order.amount_minor),
        ("currency", payment.currency, order.currency),
    )
    # Only a session event names a session, and our side knows one once Stripe's answer was stored.
    if reason is None and payment.session is not None and order.stripe_session not in {None, payment.session}:
        reason = f"session {payment.session} where the order has {order.stripe_session}"
    if reason is None and payment.outcome == "paid":
        reason = _not_its_payment(payment, order)
    return reason


def _difference(*compared: tuple[str, object, object]) -> str | None:
    for name, said, ordered in compared:
        if said != ordered:
            return f"{name} {said} where the order has {ordered}"
    return None


def _not_its_payment(payment: Payment, order: Order) -> str | None:
    if payment.payment_intent is None:
        return "paid without naming a payment"
    if order.stripe_payment_intent not in {None, payment.payment_intent}:
        return f"paid by {payment.payment_intent} after it was credited for {order.stripe_payment_intent}"
    return None


def _mode(livemode: bool) -> str:
    return "live" if livemode else "test"
