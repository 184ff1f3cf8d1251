"""Invoices that Stripe made: kept as they stand, and their money taken into the books once."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.ids import id_for_request, is_text_id
from tallystick.base.money import from_minor
from tallystick.ledger import audit
from tallystick.ledger.account import PlatformAccount, beside
from tallystick.ledger.post import Transfer, post
from tallystick.notices.emit import emit
from tallystick.payments.stripe.invoice import InvoiceStanding, StripeInvoice

queries = load_queries(__file__, "invoice.sql")


class Invoice(InvoiceStanding, frozen=True, kw_only=True):
    """A row of stripe_invoice."""

    organization: str
    livemode: bool
    operation: UUID | None


async def keep_invoice(
    connection: asyncpg.Connection, seen: StripeInvoice, organization: str, livemode: bool, payment_failed: bool
) -> str | None:
    """In the caller's transaction, which is alone with the invoice's customer. What is wrong with it, if anything.

    What was paid is income once; nothing else that becomes of an invoice moves money: refunds and disputes are of its
    payment."""
    before = await queries.find(connection, id=seen.id)
    await queries.keep(
        connection,
        organization=organization,
        livemode=livemode,
        **{name: getattr(seen, name) for name in InvoiceStanding.__struct_fields__},
    )
    for payment in seen.payments:
        await queries.keep_payment(connection, invoice=seen.id, **msgspec.structs.asdict(payment))
    await _tell(connection, seen, organization, None if before is None else before["status"], payment_failed)
    if seen.status != "paid" or seen.amount_paid_minor == 0 or (before and before["operation"]):
        return None
    if not await queries.is_currency_of_a_plan(connection, currency=seen.currency):
        return f"invoice {seen.id} is paid in {seen.currency}, in which no plan is sold: it is not in the books"
    await _book(connection, seen, organization)
    return None


async def invoices(
    connection: asyncpg.Connection | asyncpg.Pool,
    organization: str,
    *,
    livemode: bool | None = None,
    before: str | None = None,
    limit: int = 50,
) -> Sequence[Invoice]:
    """An organization's invoices, the newest first, those older than the invoice `before`; drafts are none yet. Of test
    mode and of live mode where `livemode` does not say which."""
    if before is not None and not is_text_id(before):
        return []
    rows = queries.list_page(connection, organization=organization, livemode=livemode, before=before, row_limit=limit)
    return [_read(row) async for row in rows]


async def _book(connection: asyncpg.Connection, seen: StripeInvoice, organization: str) -> None:
    account = await queries.account(connection, organization=organization)
    through_stripe = seen.amount_paid_minor - seen.amount_elsewhere_minor
    came = ((PlatformAccount.STRIPE_CLEARING, through_stripe), (PlatformAccount.BANK, seen.amount_elsewhere_minor))
    revenue = await beside(connection, PlatformAccount.PLAN_REVENUE, account)
    operation = id_for_request("stripe_invoice", seen.id)
    await post(
        connection,
        operation=operation,
        kind="income",
        transfers=[
            Transfer(debit=await beside(connection, where, account), credit=revenue, amount=from_minor(minor))
            for where, minor in came
            if minor
        ],
        fingerprint=seen.id,
    )
    await queries.mark_booked(connection, id=seen.id, operation=operation)


async def _tell(
    connection: asyncpg.Connection, seen: StripeInvoice, organization: str, before: str | None, payment_failed: bool
) -> None:
    data = {
        name: getattr(seen, name)
        for name in ("id", "subscription", "number", "status", "currency", "amount_due_minor", "amount_paid_minor")
    } | {"hosted_url": seen.hosted_url}
    if before in {None, "draft"} and seen.status != "draft":
        await emit(connection, organization, "invoice.finalized", data, key=f"invoice.finalized {seen.id}")
    if payment_failed and seen.status == "open":
        key = f"invoice.payment_failed {seen.id} {seen.attempts}"
        await emit(connection, organization, "invoice.payment_failed", data, key=key)
    if seen.status == "paid":
        await emit(connection, organization, "invoice.paid", data, key=f"invoice.paid {seen.id}")
    if before != seen.status:
        await audit.record(
            connection,
            f"invoice.{seen.status}",
            by="stripe",
            subject=seen.id,
            organization=organization,
            before={"status": before},
            after={name: data[name] for name in ("status", "currency", "amount_due_minor", "amount_paid_minor")},
        )


def _read(row: asyncpg.Record) -> Invoice:
    return msgspec.convert({name: row[name] for name in Invoice.__struct_fields__}, Invoice)
