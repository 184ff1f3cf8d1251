"""Invoices that Stripe makes for subscriptions, and the payments that paid them."""

from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

import msgspec

from tallystick.payments.errors import PaymentRefused
from tallystick.payments.stripe.client import StripeClient, known_errors

InvoiceStatus = Literal["draft", "open", "paid", "uncollectible", "void"]

_PAGE: Final = 100


class InvoicePayment(msgspec.Struct, frozen=True, kw_only=True):
    payment_intent: str
    amount_minor: int
    status: str


class InvoiceStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How an invoice stands: what Stripe says of it, and our row keeps."""

    id: str
    subscription: str | None
    number: str | None
    status: InvoiceStatus
    currency: str
    amount_due_minor: int
    amount_paid_minor: int
    amount_elsewhere_minor: int
    """Of what was paid, what did not come through Stripe."""
    attempts: int
    period_starts_at: datetime
    period_ends_at: datetime
    hosted_url: str | None
    pdf_url: str | None
    created_at: datetime
    paid_at: datetime | None


class StripeInvoice(InvoiceStanding, frozen=True, kw_only=True):
    customer: str
    payments: tuple[InvoicePayment, ...]


async def find_invoice(stripe: StripeClient, invoice: str) -> StripeInvoice | None:
    """None for a draft that was deleted."""
    try:
        with known_errors(may_be_missing=True):
            # First how it stands, then by what it was paid: a payment is there before the invoice is paid.
            found = await stripe.v1.invoices.retrieve_async(invoice)
            page = await stripe.v1.invoice_payments.list_async({"invoice": invoice, "limit": _PAGE})
            payments = [row.to_dict() async for row in page.auto_paging_iter()]
    except PaymentRefused as error:
        if error.reason == "resource_missing":
            return None
        raise
    return _read(found.to_dict(), payments)


def _read(row: dict[str, Any], payments: list[dict[str, Any]]) -> StripeInvoice:
    parent = (row.get("parent") or {}).get("subscription_details") or {}
    paid_at = row["status_transitions"]["paid_at"]
    return StripeInvoice(
        id=row["id"],
        customer=row["customer"],
        subscription=parent.get("subscription"),
        number=row["number"],
        status=cast("InvoiceStatus", row["status"]),
        currency=row["currency"],
        amount_due_minor=row["amount_due"],
        amount_paid_minor=row["amount_paid"],
        amount_elsewhere_minor=row.get("amount_paid_off_stripe") or 0,
        attempts=row["attempt_count"],
        period_starts_at=_at(row["period_start"]),
        period_ends_at=_at(row["period_end"]),
        hosted_url=row["hosted_invoice_url"],
        pdf_url=row["invoice_pdf"],
        created_at=_at(row["created"]),
        paid_at=None if paid_at is None else _at(paid_at),
        payments=tuple(
            InvoicePayment(
                payment_intent=payment["payment"]["payment_intent"],
                amount_minor=payment["amount_paid"] or payment["amount_requested"],
                status=payment["status"],
            )
            for payment in payments
            if payment["payment"].get("payment_intent")
        ),
    )


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
