"""What an event is about, read again at Stripe: all subscriptions of its customer, and its invoice."""

from typing import Final, Literal

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.payments.errors import UnreadableEvent
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.invoice import StripeInvoice, find_invoice
from tallystick.payments.stripe.subscription import StripeSubscription, subscriptions_of

queries = load_queries(__file__, "look.sql")

SESSION_ENDS: Final[dict[str, Literal["completed", "expired"]]] = {
    "checkout.session.completed": "completed",
    "checkout.session.expired": "expired",
}


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """How one customer's subscriptions stand. All of them, for which one is the organization's depends on the others.

    `looked` is how often others had looked before this look began."""

    customer: str
    organization: str
    livemode: bool
    looked: int
    subscriptions: tuple[StripeSubscription, ...]
    invoice: StripeInvoice | None = None
    payment_failed: bool = False
    """Whether the event says that the invoice could not be paid: how it stands tells that only sometimes."""
    session: str | None = None
    """A page that was to lead to a subscription, and how it ended."""
    session_ended: Literal["completed", "expired"] | None = None


class _Object(msgspec.Struct, frozen=True):
    id: str
    object: str
    customer: str | None = None
    mode: str | None = None


class _Data(msgspec.Struct, frozen=True):
    object: _Object


class _Event(msgspec.Struct, frozen=True):
    type: str
    data: _Data


_event = msgspec.json.Decoder(_Event)


def is_of_a_subscription(body: bytes) -> bool:
    """Whether this event of a page is about one that leads to a subscription; the others are about orders."""
    try:
        return _read(body).data.object.mode == "subscription"
    except UnreadableEvent:
        return False


async def look_again(pool: asyncpg.Pool, stripe: StripeClient, body: bytes) -> Seen | None:
    """None for what is about no customer of ours. Raises UnreadableEvent, PaymentPending, PaymentRefused."""
    event = _read(body)
    about = event.data.object
    seen = None if about.customer is None else await look(pool, stripe, about.customer)
    if seen is None:
        return None
    if about.object == "invoice":
        failed = event.type in {"invoice.payment_failed", "invoice.payment_action_required"}
        invoice = await find_invoice(stripe, about.id)
        return msgspec.structs.replace(seen, invoice=invoice, payment_failed=failed)
    if about.object == "checkout.session":
        return msgspec.structs.replace(seen, session=about.id, session_ended=SESSION_ENDS[event.type])
    return seen


async def look(pool: asyncpg.Pool, stripe: StripeClient, customer: str, *, invoice: str | None = None) -> Seen | None:
    """How a customer stands at Stripe now; None for one that is not ours."""
    known = await queries.find_customer(pool, id=customer, livemode=stripe.livemode)
    if known is None:
        return None
    return Seen(
        customer=customer,
        organization=known["organization"],
        livemode=stripe.livemode,
        looked=known["looked"],
        subscriptions=await subscriptions_of(stripe, customer),
        invoice=None if invoice is None else await find_invoice(stripe, invoice),
    )


def _read(body: bytes) -> _Event:
    try:
        return _event.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableEvent(f"not an event of a subscription: {error}") from error
