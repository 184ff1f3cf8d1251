"""Bring the books up to what went back of a plan's invoice: it is taken from what plans brought in, once, and given
back once. No credits came of it, so nothing is taken from the customer, who is held back while a dispute has the money.
"""

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict
from tallystick.base.money import from_minor
from tallystick.ledger import audit
from tallystick.ledger.account import PlatformAccount, beside
from tallystick.ledger.post import Transfer, post
from tallystick.ledger.reverse import reverse
from tallystick.payments.debts.debt import DISPUTE_POLICY, hold_back
from tallystick.payments.orders.top_up import stop_after_money_back
from tallystick.payments.refunds.cause import Cause, causes_of
from tallystick.payments.refunds.dispute import Dispute, disputes_of, find, organization_of
from tallystick.payments.refunds.origin import Origin
from tallystick.payments.refunds.refund import refunds_of
from tallystick.payments.words import words
from tallystick.subscriptions.turn import wait_for_turn

queries = load_queries(__file__, "plan_money.sql")


async def lock_invoice(connection: asyncpg.Connection, invoice: str) -> asyncpg.Record | None:
    """Its organization, whose turn is then the caller's, that one's account, the operation that booked it, and what of
    it came through Stripe."""
    organization = await queries.organization_of(connection, id=invoice)
    if organization is None:
        return None
    # The turn first: who follows subscriptions has it when they come to their invoices.
    await wait_for_turn(connection, organization)
    return await queries.lock(connection, id=invoice)


async def bring(connection: asyncpg.Connection, origin: Origin, account: int, paid_minor: int) -> str | None:
    """In the caller's transaction, which keeps the invoice locked, and does nothing more. Why something could not be
    done, in words."""
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
    await hold_back(connection, origin.organization, by="stripe")
    return problem


async def release(connection: asyncpg.Connection, dispute_id: str, *, reason: str, by: str) -> Dispute:
    """Hold nobody back for this dispute any more, as long as it has the money: an operator's act.

    Raises InvalidInput, NotFound, and Conflict where it holds nobody back."""
    reason = words(reason, "reason")
    async with connection.transaction():
        found = await find(connection, dispute_id)
        organization = await organization_of(connection, found)
        await wait_for_turn(connection, organization)
        policy = await queries.release(connection, dispute=found.id)
        if policy is None:
            raise Conflict(
                "This dispute holds nobody back. Who owes for an order is held back by a debt: write that off."
            )
        await audit.record(
            connection,
            "dispute.released",
            by=by,
            subject=found.id,
            organization=organization,
            before={"policy": policy},
            after={"policy": "none", "reason": reason},
        )
        await hold_back(connection, organization, by=by)
    return found


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
        policy=None if cause.dispute is None else DISPUTE_POLICY.get(),
    )
