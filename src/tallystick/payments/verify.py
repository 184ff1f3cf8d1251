"""Law 6 on the live database: every paid payment is credited once, and every credit has its payment or its grant."""

from collections.abc import AsyncIterator, Callable
from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.ledger.check import Check

_queries = load_queries(__file__, "verify.sql")


def _check(name: str, query: Callable[[asyncpg.Connection], AsyncIterator[asyncpg.Record]]) -> Check:
    async def run(connection: asyncpg.Connection) -> list[str]:
        return [row["problem"] async for row in query(connection)]

    return Check(law=6, name=name, run=run)


checks: Final = [
    _check("every credited order has one purchase in the books, with its amount and account", _queries.order_posting),
    _check("every purchase in the books has a credited order", _queries.posting_order),
    _check("Stripe's clearing account equals the credited orders", _queries.clearing),
    _check("every grant is in the books, and every grant in the books has a source", _queries.grants),
    _check("every lot has a payment or a grant as its source, with its amount and account", _queries.lots),
]
