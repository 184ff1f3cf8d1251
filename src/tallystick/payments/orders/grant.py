"""Give credits without a card payment: a promotion's, or by a named operator's act."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import InvalidInput
from tallystick.base.money import to_decimal
from tallystick.ledger import audit
from tallystick.ledger.account import PlatformAccount, beside
from tallystick.ledger.lot import add_lot
from tallystick.ledger.post import Transfer, post

_queries = load_queries(__file__, "grant.sql")

GrantKind = Literal["promotional", "purchased"]

# A gift is our expense; what an operator books as bought was paid outside and is cleared by hand.
_PAID_BY: Final[dict[GrantKind, PlatformAccount]] = {
    "promotional": PlatformAccount.PROMOTIONAL_EXPENSE,
    "purchased": PlatformAccount.MANUAL_CLEARING,
}


async def grant(
    pool: asyncpg.Pool,
    account: int,
    amount: int,
    *,
    operation: UUID,
    source: str,
    kind: GrantKind = "promotional",
    expires_at: datetime | None = None,
    priority: int = 0,
    by: str = "operator",
) -> bool:
    """Credit `amount` nanocredits once per `operation`; False when that was done before.

    `source` names the promotion or the operator. Raises Conflict when the operation was another grant."""
    async with pool.acquire() as connection, connection.transaction():
        return await give(
            connection,
            account,
            amount,
            operation=operation,
            source=source,
            kind=kind,
            expires_at=expires_at,
            priority=priority,
            by=by,
        )


async def give(
    connection: asyncpg.Connection,
    account: int,
    amount: int,
    *,
    operation: UUID,
    source: str,
    kind: GrantKind = "promotional",
    expires_at: datetime | None = None,
    priority: int = 0,
    by: str,
) -> bool:
    """As `grant`, in the caller's transaction."""
    if kind == "purchased" and expires_at is not None:
        raise InvalidInput("expires_at", "is for promotional credits only: purchased ones never expire")
    if not source.strip():
        raise InvalidInput("source", "must name who or what gives the credits")
    paid_by = await beside(connection, _PAID_BY[kind], account)
    posted = await post(
        connection,
        operation=operation,
        kind="grant",
        transfers=[Transfer(debit=paid_by, credit=account, amount=amount)],
        fingerprint=f"{kind} {source} {priority} {expires_at.isoformat() if expires_at else 'never'}",
    )
    if not posted:
        return False
    await add_lot(
        connection,
        id=operation,
        account=account,
        kind=kind,
        amount=amount,
        priority=priority,
        expires_at=expires_at,
        source=f"grant:{operation}",
    )
    await _queries.keep(connection, operation=operation, account=account, kind=kind, amount=amount, source=source)
    await audit.record(
        connection,
        "credits.granted",
        by=by,
        subject=str(operation),
        organization=await _queries.organization_of(connection, account=account),
        after={"kind": kind, "credits": to_decimal(amount), "source": source, "expires_at": expires_at},
    )
    return True
