"""Collect what is owed from credits that came in later: the oldest debt first, never more than is free."""

import asyncpg

from tallystick.base.ids import id_for_request
from tallystick.ledger.account import PlatformAccount, beside
from tallystick.ledger.lot import free_credits
from tallystick.ledger.post import Transfer, post
from tallystick.payments.debts.debt import Debt, hold_back, open_debts, pay, queries
from tallystick.subscriptions.each import PAGE, each
from tallystick.subscriptions.turn import wait_for_turn


async def collect_due(pool: asyncpg.Pool) -> int:
    """Collect from everybody who owes and has credits; returns from how many. May run at any time, twice at once."""
    return await each(
        pool, lambda connection, after: queries.able_to_pay(connection, after=after, row_limit=PAGE), _collect_from
    )


async def is_owing(connection: asyncpg.Connection, organization: str) -> bool:
    """Whether something is owed. Then the organization's turn is the caller's until its transaction ends: ask before
    anything is posted, `collect` afterwards."""
    if not await open_debts(connection, organization):
        return False
    await wait_for_turn(connection, organization)
    return True


async def collect(connection: asyncpg.Connection, organization: str, *, by: str = "clock") -> int:
    """Pay the organization's debts from its free credits; returns the nanocredits collected. The caller has the
    organization's turn, and does nothing more in its transaction."""
    collected = 0
    for debt in await open_debts(connection, organization):
        amount = min(debt.open, await free_credits(connection, debt.account))
        if amount <= 0:
            break
        await _take(connection, debt, amount)
        collected += amount
    await hold_back(connection, organization, by=by)
    return collected


async def _take(connection: asyncpg.Connection, debt: Debt, amount: int) -> None:
    number = await queries.payments_of(connection, debt=debt.operation)
    operation = id_for_request("collection", f"{debt.operation} {number}")
    receivable = await beside(connection, PlatformAccount.RECEIVABLE, debt.account)
    await post(
        connection,
        operation=operation,
        kind="collection",
        transfers=[Transfer(debit=debt.account, credit=receivable, amount=amount)],
        fingerprint=str(debt.operation),
    )
    await pay(connection, debt, operation, "collection", amount)


async def _collect_from(connection: asyncpg.Connection, organization: str) -> bool:
    async with connection.transaction():
        await wait_for_turn(connection, organization)
        return await collect(connection, organization) > 0
