"""Payments in our Stripe account that are not ours: of another business, or made by hand for something else."""

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, InvalidInput
from tallystick.ledger import audit
from tallystick.payments.words import words

queries = load_queries(__file__, "foreign.sql")


async def note_foreign(pool: asyncpg.Pool, payment_intent: str, *, reason: str) -> None:
    """A run found that the payment names no customer of ours."""
    await queries.keep(pool, payment_intent=payment_intent, said_by="reconcile", reason=reason)


async def set_apart(pool: asyncpg.Pool, payment_intent: str, *, reason: str, by: str) -> None:
    """An operator says that a payment which names us is none of our orders: its money stands apart from now on.

    Raises InvalidInput, and Conflict for one that paid an order or an invoice."""
    reason = words(reason, "reason")
    if not payment_intent.startswith("pi_"):
        raise InvalidInput("payment", "must be the id of a payment at Stripe, such as pi_...")
    async with pool.acquire() as connection, connection.transaction():
        paid = await queries.paid_by(connection, payment_intent=payment_intent)
        if paid is not None:
            raise Conflict(f"{payment_intent} is ours: {paid} was paid by it.")
        await queries.keep(connection, payment_intent=payment_intent, said_by=by, reason=reason)
        await audit.record(connection, "payment.set_apart", by=by, subject=payment_intent, after={"reason": reason})
