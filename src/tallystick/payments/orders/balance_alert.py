"""Tell an organization that its credits run low: once each time the balance falls below what it named."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import InvalidInput
from tallystick.base.money import format_amount, to_decimal
from tallystick.ledger import audit
from tallystick.notices.emit import emit
from tallystick.payments.orders.mail_to_billing import mail_to_billing

queries = load_queries(__file__, "balance_alert.sql")

THRESHOLDS_MAX: Final = 10
_PASS_MAX: Final = 100


async def thresholds(connection: asyncpg.Connection | asyncpg.Pool, organization: str) -> list[int]:
    """In nanocredits, the highest first."""
    return [row["threshold"] async for row in queries.thresholds(connection, organization=organization)]


async def set_thresholds(
    pool: asyncpg.Pool, organization: str, account: int, wanted: Sequence[int], *, by: str
) -> list[int]:
    """Have it told at these balances from now on, and at no others. One that stays is not told of again."""
    if len(set(wanted)) > THRESHOLDS_MAX:
        raise InvalidInput("thresholds", f"must be at most {THRESHOLDS_MAX}")
    async with pool.acquire() as connection, connection.transaction():
        before = await thresholds(connection, organization)
        await queries.forget_others(connection, organization=organization, wanted=[*wanted])
        await queries.add(connection, organization=organization, account=account, wanted=sorted(set(wanted)))
        after = await thresholds(connection, organization)
        if after != before:
            await audit.record(
                connection,
                "balance_alerts.set",
                by=by,
                subject=organization,
                organization=organization,
                before={"thresholds": [to_decimal(nano) for nano in before]},
                after={"thresholds": [to_decimal(nano) for nano in after]},
            )
    return after


async def tell_low_balances(pool: asyncpg.Pool) -> int:
    """Tell of every balance that fell below a threshold, and arm again those that are above; how many were told.

    What running requests hold is not spent: it counts until they end, or a threshold would be crossed with each."""
    await queries.arm(pool)
    told = 0
    for organization in [row["organization"] async for row in queries.crossed(pool, row_limit=_PASS_MAX)]:
        async with pool.acquire() as connection, connection.transaction():
            rows = [row async for row in queries.disarm(connection, organization=organization)]
            # Several crossed at once are one mail, about the lowest.
            for row in rows:
                await _notice(connection, organization, row)
            if rows:
                await _mail(connection, organization, min(rows, key=lambda row: row["threshold"]))
            told += len(rows)
    return told


async def _notice(connection: asyncpg.Connection, organization: str, row: asyncpg.Record) -> None:
    await emit(
        connection,
        organization,
        "balance.low",
        {
            "threshold": to_decimal(row["threshold"]),
            "balance": to_decimal(row["posted"]),
            "available": to_decimal(row["posted"] - row["held"]),
        },
        key=f"balance.low {row['threshold']} {row['crossings']}",
    )


async def _mail(connection: asyncpg.Connection, organization: str, row: asyncpg.Record) -> None:
    body = (
        f"The balance of your organization is {format_amount(row['posted'])} credits, below the"
        f" {format_amount(row['threshold'])} at which you asked to be told.\n\n"
        "When it is used up, requests are refused until you buy credits.\n"
    )
    key = f"balance.low {organization} {row['threshold']} {row['crossings']}"
    await mail_to_billing(connection, organization, subject="Your credits run low", body=body, key=key)
