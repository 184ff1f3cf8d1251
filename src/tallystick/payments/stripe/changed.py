"""What there is at Stripe since a moment, as far as it takes to see whether we know of it: payments, refunds, disputes,
subscriptions and paid invoices."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from tallystick.payments.stripe.client import StripeClient, known_errors

_PAGE: Final = 100

What = Literal["payment", "refund", "dispute", "subscription", "invoice"]


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One object, with Stripe's word for how it stands. `order_id` is what a payment says that it is for."""

    what: What
    id: str
    status: str
    payment_intent: str | None = None
    customer: str | None = None
    order_id: str | None = None


async def listed_since(stripe: StripeClient, since: datetime | None) -> AsyncIterator[Listed]:
    """Everything created from `since` on, or ever; subscriptions all of them, for they change long after they began."""
    wanted: Any = {"limit": _PAGE}
    if since is not None:
        wanted["created"] = {"gte": int(since.timestamp())}
    every: Any = {"limit": _PAGE, "status": "all"}
    paid: Any = {**wanted, "status": "paid"}
    v1 = stripe.v1
    with known_errors():
        async for intent in (await v1.payment_intents.list_async(wanted)).auto_paging_iter():
            order_id = intent.metadata.to_dict().get("order_id") if intent.metadata else None
            yield _listed("payment", intent, payment_intent=intent.id, order_id=order_id)
        async for refund in (await v1.refunds.list_async(wanted)).auto_paging_iter():
            yield _listed("refund", refund, payment_intent=_id(refund.payment_intent))
        async for dispute in (await v1.disputes.list_async(wanted)).auto_paging_iter():
            yield _listed("dispute", dispute, payment_intent=_id(dispute.payment_intent))
        async for subscription in (await v1.subscriptions.list_async(every)).auto_paging_iter():
            yield _listed("subscription", subscription)
        async for invoice in (await v1.invoices.list_async(paid)).auto_paging_iter():
            yield _listed("invoice", invoice)


def _listed(what: What, found: Any, *, payment_intent: str | None = None, order_id: str | None = None) -> Listed:
    return Listed(
        what=what,
        id=found.id,
        # Refunds of old kinds have no status: the money has gone.
        status=found.status or "succeeded",
        payment_intent=payment_intent,
        customer=_id(getattr(found, "customer", None)),
        order_id=order_id,
    )


def _id(reference: Any) -> str | None:
    return reference if reference is None or isinstance(reference, str) else reference.id


async def invoice_paid_by(stripe: StripeClient, payment_intent: str) -> str | None:
    """The invoice that a payment is for; None for one that is for no invoice."""
    with known_errors():
        page = await stripe.v1.invoice_payments.list_async(
            {"payment": {"type": "payment_intent", "payment_intent": payment_intent}, "limit": 1}
        )
    return _id(page.data[0].invoice) if page.data else None
