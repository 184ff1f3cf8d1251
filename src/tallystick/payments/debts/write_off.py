"""Give up a debt: an operator's act, which also ends what held the customer back."""

from uuid import UUID

import asyncpg
import msgspec

from tallystick.base.errors import Conflict, NotFound
from tallystick.base.ids import id_for_request
from tallystick.ledger import audit
from tallystick.ledger.account import PlatformAccount, beside
from tallystick.ledger.post import Transfer, post
from tallystick.payments.debts.debt import Debt, hold_back, pay, queries
from tallystick.payments.words import words
from tallystick.subscriptions.turn import wait_for_turn


async def write_off(connection: asyncpg.Connection, operation: UUID, *, reason: str, by: str) -> Debt:
    """Book what is open of the debt as lost. Should its payment come back after all, that is taken back, too.

    Raises InvalidInput, NotFound, and Conflict where nothing is open."""
    reason = words(reason, "reason")
    async with connection.transaction():
        await wait_for_turn(connection, (await _find(connection, operation)).organization)
        debt = await _find(connection, operation)
        if debt.open == 0:
            raise Conflict("Nothing is open of this debt.")
        number = await queries.payments_of(connection, debt=operation)
        written = id_for_request("write-off", f"{operation} {number}")
        lost = await beside(connection, PlatformAccount.BAD_DEBT, debt.account)
        receivable = await beside(connection, PlatformAccount.RECEIVABLE, debt.account)
        await post(
            connection,
            operation=written,
            kind="adjustment",
            transfers=[Transfer(debit=lost, credit=receivable, amount=debt.open)],
            fingerprint=f"write-off of {operation}",
        )
        await pay(connection, debt, written, "write_off", debt.open)
        await audit.record(
            connection,
            "debt.written_off",
            by=by,
            subject=str(operation),
            organization=debt.organization,
            before={"open": debt.open},
            after={"open": 0, "reason": reason},
        )
        await hold_back(connection, debt.organization, by=by)
    return msgspec.structs.replace(debt, open=0)


async def _find(connection: asyncpg.Connection, operation: UUID) -> Debt:
    row = await queries.find(connection, operation=operation)
    if row is None:
        raise NotFound("There is no such debt.")
    return msgspec.convert(dict(row), Debt)
