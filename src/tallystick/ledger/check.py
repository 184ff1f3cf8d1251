"""A check of the books: which law of the ledger it proves, and the query that looks for breaches."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import asyncpg

PROBLEMS_MAX: Final = 20
"""Enough to see what is wrong; a broken law can break a million rows."""


class Check(NamedTuple):
    """`run` returns one sentence per breach, none when the law holds in the caller's snapshot."""

    law: int
    name: str
    run: Callable[[asyncpg.Connection], Awaitable[list[str]]]


def by_query(queries: Any, name: str) -> Callable[[asyncpg.Connection], Awaitable[list[str]]]:
    """A check that is one named query, which answers with sentences in a column `problem`, `:most` at the most."""

    async def run(connection: asyncpg.Connection) -> list[str]:
        return [row["problem"] async for row in getattr(queries, name)(connection, most=PROBLEMS_MAX)]

    return run
