"""Bring the books up to what went back of a plan's invoice: it is taken from what plans brought in, once, and given
back once. No credits came of it, so nothing is taken from the customer."""

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.money import from_minor
from tallystick.ledger.account import PlatformAccount, beside
from tallystick.ledger.post import Transfer, post
from tallystick.ledger.reverse import reverse
from tallystick.payments.orders.top_up import stop_after_money_back
from tallystick.payments.refunds.cause import Cause, causes_of
from tallystick.payments.refunds.dispute import disputes_of
from tallystick.payments.refunds.origin import Origin
from tallystick.payments.refunds.refund import refunds_of

queries = load_queries(__file__, "plan_money.sql")


async def lock_invoice(connection: asyncpg.Connection, invoice: str) -> asyncpg.Record | None:
    """Its organization, that one's account, the operation that booked it, and what of it came through Stripe."""
    return await queries.lock(connection, id=invoice)


async def bring(connection: asyncpg.Connection, origin: Origin, account: int, paid_minor: int) -> str | None:
    """In the caller's transaction, which keeps the invoice locked. Why something could not be done, in words."""
    causes = causes_of(await refunds_of(connection, origin), await disputes_of(connection, origin))
    wanted = {cause.operation for cause in causes}
    known = {row["operation"]: row async for row in queries.clawbacks(connection, invoice=origin.invoice)}
    for operation, row in known.items():
        if row["reversed_at"] is None and operation not in wanted:
            await reverse(connection, operation)
            await queries.mark_reversed(connection, operation=operation)
    left = paid_minor - sum(
        row["amount_minor"] for operation, row in known.items() if row["reversed_at"] is None and operation in wanted
    )
    problem = None
    for cause in causes:
        if cause.operation in known:
            continue
        # A bank may take more for a dispute than refunds have left; it is what plans brought in that becomes less.
        if cause.amount_minor > left and cause.dispute is None:
            problem = f"{cause.name} takes {cause.amount_minor} of an invoice of which {left} is left"
            continue
        await _take(connection, origin, account, cause)
        if cause.dispute is not None:
            await stop_after_money_back(connection, origin.organization, "disputed")
        left -= cause.amount_minor
    return problem


async def _take(connection: asyncpg.Connection, origin: Origin, account: int, cause: Cause) -> None:
    money = from_minor(cause.amount_minor)
    revenue = await beside(connection, PlatformAccount.PLAN_REVENUE, account)
    clearing = await beside(connection, PlatformAccount.STRIPE_CLEARING, account)
    await post(
        connection,
        operation=cause.operation,
        kind="refund" if cause.refund is not None else "dispute",
        transfers=[Transfer(debit=revenue, credit=clearing, amount=money)],
        fingerprint=f"{origin.name} {cause.name}",
    )
    await queries.add(
        connection,
        operation=cause.operation,
        invoice=origin.invoice,
        refund=cause.refund,
        dispute=cause.dispute,
        amount_minor=cause.amount_minor,
        money=money,
    )
