"""Checks of usage events: each was counted once (law 9) and charged as its hold says (law 5).

Like the ledger's checks they read only the caller's REPEATABLE READ snapshot.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.ledger.check import Check

queries = load_queries(__file__, "verify.sql")

PROBLEMS_MAX: Final = 20


def _query(name: str) -> Callable[[asyncpg.Connection], Awaitable[list[str]]]:
    async def run(connection: asyncpg.Connection) -> list[str]:
        return [row["problem"] async for row in getattr(queries, name)(connection, most=PROBLEMS_MAX)]

    return run


checks: Final = (
    Check(9, "every usage event is recorded once", _query("counted_once")),
    Check(5, "usage events were charged what their holds say", _query("charged_as_held")),
)
