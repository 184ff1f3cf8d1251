"""What a stored Stripe event says about a payment, whichever of its shapes it has. Pure."""

from typing import Final, Generic, TypeVar

import msgspec

from tallystick.payments.errors import UnreadableEvent
from tallystick.payments.orders.payment import Outcome, Payment

_OUTCOMES: Final[dict[str, Outcome]] = {
    "payment_intent.succeeded": "paid",
    "payment_intent.payment_failed": "failed",
    "checkout.session.completed": "paid",
    "checkout.session.async_payment_succeeded": "paid",
    "checkout.session.async_payment_failed": "failed",
    "checkout.session.expired": "expired",
}
# The events worth asking for again when their webhooks were lost.
TYPES: Final = tuple(_OUTCOMES)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What every event has."""

    id: str
    type: str
    livemode: bool
    # Set on events of connected accounts: money that is not ours.
    account: str | None = None


class _Object(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    currency: str | None = None
    customer: str | msgspec.UnsetType | None = msgspec.UNSET
    metadata: dict[str, str] | None = None


class _PaymentIntent(_Object, frozen=True, kw_only=True):
    amount: int
    amount_received: int | None = None
    status: str = "succeeded"


class _Session(_Object, frozen=True, kw_only=True):
    mode: str
    payment_status: str
    amount_total: int | None = None
    client_reference_id: str | None = None
    payment_intent: str | None = None


_Content = TypeVar("_Content")


class _Data(msgspec.Struct, Generic[_Content], frozen=True):
    object: _Content


class _Event(msgspec.Struct, Generic[_Content], frozen=True):
    data: _Data[_Content]


_header = msgspec.json.Decoder(Header)
_payment_intent = msgspec.json.Decoder(_Event[_PaymentIntent])
_session = msgspec.json.Decoder(_Event[_Session])


def read_header(body: bytes) -> Header:
    """Raises UnreadableEvent."""
    try:
        return _header.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableEvent(f"not an event: {error}") from error


def read_payment(event_type: str, body: bytes) -> Payment | None:
    """The payment an event of this type is about; None when the event is none of ours. Raises UnreadableEvent."""
    outcome = _OUTCOMES.get(event_type)
    if outcome is None:
        return None
    try:
        if event_type.startswith("payment_intent."):
            return _of_payment_intent(outcome, _payment_intent.decode(body).data.object)
        return _of_session(outcome, _session.decode(body).data.object)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableEvent(f"not a {event_type}: {error}") from error


def _of_payment_intent(outcome: Outcome, intent: _PaymentIntent) -> Payment:
    # An event tells what happened, its object how things stand: only both together are a payment.
    if outcome == "paid" and intent.status != "succeeded":
        outcome = "pending"
    received = intent.amount if outcome != "paid" or intent.amount_received is None else intent.amount_received
    return _payment(outcome, intent, payment_intent=intent.id, asked_minor=intent.amount, received_minor=received)


def _of_session(outcome: Outcome, session: _Session) -> Payment | None:
    if session.mode != "payment":
        return None
    # Completed without the money: a bank's transfer is on its way, and another event will tell how it ends.
    if outcome == "paid" and session.payment_status != "paid":
        outcome = "pending"
    return _payment(
        outcome,
        session,
        payment_intent=session.payment_intent,
        session=session.id,
        order_id=session.client_reference_id,
        asked_minor=session.amount_total,
        received_minor=session.amount_total,
    )


def _payment(
    outcome: Outcome,
    about: _Object,
    *,
    payment_intent: str | None,
    asked_minor: int | None,
    received_minor: int | None,
    session: str | None = None,
    order_id: str | None = None,
) -> Payment:
    metadata = about.metadata or {}
    return Payment(
        outcome=outcome,
        order_id=metadata.get("order_id", order_id),
        organization=metadata.get("organization"),
        user_id=metadata.get("user_id"),
        payment_intent=payment_intent,
        session=session,
        customer=about.customer,
        asked_minor=asked_minor,
        received_minor=received_minor,
        currency=about.currency,
    )
