"""Give credits, and ask whether the books are right."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import asyncpg

from tallystick.base.ids import new_id
from tallystick.ledger import verify as ledger_verify
from tallystick.ledger.account import PlatformAccount, count_lanes, lane_of, open_account, platform_account
from tallystick.ledger.check import Check
from tallystick.ledger.lot import add_lot
from tallystick.ledger.post import Transfer, post
from tallystick.reservations import verify as reservations_verify

ALL_CHECKS = (*ledger_verify.checks, *reservations_verify.checks)


async def give(
    connection: asyncpg.Connection,
    account: int,
    amount: int,
    *,
    kind: str = "purchased",
    priority: int = 0,
    expires_at: datetime | None = None,
    operation: UUID | None = None,
) -> UUID:
    """Credit `account` once per operation; returns the operation."""
    operation = operation or new_id()
    payer = PlatformAccount.STRIPE_CLEARING if kind == "purchased" else PlatformAccount.PROMOTIONAL_EXPENSE
    async with connection.transaction():
        debit = platform_account(payer, lane_of(account, await count_lanes(connection)))
        posted = await post(
            connection,
            operation=operation,
            kind="purchase" if kind == "purchased" else "grant",
            transfers=[Transfer(debit, account, amount)],
            fingerprint=f"{kind} {priority}",
        )
        if posted:
            await add_lot(
                connection,
                id=operation,
                account=account,
                kind=kind,
                amount=amount,
                priority=priority,
                expires_at=expires_at,
                source="test",
            )
    return operation


async def customer(connection: asyncpg.Connection, amount: int, *, floor: int = 0, overdraft: int = 0) -> int:
    """A new account with credits."""
    account = await open_account(connection, floor=floor, overdraft=overdraft)
    if amount:
        await give(connection, account, amount)
    return account


async def broken_laws(connection: asyncpg.Connection, checks: Iterable[Check] = ALL_CHECKS) -> dict[str, list[str]]:
    """What `verify` finds, by law and name; empty when the books are right."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        found = [(check, await check.run(connection)) for check in checks]
    return {f"law {check.law}: {check.name}": problems for check, problems in found if problems}
